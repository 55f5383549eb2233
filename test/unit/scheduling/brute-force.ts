/**
 * Design sections 4 to 6 read naively, for one job on a small cluster: every subset of the live jobs, tried one by one.
 * Shares no code with the engine, only the types of what it reads and writes.
 */
import type {
  Quota,
  LiveJob,
  NodeSelectorRequirement,
  NodeSnapshot,
  QueuedJob,
  Resources,
  Snapshot,
} from "../../../src/domain/scheduling/snapshot.ts";
import { FPGA, fpgasOf, portsOf, resources, sum } from "./support.ts";

export const podsOf = (job: Pick<LiveJob, "allocations">): number =>
  job.allocations.reduce((sum, { pods }) => sum + pods, 0);

/** Bit by bit: set number n has the items whose bits are set in n. */
export const subsets = <T>(items: readonly T[]): T[][] =>
  Array.from({ length: 2 ** items.length }, (_, bits) =>
    items.filter((_, index) => Math.floor(bits / 2 ** index) % 2 === 1),
  );

export const DIMENSIONS = ["gpus", "cpuMillis", "memoryBytes", "pods", "fpgas", "ports"] as const;
type Dimension = (typeof DIMENSIONS)[number];

export function amountIn(amounts: Resources, one: Dimension): number {
  if (one === "ports") return portsOf(amounts);
  return one === "fpgas" ? fpgasOf(amounts) : amounts[one];
}

/** Every node has the host port, though it does not say so. */
export const allocatableOn = ({ allocatable }: NodeSnapshot, one: Dimension): number =>
  amountIn(allocatable, one) + (one === "ports" ? 1 : 0);

/** Whether a node takes the job's pods: of the operators, those that the scenarios use. */
export function accepts(node: NodeSnapshot, job: QueuedJob): boolean {
  if (!node.schedulable || job.avoidNodes.includes(node.name)) return false;
  for (const [key, value] of Object.entries(job.nodeSelector)) {
    if (node.labels[key] !== value) return false;
  }
  for (const { key, effect } of node.taints) {
    const isHard = effect !== "PreferNoSchedule";
    if (isHard && !job.tolerations.some((one) => one.key === key)) return false;
  }
  for (const terms of [job.affinityTerms, ...(job.storageTerms ?? [])]) {
    if (terms === undefined) continue;
    const isMet = terms.some(({ matchExpressions = [] }) =>
      matchExpressions.every((one) => meets(node, one)),
    );
    if (!isMet) return false;
  }
  return true;
}

function meets({ labels }: NodeSnapshot, requirement: NodeSelectorRequirement): boolean {
  const { key, operator, values = [] } = requirement;
  if (operator === "Exists") return key in labels;
  const isIn = values.includes(labels[key] ?? "");
  if (operator === "In") return isIn;
  if (operator === "NotIn") return !isIn;
  throw new Error(`${operator} is not drawn`);
}

/** What is free: now, once evicting pods have left and holds are used, or for whoever starts now. */
export type When = "free" | "later" | "now";

function roomOn(node: NodeSnapshot, one: Dimension, when: When): number {
  const { otherUsage, committed, leaving, reserved } = node;
  const free = allocatableOn(node, one) - amountIn(otherUsage, one) - amountIn(committed, one);
  const later = free + amountIn(leaving, one) - amountIn(reserved, one);
  if (when === "free") return free;
  return when === "later" ? later : Math.min(free, later);
}

/** Pods of the job that fit when the victims are gone. */
export function podsFitting(
  snapshot: Snapshot,
  job: QueuedJob,
  victims: readonly LiveJob[],
  when: When = "later",
): number {
  return snapshot.nodes.reduce((total, node) => {
    if (!accepts(node, job)) return total;
    const counts = DIMENSIONS.filter((one) => amountIn(job.perPod, one) > 0).map((one) => {
      let room = roomOn(node, one, when);
      for (const victim of victims) room += freed(victim, node.name, one);
      return Math.floor(room / amountIn(job.perPod, one));
    });
    return total + Math.max(0, Math.min(...counts, job.maxPodsPerNode ?? Infinity));
  }, 0);
}

const freed = (victim: LiveJob, node: string, dimension: Dimension): number =>
  victim.allocations
    .filter((one) => one.node === node)
    .reduce((sum, { pods }) => sum + pods * amountIn(victim.perPod, dimension), 0);

/** Pods that would fit if nothing but other people's pods were there. */
export const podsFittingEmpty = (snapshot: Snapshot, job: QueuedJob): number => {
  const nothing = { gpus: 0, cpuMillis: 0, memoryBytes: 0, pods: 0 };
  const nodes = snapshot.nodes.map((node) =>
    Object.assign({}, node, { committed: nothing, leaving: nothing, reserved: nothing }),
  );
  return podsFitting({ ...snapshot, nodes }, job, []);
};

/** Every node ready, uncordoned, without pressure, with all its GPUs. */
const atItsBest = (snapshot: Snapshot): Snapshot => ({
  ...snapshot,
  nodes: snapshot.nodes.map((node) =>
    Object.assign({}, node, {
      schedulable: true,
      taints: node.taints.filter(({ key }) => !key.startsWith("node.kubernetes.io/")),
      allocatable: sum(
        { ...node.allocatable, gpus: node.allocatable.gpus + node.unhealthyGpus },
        resources(0, 0, 0, 0, node.unhealthyByName?.[FPGA] ?? 0),
        1,
      ),
    }),
  ),
});

/** In GPUs, cores, GiB or FPGAs. */
export const amountOf = (
  perPod: Resources,
  pods: number,
  { resourceType }: Pick<Quota, "resourceType">,
): number => {
  if (resourceType === "GPU") return pods * perPod.gpus;
  if (resourceType === "CPU") return (pods * perPod.cpuMillis) / 1000;
  return pods * (resourceType === "memory" ? perPod.memoryBytes / 2 ** 30 : fpgasOf(perPod));
};

/** What a quota has more without the victim: borrowers use nothing of it. */
const reliefOf = (victim: LiveJob, quota: Quota): number =>
  victim.borrowing || !victim.quotas.includes(quota.id)
    ? 0
    : amountOf(victim.perPod, podsOf(victim), quota);

/** The quotas under which the job would not fit when the victims are gone. */
export const exceeded = (
  snapshot: Snapshot,
  job: QueuedJob,
  victims: readonly LiveJob[] = [],
): Quota[] =>
  snapshot.quotas
    .filter(({ id }) => job.quotas.includes(id))
    .filter((quota) => {
      const demand = amountOf(job.perPod, job.parallelism, quota);
      const relieved = victims.reduce((sum, victim) => sum + reliefOf(victim, quota), 0);
      return demand > 0 && quota.usage - relieved + demand > quota.quantity;
    });

const isInsideWithout = (
  snapshot: Snapshot,
  job: QueuedJob,
  victims: readonly LiveJob[],
): boolean => !job.unplanned && exceeded(snapshot, job, victims).length === 0;

export const isInside = (snapshot: Snapshot, job: QueuedJob): boolean =>
  isInsideWithout(snapshot, job, []);

/** After a close the job would not have its share, or might not. */
function isTooLittle(job: QueuedJob, quota: Quota, after: number): boolean {
  const demand = amountOf(job.perPod, job.parallelism, quota);
  return demand > after || (after < quota.quantity && quota.usage + demand > after);
}

/** Why no eviction would help, and none is looked for. */
export function rejectionOf(snapshot: Snapshot, job: QueuedJob): string | undefined {
  if (podsFittingEmpty(snapshot, job) < job.parallelism) {
    const [healthy, willing] = [atItsBest(snapshot), { ...job, avoidNodes: [] }];
    if (!healthy.nodes.some((node) => accepts(node, willing))) return "NoMatchingNode";
    const fits = podsFittingEmpty(healthy, willing) >= job.parallelism;
    return fits ? "AwaitingNodes" : "TooLargeForPool";
  }
  const closing = snapshot.quotas.some(
    (one) =>
      job.quotas.includes(one.id) &&
      amountOf(job.perPod, job.parallelism, one) > 0 &&
      (one.evictCloses ?? []).some(
        (close) =>
          (job.maxRuntimeSeconds ?? 0) > close.inSeconds && isTooLittle(job, one, close.quantity),
      ),
  );
  if (closing) return "WindowTooShort";
  const isShut = exceeded(snapshot, job).some((one) => one.isShut);
  return isShut ? "WindowClosed" : undefined;
}

/** Why a job that may not borrow is not inside its plans. */
export function outsideReason(snapshot: Snapshot, job: QueuedJob): string {
  const over = exceeded(snapshot, job);
  if (over.some(({ quantity }) => quantity === 0)) return "WindowClosed";
  return over.length > 0 ? "QuotaExceeded" : "NoQuota";
}

export const mayRun = (snapshot: Snapshot, job: QueuedJob): boolean =>
  isInside(snapshot, job) || job.allowsBorrowing;

function allowed(snapshot: Snapshot, job: QueuedJob, victims: readonly LiveJob[]): boolean {
  if (victims.some((victim) => victim.protected ?? victim.refused)) return false;
  const lower = (victim: LiveJob): boolean => victim.priority < job.priority;
  if (!victims.every((one) => lower(one) || one.borrowing)) return false;
  if (isInsideWithout(snapshot, job, victims)) return true;
  return job.allowsBorrowing && victims.every((one) => lower(one) && one.borrowing);
}

/** Whether the job is inside its plans once the victims are gone. */
export const becomesInside = isInsideWithout;

export const isSufficient = (
  snapshot: Snapshot,
  job: QueuedJob,
  victims: readonly LiveJob[],
): boolean =>
  allowed(snapshot, job, victims) && podsFitting(snapshot, job, victims) >= job.parallelism;

/** The rule by which a job may be evicted for one that starts as a borrower, or inside its plans. */
export function ruleOf(snapshot: Snapshot, job: QueuedJob, victim: LiveJob, borrowing: boolean) {
  if (borrowing) return "LowerPriority";
  const isSibling = exceeded(snapshot, job).some((one) => reliefOf(victim, one) > 0);
  if (isSibling && victim.priority < job.priority) return "OwnQuota";
  return victim.borrowing ? "BorrowerReclaimed" : "LowerPriority";
}

/**
 * The highest priority inside plans, the highest of all, pods inside plans, pods, and the GPU-seconds and core-seconds (of
 * jobs without GPUs) that are lost.
 */
export function costOf(victims: readonly LiveJob[], nowSeconds: number): number[][] {
  const inside = victims.filter(({ borrowing }) => !borrowing);
  const highest = (jobs: readonly LiveJob[]): number[] =>
    jobs
      .map(({ priority }) => priority)
      .sort((a, b) => b - a)
      .slice(0, 1);
  const total = (jobs: readonly LiveJob[], of: (job: LiveJob) => number): number[] => [
    jobs.reduce((sum, job) => sum + of(job), 0),
  ];
  const seconds = (job: LiveJob): number =>
    podsOf(job) * Math.max(0, Math.round(nowSeconds - job.startedAtSeconds));
  const withoutGpus = victims.filter(({ perPod }) => perPod.gpus === 0);
  return [
    highest(inside),
    highest(victims),
    total(inside, podsOf),
    total(victims, podsOf),
    total(victims, (job) => job.perPod.gpus * seconds(job)),
    total(withoutGpus, (job) => job.perPod.cpuMillis * seconds(job)),
  ];
}

export function compareCosts(a: readonly number[][], b: readonly number[][]): number {
  for (const [index, left] of a.entries()) {
    const difference = compareLists(left, b[index] ?? []);
    if (difference !== 0) return difference;
  }
  return 0;
}

function compareLists(a: readonly number[], b: readonly number[]): number {
  for (let index = 0; index < Math.max(a.length, b.length); index += 1) {
    const difference = (a[index] ?? -1e9) - (b[index] ?? -1e9);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Cost of the best set, or undefined when none is sufficient. */
export function bestCost(
  snapshot: Snapshot,
  job: QueuedJob,
  live: readonly LiveJob[],
): number[][] | undefined {
  const costs = subsets(live)
    .filter((set) => isSufficient(snapshot, job, set))
    .map((set) => costOf(set, snapshot.nowSeconds))
    .sort(compareCosts);
  return costs[0];
}

/** Whether some set would do if no budget protected it. */
export const isPossibleUnprotected = (
  snapshot: Snapshot,
  job: QueuedJob,
  live: readonly LiveJob[],
): boolean =>
  bestCost(
    snapshot,
    job,
    live.map(({ protected: _budget, refused: _refused, ...rest }) => rest),
  ) !== undefined;
