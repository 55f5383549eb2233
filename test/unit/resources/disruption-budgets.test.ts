import { expect } from "chai";
import { budgetAgainst, disruptionBudgets } from "../../../src/resources/disruption-budgets.ts";

const budget = (selector: object | undefined, disruptionsAllowed: number) =>
  disruptionBudgets.project({
    metadata: { namespace: "team", name: "guard" },
    spec: selector === undefined ? {} : { selector },
    status: { disruptionsAllowed },
  });

describe("disruption budgets", () => {
  const gang = [{ app: "train" }, { app: "train" }, { app: "train" }];

  it("stand against a gang of which they let only some pods go", () => {
    const selector = { matchLabels: { app: "train" } };
    expect(budgetAgainst([budget(selector, 2)], gang)).to.equal("team/guard");
    expect(budgetAgainst([budget(selector, 3)], gang)).to.equal(undefined);
  });

  it("count the pods that they select", () => {
    const expressions = (operator: string, values?: readonly string[]) => ({
      matchExpressions: [{ key: "app", operator, ...(values === undefined ? {} : { values }) }],
    });
    const against = (selector: object | undefined) => budgetAgainst([budget(selector, 0)], gang);
    for (const selector of [
      {},
      expressions("Exists"),
      expressions("In", ["train"]),
      expressions("NotIn", ["serve"]),
    ]) {
      expect(against(selector), JSON.stringify(selector)).to.equal("team/guard");
    }
    for (const selector of [
      undefined,
      { matchLabels: { app: "serve" } },
      expressions("DoesNotExist"),
      expressions("In", ["serve"]),
      expressions("NotIn", ["train"]),
    ]) {
      expect(against(selector), JSON.stringify(selector)).to.equal(undefined);
    }
  });
});
