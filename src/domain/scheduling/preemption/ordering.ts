/** The cost of a set of victims, and the order of preference among candidates (docs/design.md, "Preemption"). */
import type { VictimRule } from "../decision.ts";
import type { LiveJob } from "../snapshot.ts";

/** A job that a preemptor may evict. */
export interface Candidate {
  readonly job: LiveJob;
  /** All pods of the gang, on all nodes. */
  readonly pods: number;
  readonly rule: VictimRule;
}

/**
 * Negative if evicting `a` costs less than evicting `b`. Criteria, in this order:
 *
 * 1. fewer pods
 * 2. fewer jobs within quota
 * 3. lower priorities, compared from the highest down
 * 4. younger jobs, compared from the oldest down
 *
 * Adding a job to a set always raises its cost; the search relies on that.
 */
export function compareCost(a: readonly Candidate[], b: readonly Candidate[]): number {
  return totalPods(a) - totalPods(b) || compareQuality(a, b);
}

/** Like compareCost, without criterion 1. */
export function compareQuality(a: readonly Candidate[], b: readonly Candidate[]): number {
  return (
    withinQuota(a) - withinQuota(b) ||
    compareSequences(prioritiesDescending(a), prioritiesDescending(b)) ||
    compareSequences(agesDescending(a), agesDescending(b))
  );
}

/** Order of preference as a victim: borrowers first, then lowest priority, then youngest. */
export function comparePreference(a: Candidate, b: Candidate): number {
  return (
    Number(b.job.borrowing) - Number(a.job.borrowing) ||
    a.job.priority - b.job.priority ||
    b.job.startedAtSeconds - a.job.startedAtSeconds ||
    (a.job.id < b.job.id ? -1 : 1)
  );
}

/** Largest gangs first, then the least preferred victims. */
export const compareCostDescending = (a: Candidate, b: Candidate): number =>
  b.pods - a.pods || comparePreference(b, a);

/** Pods of all jobs of the set. */
export const totalPods = (set: readonly Candidate[]): number =>
  set.reduce((sum, one) => sum + one.pods, 0);

const withinQuota = (set: readonly Candidate[]): number =>
  set.filter((one) => !one.job.borrowing).length;

const prioritiesDescending = (set: readonly Candidate[]): number[] =>
  set.map((one) => one.job.priority).sort((x, y) => y - x);

/** Start times negated, so that the larger number is the older job. */
const agesDescending = (set: readonly Candidate[]): number[] =>
  set.map((one) => -one.job.startedAtSeconds).sort((x, y) => y - x);

/** Lexicographic; a prefix is smaller than the longer sequence. */
function compareSequences(a: readonly number[], b: readonly number[]): number {
  for (const [index, left] of a.entries()) {
    const right = b[index];
    if (right === undefined) return 1;
    if (left !== right) return left - right;
  }
  return a.length - b.length;
}
