import { expect } from "chai";
import fc from "fast-check";
import { DelayHeap } from "../../../src/runtime/delay-heap.ts";
import { MemoryStore } from "../../../src/runtime/store.ts";
import { propertyRuns } from "../../support/property.ts";

describe("store", () => {
  it("answers from its indices what a scan would answer (model)", () => {
    const operation = fc.record({
      key: fc.constantFrom("a", "b", "c", "d"),
      tags: fc.option(fc.uniqueArray(fc.constantFrom("x", "y", "z"))),
    });
    fc.assert(
      fc.property(fc.array(operation), fc.nat(20), (operations, indexAt) => {
        const store = new MemoryStore<string[]>();
        const model = new Map<string, string[]>();
        for (const [at, { key, tags }] of operations.entries()) {
          if (at === indexAt) store.addIndex("tag", (value) => value);
          if (tags === null) {
            expect(store.delete(key)).to.equal(model.get(key));
            model.delete(key);
          } else {
            expect(store.set(key, tags)).to.equal(model.get(key));
            model.set(key, tags);
          }
        }
        if (operations.length <= indexAt) store.addIndex("tag", (value) => value);
        expect(store.size).to.equal(model.size);
        for (const tag of ["x", "y", "z"]) {
          const scan = [...model.values()].filter((tags) => tags.includes(tag));
          expect(store.byIndex("tag", tag)).to.have.members(scan);
        }
      }),
      propertyRuns(200),
    );
  });

  it("refuses an index twice and an unknown one", () => {
    const store = new MemoryStore<string>();
    store.addIndex("tag", () => []);
    expect(() => store.addIndex("tag", () => [])).to.throw("already");
    expect(() => store.byIndex("other", "x")).to.throw("no index");
  });
});

describe("delay heap", () => {
  it("gives keys in order of their earliest time (model)", () => {
    const entry = fc.tuple(
      fc.constantFrom("a", "b", "c", "d", "e", "f"),
      fc.integer({ min: 0, max: 20 }),
    );
    fc.assert(
      fc.property(fc.array(entry), (entries) => {
        const heap = new DelayHeap();
        const model = new Map<string, number>();
        for (const [key, due] of entries) {
          heap.set(key, due);
          model.set(key, Math.min(due, model.get(key) ?? due));
        }
        const times: number[] = [];
        for (let next = heap.nextDueSeconds(); next !== undefined; next = heap.nextDueSeconds()) {
          expect(heap.takeDue(next - 0.5)).to.equal(undefined);
          const key = heap.takeDue(next) ?? "";
          expect(model.get(key)).to.equal(next);
          model.delete(key);
          times.push(next);
        }
        expect(model.size).to.equal(0);
        expect(times).to.deep.equal([...times].sort((one, other) => one - other));
      }),
      propertyRuns(200),
    );
  });
});
