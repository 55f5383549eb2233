/** Design section 6 read naively: every subset of the live jobs, tried one by one. Shares no code with the engine. */
import type {
  LiveJob,
  QueuedJob,
  Resources,
  Snapshot,
} from "../../../src/domain/scheduling/types.ts";

const podsOf = (job: LiveJob): number => job.allocations.reduce((sum, { pods }) => sum + pods, 0);

/** Bit by bit: set number n has the items whose bits are set in n. */
export const subsets = <T>(items: readonly T[]): T[][] =>
  Array.from({ length: 2 ** items.length }, (_, bits) =>
    items.filter((_, index) => Math.floor(bits / 2 ** index) % 2 === 1),
  );

const DIMENSIONS = ["gpus", "cpuMillis", "memoryBytes", "pods"] as const;

/** Pods of the job that fit when the victims are gone, evicting pods have left and holds are kept. */
export function podsFitting(
  snapshot: Snapshot,
  job: QueuedJob,
  victims: readonly LiveJob[],
): number {
  return snapshot.nodes.reduce((total, node) => {
    const counts = DIMENSIONS.filter((one) => job.perPod[one] > 0).map((one) => {
      let room = node.allocatable[one] - node.foreign[one] - node.committed[one];
      room += node.leaving[one] - node.held[one];
      for (const victim of victims) room += freed(victim, node.name, one);
      return Math.floor(room / job.perPod[one]);
    });
    return total + Math.max(0, Math.min(...counts));
  }, 0);
}

const freed = (victim: LiveJob, node: string, dimension: keyof Resources): number =>
  victim.allocations
    .filter((one) => one.node === node)
    .reduce((sum, { pods }) => sum + pods * victim.perPod[dimension], 0);

function holdsCeilings(snapshot: Snapshot, job: QueuedJob, victims: readonly LiveJob[]): boolean {
  if (job.unplanned) return false;
  return snapshot.ceilings
    .filter(({ id }) => job.ceilings.includes(id))
    .every(({ id, quantity, usage }) => {
      const relieved = victims
        .filter((victim) => victim.ceilings.includes(id) && !victim.borrowing)
        .reduce((sum, victim) => sum + victim.perPod.gpus * podsOf(victim), 0);
      const demand = job.perPod.gpus * job.parallelism;
      return demand === 0 || usage - relieved + demand <= quantity;
    });
}

export const isInside = (snapshot: Snapshot, job: QueuedJob): boolean =>
  holdsCeilings(snapshot, job, []);

function allowed(snapshot: Snapshot, job: QueuedJob, victims: readonly LiveJob[]): boolean {
  if (victims.some((victim) => victim.protected)) return false;
  const lower = (victim: LiveJob): boolean => victim.priority < job.priority;
  if (!victims.every((one) => lower(one) || one.borrowing)) return false;
  if (holdsCeilings(snapshot, job, victims)) return true;
  return job.allowsBorrowing && victims.every((one) => lower(one) && one.borrowing);
}

export const isSufficient = (
  snapshot: Snapshot,
  job: QueuedJob,
  victims: readonly LiveJob[],
): boolean =>
  allowed(snapshot, job, victims) && podsFitting(snapshot, job, victims) >= job.parallelism;

/** Pods, jobs inside their plans, priorities from the highest, ages from the oldest. */
export function costOf(victims: readonly LiveJob[]): number[][] {
  return [
    [victims.reduce((sum, victim) => sum + podsOf(victim), 0)],
    [victims.filter((victim) => !victim.borrowing).length],
    victims.map(({ priority }) => priority).sort((a, b) => b - a),
    victims.map(({ startedAtSeconds }) => -startedAtSeconds).sort((a, b) => b - a),
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
    .map(costOf)
    .sort(compareCosts);
  return costs[0];
}
