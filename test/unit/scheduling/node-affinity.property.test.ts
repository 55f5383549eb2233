import { expect } from "chai";
import fc from "fast-check";
import { acceptsPods } from "../../../src/domain/scheduling/node-filters.ts";
import { allOf, maxTerms } from "../../../src/domain/scheduling/node-affinity.ts";
import type { NodeSelectorTerm } from "../../../src/domain/scheduling/snapshot.ts";
import { propertyRuns } from "../../support/property.ts";

const keys = ["zone", "rack", "disk"];
const values = ["a", "b", "c"];

const requirement = fc
  .record({
    key: fc.constantFrom(...keys),
    operator: fc.constantFrom("In", "NotIn", "Exists", "DoesNotExist"),
    values: fc.uniqueArray(fc.constantFrom(...values), { minLength: 1 }),
  })
  .map(({ key, operator, values: list }) =>
    operator.endsWith("xist") || operator === "Exists"
      ? { key, operator }
      : { key, operator, values: list },
  );
// Empty terms included: they match nothing.
const term: fc.Arbitrary<NodeSelectorTerm> = fc
  .array(requirement, { maxLength: 3 })
  .map((matchExpressions) => ({ matchExpressions }));
const lists = fc.array(fc.array(term, { maxLength: 3 }), { minLength: 1, maxLength: 3 });
const labels = fc.dictionary(fc.constantFrom(...keys), fc.constantFrom(...values));

const nothing = { gpus: 0, cpuMillis: 0, memoryBytes: 0, pods: 0 };
const accepts = (
  nodeLabels: Readonly<Record<string, string>>,
  terms: readonly NodeSelectorTerm[],
): boolean =>
  acceptsPods(
    {
      name: "n1",
      labels: nodeLabels,
      taints: [],
      schedulable: true,
      allocatable: nothing,
      committed: nothing,
      unhealthyGpus: 0,
      otherUsage: nothing,
      leaving: nothing,
      reserved: nothing,
    },
    { nodeSelector: {}, affinityTerms: terms, tolerations: [], avoidNodes: [] },
  );

describe("the conjunction of node selector terms", () => {
  it("accepts exactly the nodes that every list accepts", () => {
    fc.assert(
      fc.property(lists, labels, (given, nodeLabels) => {
        const product = allOf(given);
        if (product === undefined) return;
        const each = given.every((list) => accepts(nodeLabels, list));
        expect(accepts(nodeLabels, product)).to.equal(each);
      }),
      propertyRuns(2000),
    );
  });

  it("leaves no empty term, which would match a pinned node", () => {
    fc.assert(
      fc.property(lists, (given) => {
        for (const { matchExpressions = [], matchFields = [] } of allOf(given) ?? []) {
          expect(matchExpressions.length + matchFields.length).to.be.greaterThan(0);
        }
      }),
      propertyRuns(500),
    );
  });

  it("is given up beyond its bound", () => {
    const many = (key: string) =>
      Array.from({ length: 9 }, (_, index) => ({
        matchExpressions: [{ key, operator: "In", values: [String(index)] }],
      }));
    expect(allOf([many("zone"), many("rack")])).to.equal(undefined);
    expect(allOf([many("zone"), many("zone")], 81)).to.have.length.at.most(81);
    expect(maxTerms).to.be.lessThan(81);
  });
});
