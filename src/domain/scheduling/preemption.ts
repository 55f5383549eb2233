/**
 * Whom a blocked job may evict, and on which grounds (design section 6).
 *
 * - inside its plans: borrowers of any priority, and jobs of lower priority;
 * - over its ceilings: the same, if that brings it inside its plans;
 * - outside its plans and allowed to borrow: borrowers of lower priority.
 *
 * Evictions cannot go in circles: each of them either adds the preemptor to the jobs inside their plans and takes
 * away only borrowers or jobs of lower priority, or leaves the jobs inside their plans alone and puts a borrower in
 * the place of borrowers of lower priority. Ordered by priority, first the jobs inside their plans and then the
 * borrowers, every eviction is a step up, and there are finitely many steps. For this the borrowing flags must be
 * true: jobs under a ceiling that this decision moved count as inside their plans until the next snapshot.
 */
import type { Ceilings, CeilingState } from "./ceilings.ts";
import { podsOf } from "./ceilings.ts";
import { type Candidate, compareCost } from "./cost.ts";
import type { Excess } from "./gang-room.ts";
import type { NodeState } from "./nodes.ts";
import type { LiveJob, QueuedJob, VictimRule } from "./types.ts";
import { type Found, findCheapest, isPossible, type SearchInput } from "./victim-search.ts";

export interface PreemptionInput {
  readonly job: QueuedJob;
  readonly nodes: readonly NodeState[];
  readonly ceilings: Ceilings;
  /** Jobs that run and are not yet victims of this decision. */
  readonly live: readonly LiveJob[];
}

export interface PreemptionPlan extends Found {
  readonly kind: "possible";
  readonly borrowing: boolean;
}

export interface ImpossiblePreemption {
  readonly kind: "impossible";
  /** Budgets without which it would be possible. */
  readonly budgets: readonly string[];
}

interface Grounds {
  readonly borrowing: boolean;
  readonly over: readonly CeilingState[];
  readonly rule: (victim: LiveJob) => VictimRule | undefined;
}

export function planPreemption(input: PreemptionInput): PreemptionPlan | ImpossiblePreemption {
  const grounds = groundsFor(input);
  const plans = grounds.flatMap((one) => planOn(input, one) ?? []);
  const [best] = plans.sort((a, b) => compareCost(a.set, b.set));
  return best ?? { kind: "impossible", budgets: budgetsInTheWay(input, grounds) };
}

/** The jobs it may evict, each with the first rule that allows it, whether or not that would be enough. */
export function evictableBy(input: PreemptionInput): Candidate[] {
  const grounds = groundsFor(input);
  return input.live.flatMap((victim): Candidate[] => {
    const rule = grounds.map((one) => one.rule(victim)).find((one) => one !== undefined);
    return rule === undefined ? [] : [{ job: victim, pods: podsOf(victim), rule }];
  });
}

function groundsFor({ job, ceilings }: PreemptionInput): Grounds[] {
  const over = ceilings.over(job);
  const inside = !job.unplanned && over.length === 0;
  if (inside)
    return [{ borrowing: false, over: [], rule: (victim) => reclaim(job, victim, ceilings) }];
  const grounds: Grounds[] = [];
  if (!job.unplanned)
    grounds.push({ borrowing: false, over, rule: (victim) => claim(job, victim, ceilings, over) });
  if (job.allowsBorrowing) {
    grounds.push({ borrowing: true, over: [], rule: (victim) => displace(job, victim, ceilings) });
  }
  return grounds;
}

function reclaim(job: QueuedJob, victim: LiveJob, ceilings: Ceilings): VictimRule | undefined {
  if (ceilings.surelyBorrows(victim)) return "BorrowerReclaimed";
  return victim.priority < job.priority ? "LowerPriority" : undefined;
}

function claim(
  job: QueuedJob,
  victim: LiveJob,
  ceilings: Ceilings,
  over: readonly CeilingState[],
): VictimRule | undefined {
  const sibling = over.some((one) => one.reliefBy(victim) > 0);
  return sibling && victim.priority < job.priority ? "OwnCeiling" : reclaim(job, victim, ceilings);
}

function displace(job: QueuedJob, victim: LiveJob, ceilings: Ceilings): VictimRule | undefined {
  if (victim.priority >= job.priority) return undefined;
  return ceilings.surelyBorrows(victim) ? "LowerPriority" : undefined;
}

function planOn(input: PreemptionInput, grounds: Grounds): PreemptionPlan | undefined {
  const found = findCheapest(searchInput(input, grounds, (victim) => !victim.protected));
  return found && { kind: "possible", borrowing: grounds.borrowing, ...found };
}

function searchInput(
  { job, nodes, live }: PreemptionInput,
  grounds: Grounds,
  allowed: (victim: LiveJob) => boolean,
): SearchInput {
  const over: Excess[] = grounds.over.map((ceiling) => ({ ceiling, amount: ceiling.excess(job) }));
  const candidates = live.filter(allowed).flatMap((victim): Candidate[] => {
    const rule = grounds.rule(victim);
    return rule ? [{ job: victim, pods: podsOf(victim), rule }] : [];
  });
  return { nodes, demand: job, candidates, over };
}

function budgetsInTheWay(input: PreemptionInput, grounds: readonly Grounds[]): readonly string[] {
  const stopped = grounds.some((one) => isPossible(searchInput(input, one, () => true)));
  if (!stopped) return [];
  const names = grounds.flatMap((one) =>
    searchInput(input, one, () => true).candidates.flatMap(({ job }) => job.protected ?? []),
  );
  return [...new Set(names)].sort();
}
