import { expect } from "chai";
import fc from "fast-check";
import { UnorderedList } from "../../../src/runtime/unordered-list.ts";
import { propertyRuns } from "../../support/property.ts";

describe("an unordered list", () => {
  it("holds what a set would hold (model)", () => {
    const steps = fc.array(fc.record({ add: fc.boolean(), pick: fc.nat() }));
    fc.assert(
      fc.property(steps, (commands) => {
        const bag = new UnorderedList<{ at: number; readonly id: number }>();
        const model = new Map<number, { at: number; readonly id: number }>();
        commands.forEach(({ add, pick }, id) => {
          const [known, item] = [...model][pick % Math.max(1, model.size)] ?? [];
          if (add || known === undefined || item === undefined) {
            const added = { at: 0, id };
            bag.add(added);
            model.set(id, added);
          } else {
            bag.remove(item);
            model.delete(known);
          }
          expect(bag.size).to.equal(model.size);
          const held = [...bag].map((item) => item.id).sort((one, other) => one - other);
          expect(held).to.deep.equal([...model.keys()]);
        });
      }),
      propertyRuns(200),
    );
  });
});
