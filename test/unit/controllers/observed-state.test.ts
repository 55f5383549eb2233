import { expect } from "chai";
import {
  isBehind,
  stageOf,
  observedStateOf,
  observedSince,
} from "../../../src/controllers/job/observed-state.ts";
import type { JobStatus } from "../../../src/api/generated.ts";
import type { JobStatusName } from "../../../src/api/job-states.ts";
import type { JobView } from "../../../src/db/jobs/read.ts";
import type { Job, Pod } from "../../../src/resources/types.ts";

const at = "2026-06-01T08:00:00Z";
const jobOf = (status: Partial<JobStatus>): Job =>
  ({ spec: { parallelism: 2 }, status: { queuedAt: at, ...status } }) as unknown as Job;
const viewOf = (status: JobStatusName, attempt: number): JobView =>
  ({ status, attempt }) as unknown as JobView;
const podOf = (index: number, pod: Partial<Pod> = {}): Pod =>
  ({ index, attempt: 2, nodeName: `n${index}`, phase: "Running", ...pod }) as unknown as Pod;

describe("a job's observed state", () => {
  const running = jobOf({ state: "Running", attempt: 2, startedAt: at });
  const statusOf = (job: Job, pods: readonly Pod[]): string => observedStateOf(job, pods).status;

  it("is live while its gang is whole, ended pods included", () => {
    expect(observedStateOf(running, [podOf(0), podOf(1)])).to.deep.include({
      status: "running",
      attempt: 2,
      placements: [
        { node: "n0", pods: 1 },
        { node: "n1", pods: 1 },
      ],
    });
    expect(statusOf(running, [podOf(0), podOf(1, { phase: "Pending" })])).to.equal("starting");
    expect(statusOf(running, [podOf(0), podOf(1, { phase: "Succeeded" })])).to.equal("running");
    expect(statusOf(running, [podOf(0), podOf(1, { phase: "Failed" })])).to.equal("running");
  });

  it("is in the queue when its gang is not whole", () => {
    expect(statusOf(running, [podOf(0)])).to.equal("pending");
    expect(statusOf(running, [podOf(0), podOf(1, { attempt: 1 })])).to.equal("pending");
    expect(statusOf(running, [podOf(0), podOf(1, { nodeName: "" })])).to.equal("pending");
    const evicted = jobOf({ state: "Evicted", attempt: 2 });
    expect(statusOf(evicted, [])).to.equal("evicted");
    // What is left of an attempt that failed is no gang that runs.
    const failed = [podOf(0, { phase: "Failed" }), podOf(1, { phase: "Succeeded" })];
    expect(statusOf(jobOf({ state: "Pending", attempt: 2 }), failed)).to.equal("pending");
    expect(observedStateOf(jobOf({ state: "Pending" }), [])).to.deep.include({ attempt: 0 });
  });

  it("has ended when its status says so", () => {
    const ended = jobOf({ state: "Succeeded", attempt: 2, finishedAt: at });
    const observed = observedStateOf(ended, [podOf(0), podOf(1)]);
    expect(observed).to.deep.include({ status: "succeeded", placements: [] });
    expect(observedSince(ended, observed)?.toString()).to.equal(at);
    const failed = jobOf({ state: "Failed", attempt: 2, finishedAt: at });
    expect(statusOf(failed, [])).to.equal("failed");
  });

  it("is ahead of a row of an earlier attempt", () => {
    const waiting = jobOf({ state: "Pending", attempt: 2 });
    const ended = jobOf({ state: "Failed", attempt: 2, finishedAt: at });
    expect([running, waiting, ended].map(stageOf)).to.deep.equal(["live", "waiting", "ended"]);
    for (const job of [running, waiting, ended])
      for (const status of ["pending", "reserved", "running", "evicting"] as const)
        expect(isBehind(viewOf(status, 1), job), status).to.equal(true);
    expect(isBehind(viewOf("running", 2), waiting)).to.equal(true);
    expect(isBehind(viewOf("evicted", 2), ended)).to.equal(true);
  });

  it("is not ahead of a newer or ended row", () => {
    for (const status of ["pending", "evicted", "reserved", "starting", "evicting"] as const)
      expect(isBehind(viewOf(status, 2), running), status).to.equal(false);
    expect(isBehind(viewOf("starting", 3), jobOf({ state: "Pending", attempt: 2 }))).to.equal(
      false,
    );
    const over = { ...viewOf("failed", 1), finishedAt: Temporal.Instant.from(at) };
    expect(isBehind(over, running)).to.equal(false);
    const fresh = { ...running, status: {} } as Job;
    expect(isBehind(viewOf("pending", 0), fresh)).to.equal(false);
  });
});
