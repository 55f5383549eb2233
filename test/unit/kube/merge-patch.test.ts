import { expect } from "chai";
import fc from "fast-check";
import { mergePatch } from "../../../src/kube/merge-patch.ts";
import type { JsonObject } from "../../../src/kube/merge-patch.ts";
import { propertyRuns } from "../../support/property.ts";

/** RFC 7396, section 2, to the letter. */
function applyPatch(target: unknown, patch: unknown): unknown {
  if (typeof patch !== "object" || patch === null || Array.isArray(patch)) return patch;
  const isObject = typeof target === "object" && target !== null && !Array.isArray(target);
  const result = new Map<string, unknown>(isObject ? Object.entries(target) : []);
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) result.delete(name);
    else result.set(name, applyPatch(result.get(name), value));
  }
  return Object.fromEntries(result);
}

const { object } = fc.letrec<{ object: JsonObject; value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.integer({ min: 0, max: 3 }),
    fc.constantFrom("x", "y", true),
    fc.array(fc.integer({ min: 0, max: 2 }), { maxLength: 2 }),
    tie("object"),
  ),
  object: fc.dictionary(fc.constantFrom("a", "b", "c"), tie("value")),
}));

describe("merge patch", () => {
  it("turns one object into the other, absent when equal", () => {
    fc.assert(
      fc.property(object, object, (from, to) => {
        const patch = mergePatch(from, to);
        expect(applyPatch(from, patch ?? {})).to.deep.equal(to);
        expect(patch === undefined).to.equal(
          JSON.stringify(sorted(from)) === JSON.stringify(sorted(to)),
        );
      }),
      propertyRuns(500),
    );
  });

  it("removes what is gone and leaves the rest alone", () => {
    const from = { state: "Pending", message: "waits", pods: { active: 1, failed: 2 } };
    const to = { state: "Running", pods: { active: 1 } };
    expect(mergePatch(from, to)).to.deep.equal({
      state: "Running",
      message: null,
      pods: { failed: null },
    });
  });

  it("counts an undefined field as absent", () => {
    expect(mergePatch({ a: 1 }, { a: 1, b: undefined })).to.equal(undefined);
  });
});

/** With the fields of objects in one order, so that equal values have equal JSON. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).sort(([one], [other]) => one.localeCompare(other));
  return Object.fromEntries(entries.map(([name, field]) => [name, sorted(field)]));
}
