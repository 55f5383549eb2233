import { expect } from "chai";
import { budgetUses, disruptionBudgets } from "../../../src/resources/disruption-budgets.ts";

const budget = (selector: object | undefined, disruptionsAllowed: number) =>
  disruptionBudgets.project({
    metadata: { namespace: "team", name: "guard" },
    spec: selector === undefined ? {} : { selector },
    status: { disruptionsAllowed },
  });

describe("a parsed PodDisruptionBudget", () => {
  const gang = [{ app: "train" }, { app: "train" }, { app: "train" }];

  it("counts a gang's pods, and allows disruptions", () => {
    const selector = { matchLabels: { app: "train" } };
    expect(budgetUses([budget(selector, 2)], gang)).to.deep.equal([
      { budget: "team/guard", pods: 3, allowed: 2 },
    ]);
  });

  it("counts the pods that it selects", () => {
    const expressions = (operator: string, values?: readonly string[]) => ({
      matchExpressions: [{ key: "app", operator, ...(values === undefined ? {} : { values }) }],
    });
    const count = (selector: object | undefined) =>
      budgetUses([budget(selector, 0)], gang).map(({ pods }) => pods);
    for (const selector of [
      {},
      expressions("Exists"),
      expressions("In", ["train"]),
      expressions("NotIn", ["serve"]),
    ]) {
      expect(count(selector), JSON.stringify(selector)).to.deep.equal([3]);
    }
    for (const selector of [
      undefined,
      { matchLabels: { app: "serve" } },
      expressions("DoesNotExist"),
      expressions("In", ["serve"]),
      expressions("NotIn", ["train"]),
    ]) {
      expect(count(selector), JSON.stringify(selector)).to.deep.equal([]);
    }
  });
});
