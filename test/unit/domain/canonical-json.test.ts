/** Strict JSON, and its canonical form by RFC 8785. */
import { createHash } from "node:crypto";
import { expect } from "chai";
import * as fc from "fast-check";
import {
  canonicalizeText,
  canonicalizeValue,
  maxTextBytes,
  parseStrictly,
  type JsonValue,
} from "../../../src/domain/canonical-json.ts";
import { propertyRuns } from "../../support/property.ts";

const refuses = (text: string, words: RegExp): void => {
  expect(() => canonicalizeText(text), text)
    .to.throw(words)
    .with.property("code", "InvalidConfiguration");
};

describe("canonical JSON", () => {
  it("is what RFC 8785 gives as its example", () => {
    const text = String.raw`{"numbers": [333333333.3333333, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
      "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}`;
    expect(canonicalizeText(text).canonical).to.equal(
      String.raw`{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`,
    );
  });

  it("sorts keys by UTF-16 code units", () => {
    const text = String.raw`{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}`;
    expect(Object.values(JSON.parse(canonicalizeText(text).canonical) as object)).to.have.members([
      1, 2, 3, 4, 5, 6, 7,
    ]);
    expect(canonicalizeText(text).canonical.match(/:(\d)/g)?.join("")).to.equal(":2:4:6:7:1:5:3");
  });

  it("refuses numbers that would be rounded", () => {
    for (const number of [
      "9007199254740993",
      "0.1000000000000000055",
      "1e400",
      "12345678901234567890",
      "-1e-400",
    ]) {
      refuses(`{"a": [${number}]}`, /rounded/);
    }
    for (const number of [
      "9007199254740991",
      "0.10",
      "1e3",
      "-0",
      "1.5E-7",
      "1e300",
      "100000000000000000000",
    ]) {
      expect(() => canonicalizeText(number), number).to.not.throw();
    }
  });

  it("refuses duplicate keys, however they are written", () => {
    refuses('{"a": 1, "b": {"a": 2}, "a": 3}', /duplicate key/);
    refuses(String.raw`{"a": 1, "\u0061": 2}`, /duplicate key/);
    refuses('[{"x": {"y": 1, "y": 1}}]', /duplicate key/);
    expect(canonicalizeText('[{"a":1},{"a":1},["a","a"]]').canonical).to.equal(
      '[{"a":1},{"a":1},["a","a"]]',
    );
    expect(canonicalizeText('{"__proto__": 1, "constructor": 2}').canonical).to.equal(
      '{"__proto__":1,"constructor":2}',
    );
  });

  it("refuses lone surrogates, NUL, depth, length and non-JSON", () => {
    refuses(String.raw`"\ud800"`, /lone surrogate/);
    refuses(String.raw`{"\udc00": 1}`, /lone surrogate/);
    refuses(String.raw`"a\u0000b"`, /NUL/);
    refuses(`${"[".repeat(102)}${"]".repeat(102)}`, /nested/);
    refuses(JSON.stringify("x".repeat(maxTextBytes)), /exceed/);
    for (const text of ["", "{", "{'a': 1}", "NaN", "01", "[1,]"]) refuses(text, /invalid JSON/);
    expect(canonicalizeText(String.raw`"\ud83d\ude00"`).canonical).to.equal('"😀"');
  });

  it("refuses integers of parsed values that may have been rounded", () => {
    expect(() => canonicalizeValue({ a: 2 ** 53 })).to.throw(/rounded/);
    expect(() => canonicalizeValue([Number.NaN])).to.throw(/rounded/);
    expect(canonicalizeValue({ b: 1, a: 2 ** 53 - 1 }).canonical).to.equal(
      '{"a":9007199254740991,"b":1}',
    );
  });

  it("gives equal values the same text and hash", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
        const text = JSON.stringify(value, null, 2);
        fc.pre(!text.includes(String.raw`\u0000`) && !/\\ud[89a-f]/i.test(text));
        const first = canonicalizeText(text);
        const reversed = JSON.stringify(reverseKeys(value as JsonValue));
        expect(canonicalizeText(reversed)).to.deep.equal(first);
        expect(canonicalizeText(first.canonical)).to.deep.equal(first);
        expect(JSON.parse(first.canonical)).to.deep.equal(JSON.parse(text));
        expect(first.hash).to.equal(createHash("sha256").update(first.canonical).digest("hex"));
      }),
      propertyRuns(500),
    );
  });

  it("accepts from JSON.parse what it accepts from the text", () => {
    const text = '{"a":[1,2.5,"x",null,{"b":true}]}';
    expect(canonicalizeValue(parseStrictly(text))).to.deep.equal(canonicalizeText(text));
  });
});

function reverseKeys(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return value.map((item: JsonValue) => reverseKeys(item));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .toReversed()
      .map(([key, item]) => [key, reverseKeys(item)]),
  );
}
