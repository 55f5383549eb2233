/** Decisions over a large snapshot: 5,000 nodes and 10,000 waiting jobs, without a database. */
import { decide } from "../../src/domain/scheduling/decide.ts";
import type {
  LiveJob,
  NodeSnapshot,
  QueuedJob,
  Resources,
  Snapshot,
} from "../../src/domain/scheduling/snapshot.ts";
import { measure, type Measurement } from "./measure.ts";

const GIB = 1024 ** 3;
const resources = (gpus: number, cores: number, pods: number): Resources => ({
  gpus,
  cpuMillis: cores * 1000,
  memoryBytes: cores * 2 * GIB,
  pods,
});
const NOTHING = resources(0, 0, 0);

const nodeName = (index: number): string => `node-${String(index).padStart(5, "0")}`;

const aNode = (index: number, committed: Resources): NodeSnapshot => ({
  name: nodeName(index),
  labels: { zone: `zone-${index % 3}` },
  taints: [],
  schedulable: true,
  allocatable: resources(8, 128, 110),
  committed,
  unhealthyGpus: 0,
  otherUsage: NOTHING,
  leaving: NOTHING,
  reserved: NOTHING,
});

/** Shapes as people submit them: eight of them, one in eight bound to a zone. */
const aJob = (index: number): QueuedJob => ({
  id: `job-${index}`,
  key: `team-${index % 50}/job-${index}`,
  priority: 100 - Math.floor(index / 100),
  queuedAtSeconds: index,
  status: "pending",
  attempt: 0,
  parallelism: index % 16 === 15 ? 4 : 1,
  perPod: resources(1 + (index % 4), 4, 1),
  allowsBorrowing: true,
  preempts: true,
  nodeSelector: index % 8 === 7 ? { zone: `zone-${index % 3}` } : {},
  tolerations: [],
  avoidNodes: [],
  quotas: [],
  unplanned: false,
});

const snapshot = (nodes: number, jobs: number, committed: Resources): Snapshot => ({
  pool: "bench",
  nowSeconds: 0,
  nodes: Array.from({ length: nodes }, (_, index) => aNode(index, committed)),
  quotas: [],
  queue: Array.from({ length: jobs }, (_, index) => aJob(index)),
  reserved: [],
});

/** What a finder proposes: a few jobs on a few dozen nodes. */
const proposals = (nodes: number): LiveJob[] =>
  Array.from({ length: nodes * 4 }, (_, index) => ({
    id: `live-${index}`,
    key: `other/live-${index}`,
    attempt: 1,
    priority: index % 6,
    status: "running",
    startedAtSeconds: index,
    borrowing: index % 5 === 0,
    perPod: resources(2, 4, 1),
    allocations: [{ node: nodeName(Math.floor(index / 4)), pods: 1 }],
    quotas: [],
  }));

export async function measureDecisions(rounds: number): Promise<Measurement[]> {
  const free = snapshot(5000, 10_000, NOTHING);
  const full = snapshot(5000, 10_000, resources(8, 80, 20));
  const asked = decide(full).wantsVictims;
  const preempting = { ...full, victims: proposals(64), victimsFor: asked };
  return [
    await measure("decide: 10,000 jobs, empty cluster", rounds, () => decide(free)),
    await measure("decide: 10,000 jobs, full cluster", rounds, () => decide(full)),
    await measure("decide: the same with proposed victims", rounds, () => decide(preempting)),
  ];
}
