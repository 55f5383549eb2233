/** What a gang says that takes a while to start. */
import { expect } from "chai";
import { pendingPodsOf } from "../../../src/controllers/job/pending-pods.ts";
import type { JobView } from "../../../src/db/jobs/read.ts";
import type { Pod } from "../../../src/resources/types.ts";
import { podsOf } from "../../../src/resources/types.ts";

const startedAt = Temporal.Instant.from("2026-06-01T08:00:00Z");
const after = (seconds: number) => startedAt.add({ seconds });

const viewOf = (changes: Partial<JobView> = {}): JobView =>
  ({
    name: "train",
    status: "starting",
    attempt: 2,
    parallelism: 6,
    completed: [],
    startedAt,
    placements: [
      { node: "n1", pods: 4 },
      { node: "n2", pods: 2 },
    ],
    ...changes,
  }) as unknown as JobView;
const podOf = (index: number, changes: Partial<Pod> = {}): Pod =>
  ({
    index,
    attempt: 2,
    phase: "Pending",
    nodeName: "",
    obstacle: "",
    ...changes,
  }) as unknown as Pod;

describe("the message of a starting gang", () => {
  const saidOf = (view: JobView, pods: readonly Pod[], seconds = 30) =>
    pendingPodsOf(view, pods, after(seconds), after(300), 300);

  it("is absent at first, with the time it is due", () => {
    expect(saidOf(viewOf(), [], 4)).to.deep.equal({ message: undefined, nextSeconds: 6.05 });
    expect(pendingPodsOf(viewOf(), [], after(1), after(6), 6).nextSeconds).to.equal(2.05);
    expect(saidOf(viewOf({ status: "running" }), [])).to.deep.equal({
      message: undefined,
      nextSeconds: undefined,
    });
  });

  it("counts running pods and tells what the others wait for", () => {
    const image = { obstacle: "container main: ImagePullBackOff" };
    const pods = [
      podOf(0, { phase: "Running" }),
      podOf(1, image),
      podOf(2, image),
      podOf(3, { nodeName: "n1" }),
      podOf(4, { attempt: 1 }),
    ];
    expect(saidOf(viewOf(), [podOf(0)]).message).to.include("train-2-0 on n1 (not scheduled yet)");
    expect(saidOf(viewOf({ completed: [5] }), pods).message).to.equal(
      "2 of 6 pods running, pending: train-2-1 and train-2-2 on n1 (container main: ImagePullBackOff); train-2-3 on n1 (not started by the kubelet yet); train-2-4 on n2 (yet to be created); the gang is placed again at 2026-06-01T08:05:00Z unless all are running",
    );
  });

  it("has no deadline while init containers run", () => {
    const found = pendingPodsOf(viewOf({ parallelism: 1 }), [podOf(0)], after(30), undefined, 300);
    expect(found.message).to.match(/; while init containers run, no start deadline counts$/);
  });

  it("names only a few of many pods", () => {
    const placements = Array.from({ length: 9 }, (_, index) => ({ node: `n${index}`, pods: 5 }));
    const { message = "" } = saidOf(viewOf({ placements, parallelism: 45 }), []);
    expect(message).to.match(
      /^0 of 45 pods running, pending: train-2-0, train-2-1, train-2-2 and 2 more on n0/,
    );
    expect(message).to.include("; others on 6 nodes; the gang");
    expect(message.length).to.be.below(500);
  });
});

describe("the reason of a pending pod", () => {
  const type = podsOf("nvidia.com/gpu");
  const spec = { initContainers: [{ name: "sidecar", restartPolicy: "Always" }] };
  const obstacleOf = (status: object): string =>
    type.project({ metadata: { name: "p", namespace: "n" }, spec, status }).obstacle;

  it("is the scheduler's reason, or the first waiting container's", () => {
    const unscheduled = {
      type: "PodScheduled",
      status: "False",
      reason: "Unschedulable",
      message: "0/3 nodes are available",
    };
    expect(obstacleOf({ phase: "Pending", conditions: [unscheduled] })).to.equal(
      "Unschedulable: 0/3 nodes are available",
    );
    const waiting = { name: "main", state: { waiting: { reason: "ErrImagePull", message: "no" } } };
    const running = { name: "sidecar", started: true, state: { running: {} } };
    const containers = { initContainerStatuses: [running], containerStatuses: [waiting] };
    expect(obstacleOf({ phase: "Pending", ...containers })).to.equal(
      "container main: ErrImagePull: no",
    );
    const scheduled = { type: "PodScheduled", status: "True" };
    expect(obstacleOf({ phase: "Pending", conditions: [scheduled] })).to.equal("");
    expect(obstacleOf({ phase: "Running", ...containers })).to.equal("");
  });
});
