import { expect } from "chai";
import fc from "fast-check";
import { applyPatch } from "rfc6902";
import type { JsonValue } from "../../../src/domain/canonical-json.ts";
import { diffJson } from "../../../src/domain/json-diff.ts";
import { propertyRuns } from "../../support/property.ts";

const numbers = (count: number, of: (place: number) => number = (place) => place): number[] =>
  Array.from({ length: count }, (_, place) => of(place));

function applied(before: JsonValue, after: JsonValue): unknown {
  const state = { content: structuredClone(before) };
  const patch = diffJson(before, after).map((one) => ({ ...one, path: `/content${one.path}` }));
  expect(applyPatch(state, structuredClone(patch)).every((error) => error === null)).to.equal(true);
  return state.content;
}

describe("the difference of two JSON values", () => {
  const words = fc.constantFrom("a", "b", "a/b", "~0", "");
  const { value } = fc.letrec<{ value: JsonValue }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4, withCrossShrink: true },
      fc.constantFrom<JsonValue>(null, true, 0, 1, 2, "a"),
      fc.array(tie("value"), { maxLength: 6 }),
      fc.dictionary(words, tie("value"), { maxKeys: 4 }),
    ),
  }));

  it("turns the first value into the second", () => {
    fc.assert(
      fc.property(value, value, (before, after) => {
        expect(applied(before, after)).to.deep.equal(after);
      }),
      propertyRuns(1000),
    );
  });

  it("is empty for equal values", () => {
    fc.assert(
      fc.property(value, (same) => {
        expect(diffJson(same, structuredClone(same))).to.deep.equal([]);
      }),
      propertyRuns(200),
    );
  });

  it("names what changed and nothing else", () => {
    const before = {
      jobs: [
        { name: "a", gpus: 1 },
        { name: "b", gpus: 2 },
      ],
      same: 1,
    };
    const after = { jobs: [{ name: "a", gpus: 4 }, { name: "b", gpus: 2 }, 3], more: 2, same: 1 };
    expect(diffJson(before, after)).to.deep.equal([
      { op: "replace", path: "/jobs/0/gpus", value: 4 },
      { op: "add", path: "/jobs/2", value: 3 },
      { op: "add", path: "/more", value: 2 },
    ]);
  });

  it("finds few changes in a long list", () => {
    const before = numbers(100_000);
    const after = [-1, ...before.slice(0, 49_000), ...before.slice(49_001), -2];
    expect(diffJson(before, after).length).to.be.at.most(3);
    expect(applied(before, after)).to.deep.equal(after);
  });

  const dear: Readonly<Record<string, readonly [JsonValue, JsonValue]>> = {
    "two lists of 100,000 other numbers": [numbers(100_000), numbers(100_000, (n) => -n - 1)],
    "300 lists of 300 other numbers": [
      numbers(300).map((list) => numbers(300, (n) => list * 300 + n + 1)),
      numbers(300).map((list) => numbers(300, (n) => -list * 300 - n - 1)),
    ],
    "a long key above many": [
      { ["k".repeat(400_000)]: numbers(50_000).map((n) => ({ n })) },
      { ["k".repeat(400_000)]: numbers(50_000).map((n) => ({ n: n + 1 })) },
    ],
  };
  for (const [name, [before, after]] of Object.entries(dear)) {
    it(`takes bounded time and memory: ${name}`, () => {
      const start = process.threadCpuUsage();
      const patch = diffJson(before, after);
      const { user, system } = process.threadCpuUsage(start);
      expect((user + system) / 1000).to.be.below(1000);
      expect(JSON.stringify(patch).length).to.be.below(4_000_000);
      expect(applied(before, after)).to.deep.equal(after);
    });
  }
});
