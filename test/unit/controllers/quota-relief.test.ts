import { expect } from "chai";
import { hasMoreRoom } from "../../../src/controllers/job/quota-relief.ts";
import { type StoredQuota, resourceQuotas } from "../../../src/resources/types.ts";

type Amounts = Readonly<Record<string, string>>;

const quota = (hard: Amounts, used: Amounts): StoredQuota =>
  resourceQuotas.project({
    metadata: { name: "q", namespace: "team", uid: "1", resourceVersion: "1" },
    status: { hard, used },
  });
const before = quota({ pods: "4", cpu: "2" }, { pods: "4", cpu: "1500m" });

const cases: readonly (readonly [string, StoredQuota | undefined, boolean])[] = [
  ["a pod has left", quota({ pods: "4", cpu: "2" }, { pods: "3", cpu: "1500m" }), true],
  ["a core's part is free", quota({ pods: "4", cpu: "2" }, { pods: "4", cpu: "1400m" }), true],
  ["a limit is raised", quota({ pods: "5", cpu: "2" }, { pods: "4", cpu: "1500m" }), true],
  ["a limit is gone", quota({ pods: "4" }, { pods: "4" }), true],
  ["it is deleted", undefined, true],
  ["more is used", quota({ pods: "4", cpu: "2" }, { pods: "4", cpu: "1.6" }), false],
  ["a limit is lowered", quota({ pods: "3", cpu: "2" }, { pods: "3", cpu: "1.5" }), false],
  ["nothing has changed", before, false],
];

describe("a ResourceQuota", () => {
  for (const [what, after, hasRoom] of cases) {
    it(`has ${hasRoom ? "more" : "no more"} room when ${what}`, () => {
      expect(hasMoreRoom({ key: "team/q", before, after })).to.equal(hasRoom);
    });
  }

  it("has more room when it counts other pods", () => {
    const after = { ...before, selectors: [{ scopeName: "Terminating", operator: "Exists" }] };
    expect(hasMoreRoom({ key: "team/q", before, after })).to.equal(true);
  });

  it("has no more room when it is new", () => {
    expect(hasMoreRoom({ key: "team/q", before: undefined, after: before })).to.equal(false);
  });
});
