/** The canonical form of JSON by RFC 8785, and what is refused. */
import { createHash } from "node:crypto";
import { expect } from "chai";
import * as fc from "fast-check";
import {
  canonicalizeValue,
  maxTextBytes,
  type JsonValue,
} from "../../../src/domain/canonical-json.ts";
import { contentOf } from "../../support/contents.ts";
import { propertyRuns } from "../../support/property.ts";

const refuses = (text: string, words: RegExp): void => {
  expect(() => contentOf(text), text)
    .to.throw(words)
    .with.property("code", "InvalidConfiguration");
};

describe("canonical JSON", () => {
  it("is what RFC 8785 gives as its example", () => {
    const text = String.raw`{"numbers": [333333333.3333333, 4.50, 2e-3, 0.000000000000000000000000001],
      "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}`;
    expect(contentOf(text).canonical).to.equal(
      String.raw`{"literals":[null,true,false],"numbers":[333333333.3333333,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`,
    );
  });

  it("sorts keys by UTF-16 code units", () => {
    const text = String.raw`{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}`;
    expect(Object.values(JSON.parse(contentOf(text).canonical) as object)).to.have.members([
      1, 2, 3, 4, 5, 6, 7,
    ]);
    expect(contentOf(text).canonical.match(/:(\d)/g)?.join("")).to.equal(":2:4:6:7:1:5:3");
  });

  it("refuses lone surrogates, NUL, depth and length", () => {
    refuses(String.raw`"\ud800"`, /lone surrogate/);
    refuses(String.raw`{"\udc00": 1}`, /lone surrogate/);
    refuses(String.raw`"a\u0000b"`, /NUL/);
    refuses(`${"[".repeat(102)}${"]".repeat(102)}`, /nested/);
    refuses(JSON.stringify("x".repeat(maxTextBytes)), /exceed/);
    expect(contentOf(String.raw`"\ud83d\ude00"`).canonical).to.equal('"😀"');
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
        fc.pre(!hasLargeInteger(text));
        const first = contentOf(text);
        const reversed = JSON.stringify(reverseKeys(value as JsonValue));
        expect(contentOf(reversed)).to.deep.equal(first);
        expect(contentOf(first.canonical)).to.deep.equal(first);
        expect(JSON.parse(first.canonical)).to.deep.equal(JSON.parse(text));
        expect(first.hash).to.equal(createHash("sha256").update(first.canonical).digest("hex"));
      }),
      propertyRuns(500),
    );
  });
});

/** JSON.parse may have rounded it: these are refused. */
function hasLargeInteger(text: string): boolean {
  let found = false;
  JSON.parse(text, (_key, value: unknown) => {
    found ||= Number.isInteger(value) && !Number.isSafeInteger(value);
    return value;
  });
  return found;
}

function reverseKeys(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return value.map((item: JsonValue) => reverseKeys(item));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .toReversed()
      .map(([key, item]) => [key, reverseKeys(item)]),
  );
}
