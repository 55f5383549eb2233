import { expect } from "chai";
import { budgetUses, disruptionBudgets } from "../../../src/resources/disruption-budgets.ts";

const budget = (selector: object | undefined, disruptionsAllowed: number) =>
  disruptionBudgets.project({
    metadata: { namespace: "team", name: "guard" },
    spec: selector === undefined ? {} : { selector },
    status: { disruptionsAllowed },
  });

describe("disruption budgets", () => {
  const gang = [{ app: "train" }, { app: "train" }, { app: "train" }];

  it("say how many pods of a gang they count, and how many they let go", () => {
    const selector = { matchLabels: { app: "train" } };
    expect(budgetUses([budget(selector, 2)], gang)).to.deep.equal([
      { budget: "team/guard", pods: 3, allowed: 2 },
    ]);
  });

  it("count the pods that they select", () => {
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
