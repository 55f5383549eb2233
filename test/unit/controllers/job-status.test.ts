/** A Job's status from its row: two sentences at most, the present obstacle first. */
import { expect } from "chai";
import { jobTable } from "../../../src/api/conditions.ts";
import { noRemarks, statusOf } from "../../../src/controllers/job/status.ts";
import type { JobView } from "../../../src/db/jobs/read.ts";
import type { Job } from "../../../src/resources/types.ts";

const now = Temporal.Instant.from("2026-06-01T08:00:00Z");
const later = now.add({ seconds: 60 });
const jobOf = (status: object = {}): Job => ({ generation: 3, status }) as unknown as Job;
const eviction = {
  reason:
    "team/high (priority 9) needs 8 GPUs; it evicts, exactly, 1 pod of 1 job; rule LowerPriority",
  preemptor: "team/high",
  rule: "LowerPriority",
  jobs: ["team/high", "team/low"],
  ageSeconds: 1,
  isSettled: false,
  isForWindow: false,
  pastBudget: null,
};
const viewOf = (view: Partial<JobView>): JobView =>
  ({
    namespace: "team",
    parallelism: 4,
    attempt: 1,
    gpus: 4,
    perPod: { gpus: 1, cpuMillis: 0, memoryBytes: 0, pods: 1 },
    borrowing: false,
    suspended: false,
    completed: [],
    placements: ["n1", "n2", "n3", "n4"].map((node) => ({ node, pods: 1 })),
    queuedAt: now,
    ...view,
  }) as unknown as JobView;
const explanation = {
  reason: "InsufficientCapacity",
  message: "needs 4 pods with 1 GPU each; 0 fit",
  position: 1,
} as const;

describe("the status of a job", () => {
  const status = (view: Partial<JobView>, remarks: Partial<typeof noRemarks> = {}, job = jobOf()) =>
    statusOf(job, viewOf(view), [], { ...noRemarks, ...remarks }, now);
  const messageOf = (...of: Parameters<typeof status>) => status(...of).message;

  it("tells what an evicted job waits for, then its preemptor", () => {
    const evicted = status({ status: "evicted", eviction }, { explanation });
    expect(evicted.reason).to.equal("InsufficientCapacity");
    expect(evicted.message).to.equal(
      "needs 4 pods with 1 GPU each; 0 fit. Evicted by team/high (LowerPriority)",
    );
    const other = { ...eviction, preemptor: "other/high", jobs: ["other/high", "team/low"] };
    expect(messageOf({ status: "evicted", eviction: other })).to.equal(
      "waits for the next scheduling cycle. Evicted by a job of another project (LowerPriority)",
    );
    const window = { ...eviction, preemptor: null, isForWindow: true };
    expect(messageOf({ status: "evicted", eviction: window })).to.match(
      /\. Evicted because the window of a plan closed$/,
    );
  });

  it("tells first what blocks a leaving job's eviction", () => {
    expect(
      messageOf({ status: "evicting", eviction }, { blockedBy: "PodDisruptionBudget team/guard" }),
    ).to.equal(
      "PodDisruptionBudget team/guard blocks the eviction, which is retried. Evicted by team/high (LowerPriority)",
    );
    expect(messageOf({ status: "evicting", eviction })).to.equal(
      "Evicted by team/high (LowerPriority)",
    );
  });

  it("says if it requests none of what plans grant above all", () => {
    expect(messageOf({ status: "running" })).to.equal("runs inside its plans");
    const none = { gpus: 0, perPod: { gpus: 0, cpuMillis: 0, memoryBytes: 0, pods: 1 } };
    expect(messageOf({ status: "running", ...none })).to.equal(
      "runs inside its plans; its template requests no resources",
    );
    expect(messageOf({ status: "running", ...none, borrowing: true })).to.equal(
      "runs outside its plans; its template requests no resources; jobs within quota can evict it",
    );
    const cores = { gpus: 0, perPod: { ...none.perPod, cpuMillis: 500 } };
    expect(messageOf({ status: "running", ...cores })).to.equal(
      "runs inside its plans; its template requests no GPUs",
    );
    const slices = { gpus: 0, perPod: { ...none.perPod, byName: { "nvidia.com/mig-1g.5gb": 1 } } };
    expect(messageOf({ status: "running", ...slices })).to.equal("runs inside its plans");
  });

  it("names three nodes and counts the others", () => {
    expect(status({ status: "running" }).nodeSummary).to.equal("n1, n2, n3 and 1 more");
    expect(messageOf({ status: "reserved" })).to.equal(
      "capacity is reserved on n1, n2, n3 and 1 more until the victims have left",
    );
  });

  it("keeps times, order and others' conditions", () => {
    const foreign = {
      type: "example.com/Seen",
      status: "True",
      lastTransitionTime: "2026-01-01T00:00:00Z",
      reason: "Seen",
      message: "seen",
    };
    const starting = status({ status: "starting" }, {}, jobOf({ conditions: [foreign] }));
    expect(starting.conditions?.map(({ type }) => type)).to.deep.equal([
      "Ready",
      "Reconciling",
      "Admitted",
      foreign.type,
    ]);
    const job = jobOf({ conditions: starting.conditions });
    const running = statusOf(job, viewOf({ status: "running" }), [], noRemarks, later);
    const times = running.conditions?.map(({ type, lastTransitionTime: time }) => [type, time]);
    expect(times).to.deep.equal([
      ["Ready", later.toString()],
      ["Admitted", now.toString()],
      [foreign.type, foreign.lastTransitionTime],
    ]);
  });

  it("changes the state's own condition with the state alone", () => {
    const conditionOf = (message: string) =>
      status(
        { status: "evicted", eviction, reason: "Preempted" },
        { explanation: { ...explanation, message } },
      ).conditions?.find(({ type }) => type === jobTable.Evicted.also);
    expect(conditionOf("one")).to.deep.equal(conditionOf("another"));
    expect(conditionOf("one")?.message).to.equal("Evicted by team/high (LowerPriority)");
  });
});
