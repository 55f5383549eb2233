/**
 * The cheapest set of victims that frees at least what is missing: an exact branch and bound over a covering
 * problem in several dimensions (resources of one node, and room under quotas). Jobs that free the same are
 * interchangeable but for their quality, so they are taken in order of preference and only their number branches.
 */
import {
  type Candidate,
  compareCost,
  compareCostDescending,
  comparePreference,
  compareQuality,
  totalPods,
} from "./ordering.ts";

export interface SetCoverItem {
  readonly candidate: Candidate;
  /** What evicting it frees, one number per dimension, in the dimensions of the deficits. */
  readonly frees: readonly number[];
}

interface Group {
  /** In order of preference. */
  readonly candidates: readonly Candidate[];
  readonly pods: number;
  readonly frees: readonly number[];
}

/** What the groups from one index on can still contribute. */
interface Outlook {
  readonly total: readonly number[];
  readonly maxPerPod: readonly number[];
}

/**
 * Steps after which the search settles for the best set found. It then is still sufficient and inclusion-minimal;
 * only the proof that nothing cheaper exists is missing. Twenty different jobs on a node need a few hundred.
 */
const MAX_STEPS = 50_000;

/**
 * The cheapest sufficient set, the dearest first, or undefined when all items together are not enough. With `toBeat`,
 * only a set that costs less is returned.
 */
export function cheapestCover(
  items: readonly SetCoverItem[],
  deficits: readonly number[],
  toBeat?: readonly Candidate[],
  maxSteps = MAX_STEPS,
): readonly Candidate[] | undefined {
  const missing = deficits.map((deficit) => Math.max(0, deficit));
  const useful = clip(items, missing);
  if (!enough(useful, missing)) return undefined;
  const groups = groupAlike(useful);
  const first = greedyCover(useful, missing);
  const best = toBeat && compareCost(toBeat, first) <= 0 ? toBeat : first;
  const found = new Search(groups, best, maxSteps).run(missing);
  if (found === toBeat) return undefined;
  // A search that gave up may hold a set of which it had yet to see that less is enough.
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
    { candidates: Candidate[]; pods: number; frees: readonly number[] }
  >();
  for (const { candidate, frees } of items) {
    const key = `${candidate.pods}|${candidate.job.borrowing}|${frees.join("|")}`;
    const known = groups.get(key);
    if (known) known.candidates.push(candidate);
    else groups.set(key, { candidates: [candidate], pods: candidate.pods, frees });
  }
  for (const { candidates } of groups.values()) candidates.sort(comparePreference);
  return [...groups.values()].sort((a, b) => density(b) - density(a));
}

const density = (group: Group): number =>
  group.frees.reduce((sum, amount) => sum + amount, 0) / group.pods;

/** Takes in order of preference until it is enough, then drops what is not needed. */
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

/** The items without those that can be spared, dearest first. */
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

  run(missing: readonly number[]): readonly Candidate[] {
    this.#branch(0, missing, []);
    return this.#best;
  }

  #branch(index: number, missing: readonly number[], chosen: readonly Candidate[]): void {
    this.#steps += 1;
    if (this.#steps > this.#maxSteps) return;
    if (missing.every((need) => need <= 0)) {
      if (compareCost(chosen, this.#best) < 0) this.#best = chosen;
      return;
    }
    const group = this.#groups[index];
    if (!group || !this.#promises(index, missing, chosen)) return;
    for (let count = mostUseful(group, missing); count >= 0; count -= 1) {
      const left = missing.map((need, dimension) => need - count * (group.frees[dimension] ?? 0));
      this.#branch(index + 1, left, [...chosen, ...group.candidates.slice(0, count)]);
    }
  }

  /** Whether the branch can still end in something cheaper than the best set known. */
  #promises(index: number, missing: readonly number[], chosen: readonly Candidate[]): boolean {
    const outlook = this.#outlooks[index];
    if (!outlook) return false;
    if (missing.some((need, dimension) => need > (outlook.total[dimension] ?? 0))) return false;
    const pods = totalPods(chosen) + fewestPods(outlook, missing) - totalPods(this.#best);
    return pods < 0 || (pods === 0 && compareQuality(chosen, this.#best) < 0);
  }
}

/** Taking more of a group than one of the deficits needs is waste. */
function mostUseful(group: Group, missing: readonly number[]): number {
  const wanted = missing.map((need, dimension) => {
    const each = group.frees[dimension] ?? 0;
    return need > 0 && each > 0 ? Math.ceil(need / each) : 0;
  });
  return Math.min(group.candidates.length, Math.max(...wanted));
}

/** A lower bound: as if gangs could be evicted in part. */
const fewestPods = (outlook: Outlook, missing: readonly number[]): number =>
  Math.max(
    ...missing.map((need, dimension) =>
      need > 0 ? Math.ceil(need / (outlook.maxPerPod[dimension] ?? 0) - 1e-9) : 0,
    ),
  );

function outlooks(groups: readonly Group[]): Outlook[] {
  const result: Outlook[] = [];
  let next: Outlook | undefined;
  for (const group of groups.toReversed()) {
    const after: Outlook | undefined = next;
    next = {
      total: group.frees.map(
        (amount, dimension) => amount * group.candidates.length + (after?.total[dimension] ?? 0),
      ),
      maxPerPod: group.frees.map((amount, dimension) =>
        Math.max(amount / group.pods, after?.maxPerPod[dimension] ?? 0),
      ),
    };
    result.unshift(next);
  }
  return result;
}
