/** The cost of a set of victims, and the order of preference among candidates (docs/design.md, "Preemption"). */
import { amountOf, podsOf } from "../quota.ts";
import type { VictimRule } from "../decision.ts";
import type { LiveJob } from "../snapshot.ts";

/** A job that a preemptor may evict. */
export interface Candidate {
  readonly job: LiveJob;
  /** All pods of the gang, on all nodes. */
  readonly pods: number;
  readonly rule: VictimRule;
  readonly lost: WorkLost;
}

/** Work since the start of the attempt, in whole numbers, so that sums are exact in any order. */
export interface WorkLost {
  readonly gpuMilliseconds: number;
  /** Of jobs without GPUs only. */
  readonly coreMilliseconds: number;
}

export function candidate(job: LiveJob, rule: VictimRule, nowSeconds: number): Candidate {
  const pods = podsOf(job);
  const podMilliseconds =
    pods * Math.max(0, Math.round((nowSeconds - job.startedAtSeconds) * 1000));
  const gpus = amountOf(job.perPod, "GPU");
  const { cpuMillis } = job.perPod;
  return {
    job,
    pods,
    rule,
    lost: {
      gpuMilliseconds: gpus * podMilliseconds,
      coreMilliseconds: gpus > 0 ? 0 : Math.round((cpuMillis * podMilliseconds) / 1000),
    },
  };
}

/**
 * Negative if evicting `a` costs less than evicting `b`. Criteria, in this order:
 *
 * 1. a lower highest priority among the jobs within quota; none is best
 * 2. a lower highest priority among all
 * 3. fewer pods of jobs within quota
 * 4. fewer pods
 * 5. less work lost: GPU-seconds, then core-seconds of jobs without GPUs
 *
 * Adding a job to a set always raises its cost; the search relies on that.
 */
export const compareCost = (a: readonly Candidate[], b: readonly Candidate[]): number =>
  compareClasses(a, b) || compareEqualClasses(a, b);

/** Criteria 1 and 2. */
export function compareClasses(a: readonly Candidate[], b: readonly Candidate[]): number {
  const [insideA, insideB] = [a.filter(isWithinQuota), b.filter(isWithinQuota)];
  return (
    compareNumbers(highestPriority(insideA), highestPriority(insideB)) ||
    compareNumbers(highestPriority(a), highestPriority(b))
  );
}

/** The other criteria, of sets with the same highest priorities. */
export function compareEqualClasses(a: readonly Candidate[], b: readonly Candidate[]): number {
  return (
    podsWithinQuota(a) - podsWithinQuota(b) || totalPods(a) - totalPods(b) || compareWorkLost(a, b)
  );
}

export const compareWorkLost = (a: readonly Candidate[], b: readonly Candidate[]): number =>
  sum(a, ({ lost }) => lost.gpuMilliseconds) - sum(b, ({ lost }) => lost.gpuMilliseconds) ||
  sum(a, ({ lost }) => lost.coreMilliseconds) - sum(b, ({ lost }) => lost.coreMilliseconds);

/** Order of preference as a victim: borrowers first, then lowest priority, then youngest. */
export function comparePreference(a: Candidate, b: Candidate): number {
  return (
    Number(b.job.borrowing) - Number(a.job.borrowing) ||
    a.job.priority - b.job.priority ||
    b.job.startedAtSeconds - a.job.startedAtSeconds ||
    (a.job.id < b.job.id ? -1 : 1)
  );
}

/** The dearest first, as if each were evicted alone. */
export const compareCostDescending = (a: Candidate, b: Candidate): number =>
  compareCost([b], [a]) || comparePreference(b, a);

/** Pods of all jobs of the set. */
export const totalPods = (set: readonly Candidate[]): number => sum(set, ({ pods }) => pods);

export const podsWithinQuota = (set: readonly Candidate[]): number =>
  sum(set, (one) => (isWithinQuota(one) ? one.pods : 0));

const isWithinQuota = ({ job }: Candidate): boolean => !job.borrowing;

/**
 * The items among which the cheapest sufficient set is: those within quota up to the lowest priority with which the
 * borrowers are enough, and of all those up to the lowest priority that is still enough. So every sufficient set of them
 * has the lowest possible highest priorities, criteria 1 and 2. All items must be enough, and more items more so.
 */
export function cheapestClasses<Item>(
  items: readonly Item[],
  of: (item: Item) => Candidate,
  isEnough: (items: readonly Item[]) => boolean,
): readonly Item[] {
  const priorityOf = (item: Item): number => of(item).job.priority;
  const inside = items.filter((item) => isWithinQuota(of(item)));
  const withQuota = lowest([Number.NEGATIVE_INFINITY, ...inside.map(priorityOf)], (most) =>
    isEnough(items.filter((item) => !isWithinQuota(of(item)) || priorityOf(item) <= most)),
  );
  const allowed = items.filter((item) => !isWithinQuota(of(item)) || priorityOf(item) <= withQuota);
  const overall = lowest(
    allowed.map(priorityOf).filter((one) => one >= withQuota),
    (most) => isEnough(allowed.filter((item) => priorityOf(item) <= most)),
  );
  return allowed.filter((item) => priorityOf(item) <= overall);
}

/** The lowest of the numbers that will do, given that higher ones do, too; the highest if there is no other. */
function lowest(numbers: readonly number[], willDo: (number: number) => boolean): number {
  const ascending = [...new Set(numbers)].sort(compareNumbers);
  let [from, until] = [0, ascending.length - 1];
  while (from < until) {
    const middle = Math.floor((from + until) / 2);
    if (willDo(ascending[middle] ?? 0)) until = middle;
    else from = middle + 1;
  }
  return ascending[from] ?? Number.NEGATIVE_INFINITY;
}

const highestPriority = (set: readonly Candidate[]): number =>
  set.reduce((highest, { job }) => Math.max(highest, job.priority), Number.NEGATIVE_INFINITY);

/** Also of infinite ones. */
const compareNumbers = (a: number, b: number): number => (a === b ? 0 : a < b ? -1 : 1);

const sum = (set: readonly Candidate[], of: (one: Candidate) => number): number =>
  set.reduce((total, one) => total + of(one), 0);
