/**
 * The cheapest set of victims that covers a deficit: branch and bound over a set cover problem in several dimensions
 * (resources of one node, and quotas). The lowest priorities that are enough are found first, so that the search
 * compares pods and work only. Jobs that free the same amounts differ only in work, so it branches on how many of them
 * to take, the least work first.
 */
import {
  type Candidate,
  cheapestClasses,
  compareClasses,
  compareCost,
  compareCostDescending,
  compareEqualClasses,
  comparePreference,
  compareWorkLost,
  podsWithinQuota,
  totalPods,
} from "./ordering.ts";

export interface SetCoverItem {
  readonly candidate: Candidate;
  /** Freed by its eviction, per dimension of the deficits. */
  readonly frees: readonly number[];
}

interface Group {
  /** The least work lost first. */
  readonly candidates: readonly Candidate[];
  readonly borrowing: boolean;
  readonly pods: number;
  readonly frees: readonly number[];
}

/** What the groups from an index onward can still contribute. */
interface Outlook {
  readonly total: readonly number[];
  readonly maxPerPod: readonly number[];
  readonly totalOfBorrowers: readonly number[];
  readonly maxPerPodWithinQuota: readonly number[];
}

/** Steps of all searches of a decision; a few tenths of a second of CPU. */
const maxSteps = 100_000;

/** The part of what is left that one search may take: at first 3,125. Twenty different jobs on a node need a few hundred. */
const part = 32;

/**
 * What the searches of one decision may still spend, over all its jobs and nodes. Each may take a part of what is left,
 * so that the first ones, where they are hard, leave something to the others. A search that runs out returns the best set
 * found: sufficient and inclusion-minimal, but not proven to be the cheapest.
 */
export class StepBudget {
  #left: number;

  constructor(steps = maxSteps) {
    this.#left = steps;
  }

  /** How many steps the next search may take. */
  get share(): number {
    return Math.ceil(this.#left / part);
  }

  spend(steps: number): void {
    this.#left = Math.max(0, this.#left - steps);
  }
}

/**
 * The cheapest sufficient set, its most expensive member first. Undefined if all items together are not enough, or if
 * no set costs less than `toBeat`.
 */
export function cheapestCover(
  items: readonly SetCoverItem[],
  deficits: readonly number[],
  budget: StepBudget,
  toBeat?: readonly Candidate[],
): readonly Candidate[] | undefined {
  const missing = deficits.map((deficit) => Math.max(0, deficit));
  const all = clip(items, missing);
  if (!enough(all, missing)) return undefined;
  const useful = cheapestClasses(
    all,
    ({ candidate }) => candidate,
    (some) => enough(some, missing),
  );
  const groups = groupAlike(useful);
  const first = greedyCover(useful, missing);
  if (toBeat && compareClasses(toBeat, first) < 0) return undefined;
  const best = toBeat && compareCost(toBeat, first) <= 0 ? toBeat : first;
  const search = new Search(groups, best, budget.share);
  const found = search.run(missing);
  budget.spend(search.steps);
  if (found === toBeat) return undefined;
  // A search that ran out of steps may not have noticed yet that fewer victims are enough.
  return needed(
    useful.filter(({ candidate }) => found.includes(candidate)),
    missing,
  );
}

const clip = (items: readonly SetCoverItem[], missing: readonly number[]): SetCoverItem[] =>
  items
    .map(({ candidate, frees }) => ({
      candidate,
      frees: missing.map((need, dimension) => Math.min(need, Math.max(0, frees[dimension] ?? 0))),
    }))
    .filter(({ frees }) => frees.some((amount) => amount > 0));

const enough = (items: readonly SetCoverItem[], missing: readonly number[]): boolean =>
  missing.every((need, dimension) => need <= sumOf(items, dimension));

const sumOf = (items: readonly SetCoverItem[], dimension: number): number =>
  items.reduce((sum, { frees }) => sum + (frees[dimension] ?? 0), 0);

function groupAlike(items: readonly SetCoverItem[]): Group[] {
  const groups = new Map<
    string,
    { candidates: Candidate[]; borrowing: boolean; pods: number; frees: readonly number[] }
  >();
  for (const { candidate, frees } of items) {
    const { pods, job } = candidate;
    const key = `${pods}|${job.borrowing}|${frees.join("|")}`;
    const known = groups.get(key);
    if (known) known.candidates.push(candidate);
    else groups.set(key, { candidates: [candidate], borrowing: job.borrowing, pods, frees });
  }
  for (const { candidates } of groups.values())
    candidates.sort((a, b) => compareWorkLost([a], [b]) || comparePreference(a, b));
  return [...groups.values()].sort(
    (a, b) => Number(b.borrowing) - Number(a.borrowing) || density(b) - density(a),
  );
}

const density = (group: Group): number =>
  group.frees.reduce((sum, amount) => sum + amount, 0) / group.pods;

/** Takes victims in order of preference until they are enough, then drops those that are not needed. */
function greedyCover(
  items: readonly SetCoverItem[],
  missing: readonly number[],
): readonly Candidate[] {
  const chosen: SetCoverItem[] = [];
  for (const item of items.toSorted((a, b) => comparePreference(a.candidate, b.candidate))) {
    if (enough(chosen, missing)) break;
    chosen.push(item);
  }
  return needed(chosen, missing);
}

/** The items without those that are not needed; the most expensive are dropped first. */
function needed(items: readonly SetCoverItem[], missing: readonly number[]): readonly Candidate[] {
  let kept = items.toSorted((a, b) => compareCostDescending(a.candidate, b.candidate));
  for (const item of kept) {
    const without = kept.filter((other) => other !== item);
    if (enough(without, missing)) kept = without;
  }
  return kept.map(({ candidate }) => candidate);
}

class Search {
  readonly #groups: readonly Group[];
  readonly #outlooks: readonly Outlook[];
  readonly #maxSteps: number;
  #best: readonly Candidate[];
  #steps = 0;

  constructor(groups: readonly Group[], best: readonly Candidate[], maxSteps: number) {
    this.#groups = groups;
    this.#maxSteps = maxSteps;
    this.#outlooks = outlooks(groups);
    this.#best = best;
  }

  get steps(): number {
    return this.#steps;
  }

  run(missing: readonly number[]): readonly Candidate[] {
    this.#branch(0, missing, []);
    return this.#best;
  }

  #branch(index: number, missing: readonly number[], chosen: readonly Candidate[]): void {
    if (this.#steps >= this.#maxSteps) return;
    this.#steps += 1;
    if (missing.every((need) => need <= 0)) {
      if (compareEqualClasses(chosen, this.#best) < 0) this.#best = chosen;
      return;
    }
    const group = this.#groups[index];
    if (!group || !this.#promises(index, missing, chosen)) return;
    for (let count = mostUseful(group, missing); count >= 0; count -= 1) {
      const left = missing.map((need, dimension) => need - count * (group.frees[dimension] ?? 0));
      this.#branch(index + 1, left, [...chosen, ...group.candidates.slice(0, count)]);
    }
  }

  /** Whether the branch can still lead to a cheaper set than the best one known. */
  #promises(index: number, missing: readonly number[], chosen: readonly Candidate[]): boolean {
    const outlook = this.#outlooks[index];
    if (!outlook) return false;
    if (missing.some((need, dimension) => need > (outlook.total[dimension] ?? 0))) return false;
    const beyond = missing.map((need, at) => need - (outlook.totalOfBorrowers[at] ?? 0));
    const withinQuota = podsWithinQuota(chosen) + fewestPods(outlook.maxPerPodWithinQuota, beyond);
    const pods = totalPods(chosen) + fewestPods(outlook.maxPerPod, missing);
    const ahead =
      withinQuota - podsWithinQuota(this.#best) ||
      pods - totalPods(this.#best) ||
      compareWorkLost(chosen, this.#best);
    return ahead < 0;
  }
}

/** More of a group than the largest deficit needs is never useful. */
function mostUseful(group: Group, missing: readonly number[]): number {
  const wanted = missing.map((need, dimension) => {
    const each = group.frees[dimension] ?? 0;
    return need > 0 && each > 0 ? Math.ceil(need / each) : 0;
  });
  return Math.min(group.candidates.length, Math.max(...wanted));
}

/** A lower bound, as if gangs could be evicted partially. */
const fewestPods = (maxPerPod: readonly number[], missing: readonly number[]): number =>
  Math.max(
    ...missing.map((need, dimension) =>
      need > 0 ? Math.ceil(need / (maxPerPod[dimension] ?? 0) - 1e-9) : 0,
    ),
  );

function outlooks(groups: readonly Group[]): Outlook[] {
  const result: Outlook[] = [];
  let next: Outlook | undefined;
  for (const group of groups.toReversed()) {
    next = outlook(group, next);
    result.unshift(next);
  }
  return result;
}

function outlook({ candidates, borrowing, pods, frees }: Group, after?: Outlook): Outlook {
  const all = frees.map((amount) => amount * candidates.length);
  const perPod = frees.map((amount) => amount / pods);
  const nothing = frees.map(() => 0);
  const plus = (one: readonly number[], other?: readonly number[]): number[] =>
    one.map((amount, at) => amount + (other?.[at] ?? 0));
  const most = (one: readonly number[], other?: readonly number[]): number[] =>
    one.map((amount, at) => Math.max(amount, other?.[at] ?? 0));
  return {
    total: plus(all, after?.total),
    maxPerPod: most(perPod, after?.maxPerPod),
    totalOfBorrowers: plus(borrowing ? all : nothing, after?.totalOfBorrowers),
    maxPerPodWithinQuota: most(borrowing ? nothing : perPod, after?.maxPerPodWithinQuota),
  };
}
