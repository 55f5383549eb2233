/** Node filters as kube-scheduler applies them. */
import { expect } from "chai";
import { acceptsPods } from "../../../src/domain/scheduling/node-filters.ts";
import type { NodeConstraints, NodeSnapshot } from "../../../src/domain/scheduling/snapshot.ts";
import { aNode } from "./support.ts";

const node = aNode("n1", { labels: { zone: "a", cores: "64" } });
const none: NodeConstraints = { nodeSelector: {}, tolerations: [], avoidNodes: [] };
const expression = (key: string, operator: string, ...values: string[]) => ({
  affinityTerms: [{ matchExpressions: [{ key, operator, values }] }],
});

const cases: readonly [string, boolean, Partial<NodeConstraints>, Partial<NodeSnapshot>?][] = [
  ["no constraint", true, {}],
  ["a selector that holds", true, { nodeSelector: { zone: "a" } }],
  ["a selector that does not", false, { nodeSelector: { zone: "b" } }],
  ["a node not schedulable", false, {}, { schedulable: false }],
  ["an avoided node", false, { avoidNodes: ["n1"] }],
  ["In", true, expression("zone", "In", "a", "b")],
  ["In without the label", false, expression("rack", "In", "a")],
  ["NotIn", false, expression("zone", "NotIn", "a")],
  ["NotIn without the label", true, expression("rack", "NotIn", "a")],
  ["Exists", true, expression("zone", "Exists")],
  ["DoesNotExist", false, expression("zone", "DoesNotExist")],
  ["Exists of a label named as what every object has", false, expression("constructor", "Exists")],
  ["DoesNotExist of such a label", true, expression("toString", "DoesNotExist")],
  ["Gt", true, expression("cores", "Gt", "63")],
  ["Gt at the bound", false, expression("cores", "Gt", "64")],
  ["Lt", true, expression("cores", "Lt", "65")],
  ["Lt of a word", false, expression("zone", "Lt", "65")],
  ["an unknown operator", false, expression("zone", "Near", "a")],
  ["no term at all", false, { affinityTerms: [] }],
  ["an empty term", false, { affinityTerms: [{}] }],
  [
    "one term of two",
    true,
    {
      affinityTerms: [
        ...expression("zone", "In", "b").affinityTerms,
        ...expression("zone", "In", "a").affinityTerms,
      ],
    },
  ],
  [
    "the node's name",
    true,
    {
      affinityTerms: [{ matchFields: [{ key: "metadata.name", operator: "In", values: ["n1"] }] }],
    },
  ],
];

const taint = { key: "gpu", value: "yes", effect: "NoSchedule" };
const taints: readonly [string, boolean, NodeConstraints["tolerations"], string?][] = [
  ["no toleration", false, []],
  ["an equal one", true, [{ key: "gpu", operator: "Equal", value: "yes", effect: "NoSchedule" }]],
  ["the default operator", true, [{ key: "gpu", value: "yes" }]],
  ["another value", false, [{ key: "gpu", value: "no" }]],
  ["Exists on the key", true, [{ key: "gpu", operator: "Exists" }]],
  ["Exists on everything", true, [{ operator: "Exists" }]],
  ["another effect", false, [{ key: "gpu", operator: "Exists", effect: "NoExecute" }]],
  ["no key without Exists", false, [{ value: "yes" }]],
  ["no toleration of a mere preference", true, [], "PreferNoSchedule"],
];

describe("node filters", () => {
  for (const [name, accepted, constraints, changes] of cases) {
    it(`${accepted ? "accept" : "refuse"} ${name}`, () => {
      expect(acceptsPods({ ...node, ...changes }, { ...none, ...constraints })).to.equal(accepted);
    });
  }
  for (const [name, accepted, tolerations, effect] of taints) {
    it(`${accepted ? "accept" : "refuse"} a taint with ${name}`, () => {
      const tainted = { ...node, taints: [{ ...taint, effect: effect ?? taint.effect }] };
      expect(acceptsPods(tainted, { ...none, tolerations })).to.equal(accepted);
    });
  }
});
