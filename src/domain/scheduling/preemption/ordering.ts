/** What evicting a set of jobs costs, and in which order candidates are preferred (design section 6). */
import type { VictimRule } from "../decision.ts";
import type { LiveJob } from "../snapshot.ts";

/** A job that a preemptor may evict. */
export interface Candidate {
  readonly job: LiveJob;
  /** All pods of the gang, on whatever nodes. */
  readonly pods: number;
  readonly rule: VictimRule;
}

/**
 * Negative when evicting `a` costs less than evicting `b`: fewest pods, then fewest jobs inside their plans, then
 * the lowest priorities (compared from the highest down), then the youngest (compared from the oldest up).
 * Adding a job to a set always makes it cost more; the search relies on that.
 */
export function compareCost(a: readonly Candidate[], b: readonly Candidate[]): number {
  return totalPods(a) - totalPods(b) || compareQuality(a, b);
}

/** The cost without the number of pods. */
export function compareQuality(a: readonly Candidate[], b: readonly Candidate[]): number {
  return (
    insidePlans(a) - insidePlans(b) ||
    compareSequences(prioritiesDescending(a), prioritiesDescending(b)) ||
    compareSequences(agesDescending(a), agesDescending(b))
  );
}

/** Borrowers first, then lowest priority, then youngest. */
export function comparePreference(a: Candidate, b: Candidate): number {
  return (
    Number(b.job.borrowing) - Number(a.job.borrowing) ||
    a.job.priority - b.job.priority ||
    b.job.startedAtSeconds - a.job.startedAtSeconds ||
    (a.job.id < b.job.id ? -1 : 1)
  );
}

/** The largest gangs, then what is preferred least. */
export const compareCostDescending = (a: Candidate, b: Candidate): number =>
  b.pods - a.pods || comparePreference(b, a);

export const totalPods = (set: readonly Candidate[]): number =>
  set.reduce((sum, one) => sum + one.pods, 0);

const insidePlans = (set: readonly Candidate[]): number =>
  set.filter((one) => !one.job.borrowing).length;

const prioritiesDescending = (set: readonly Candidate[]): number[] =>
  set.map((one) => one.job.priority).sort((x, y) => y - x);

/** Start times negated, so that the larger number is the older job. */
const agesDescending = (set: readonly Candidate[]): number[] =>
  set.map((one) => -one.job.startedAtSeconds).sort((x, y) => y - x);

/** Lexicographic; of two sequences where one begins with the other, the shorter is smaller. */
function compareSequences(a: readonly number[], b: readonly number[]): number {
  for (const [index, left] of a.entries()) {
    const right = b[index];
    if (right === undefined) return 1;
    if (left !== right) return left - right;
  }
  return a.length - b.length;
}
