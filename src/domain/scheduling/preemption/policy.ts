/**
 * Which jobs a blocked job may evict, and by which rule (docs/design.md, "Preemption").
 *
 * - Within quota: borrowers of any priority, and jobs of lower priority.
 * - Over quota: the same, if evicting them brings it within quota.
 * - Over quota and allowed to borrow: borrowers of lower priority.
 *
 * Evictions terminate. Each one either adds the preemptor to the jobs within quota and removes only borrowers or jobs of
 * lower priority, or keeps the jobs within quota and replaces borrowers by one of higher priority. In the order "jobs
 * within quota by priority, then borrowers by priority", every eviction is a step up, and there are finitely many. This
 * needs correct borrowing marks: jobs under a stale quota (quota.ts) count as within quota until the next snapshot.
 */
import type { Quotas, QuotaState } from "../quota.ts";
import { candidate, type Candidate, compareCost } from "./ordering.ts";
import type { Excess } from "./gang-fit.ts";
import type { NodeState } from "../nodes.ts";
import type { VictimRule } from "../decision.ts";
import type { LiveJob, QueuedJob } from "../snapshot.ts";
import type { StepBudget } from "./set-cover.ts";
import { type Found, findCheapest, isPossible, type SearchInput } from "./search.ts";

export interface PreemptionInput {
  readonly nowSeconds: number;
  readonly job: QueuedJob;
  readonly nodes: readonly NodeState[];
  readonly quotas: Quotas;
  /** Running jobs that are not yet victims of this decision. */
  readonly live: readonly LiveJob[];
}

export interface PreemptionSearch extends PreemptionInput {
  readonly steps: StepBudget;
}

export interface PreemptionPlan extends Found {
  readonly kind: "possible";
  readonly borrowing: boolean;
}

export interface ImpossiblePreemption {
  readonly kind: "impossible";
  /** PodDisruptionBudgets that make it impossible; empty if it is impossible without them too. */
  readonly budgets: readonly string[];
  /** Jobs (namespace/name) whose eviction the API server refuses for another reason, if that makes it impossible. */
  readonly refused: readonly string[];
}

/** One way to start: as a borrower, or within quota by relieving `over`. */
interface Way {
  readonly borrowing: boolean;
  readonly over: readonly QuotaState[];
  readonly rule: (victim: LiveJob) => VictimRule | undefined;
}

/** The cheapest set of victims found that lets the job start, or why there is none. */
export function planPreemption(input: PreemptionSearch): PreemptionPlan | ImpossiblePreemption {
  const ways = waysFor(input);
  const plans = ways.flatMap((one) => planOn(input, one) ?? []);
  const [best] = plans.sort((a, b) => compareCost(a.set, b.set));
  return best ?? { kind: "impossible", ...blockersOf(input, ways) };
}

/**
 * The jobs it may evict, each with the first rule that applies, whether or not their capacity would be enough. A job over
 * quota may evict like one within quota only if evictions can bring it there.
 */
export function evictableBy(input: PreemptionInput): Candidate[] {
  const ways = waysFor(input).filter((one) => canRelieve(input, one));
  return input.live.flatMap((victim): Candidate[] => {
    const rule = ways.map((one) => one.rule(victim)).find((one) => one !== undefined);
    return rule === undefined ? [] : [candidate(victim, rule, input.nowSeconds)];
  });
}

/** Whether evicting all jobs that the rule allows would relieve every exceeded quota. */
function canRelieve({ job, live }: PreemptionInput, { over, rule }: Way): boolean {
  const allowed = over.length === 0 ? [] : live.filter((victim) => rule(victim) !== undefined);
  return over.every(
    (quota) =>
      allowed.reduce((sum, victim) => sum + quota.reliefBy(victim), 0) >= quota.excess(job),
  );
}

function waysFor({ job, quotas }: PreemptionInput): Way[] {
  const over = quotas.over(job);
  const withinQuota = !job.unplanned && over.length === 0;
  if (withinQuota)
    return [{ borrowing: false, over: [], rule: (victim) => reclaim(job, victim, quotas) }];
  const ways: Way[] = [];
  if (!job.unplanned)
    ways.push({ borrowing: false, over, rule: (victim) => claim(job, victim, quotas, over) });
  if (job.allowsBorrowing) {
    ways.push({ borrowing: true, over: [], rule: (victim) => displace(job, victim, quotas) });
  }
  return ways;
}

/** A job under a stale quota counts as within quota. */
const borrows = (victim: LiveJob, quotas: Quotas): boolean =>
  victim.borrowing && !quotas.isStale(victim);

function reclaim(job: QueuedJob, victim: LiveJob, quotas: Quotas): VictimRule | undefined {
  if (borrows(victim, quotas)) return "BorrowerReclaimed";
  return victim.priority < job.priority ? "LowerPriority" : undefined;
}

function claim(
  job: QueuedJob,
  victim: LiveJob,
  quotas: Quotas,
  over: readonly QuotaState[],
): VictimRule | undefined {
  const sibling = over.some((one) => one.reliefBy(victim) > 0);
  return sibling && victim.priority < job.priority ? "OwnQuota" : reclaim(job, victim, quotas);
}

function displace(job: QueuedJob, victim: LiveJob, quotas: Quotas): VictimRule | undefined {
  if (victim.priority >= job.priority) return undefined;
  return borrows(victim, quotas) ? "LowerPriority" : undefined;
}

function planOn(input: PreemptionSearch, way: Way): PreemptionPlan | undefined {
  const found = findCheapest(searchInput(input, way, (victim) => !isBlocked(victim)));
  return found && { kind: "possible", borrowing: way.borrowing, ...found };
}

function searchInput(
  { nowSeconds, job, nodes, live, steps }: PreemptionSearch,
  way: Way,
  allowed: (victim: LiveJob) => boolean,
): SearchInput {
  const over: Excess[] = way.over.map((quota) => ({ quota, amount: quota.excess(job) }));
  const candidates = live.filter(allowed).flatMap((victim): Candidate[] => {
    const rule = way.rule(victim);
    return rule ? [candidate(victim, rule, nowSeconds)] : [];
  });
  return { nodes, demand: job, candidates, over, steps };
}

const isBlocked = (victim: LiveJob): boolean =>
  victim.protected !== undefined || victim.refused === true;

/** What keeps jobs from being evicted that would be enough without it. */
function blockersOf(
  input: PreemptionSearch,
  ways: readonly Way[],
): Omit<ImpossiblePreemption, "kind"> {
  const inputs = ways.map((one) => searchInput(input, one, () => true));
  if (!inputs.some(isPossible)) return { budgets: [], refused: [] };
  const jobs = inputs.flatMap(({ candidates }) => candidates.map(({ job }) => job));
  const budgets = jobs.flatMap((job) => job.protected ?? []);
  const refused = jobs.filter((job) => job.refused).map(({ key }) => key);
  return { budgets: [...new Set(budgets)].sort(), refused: [...new Set(refused)].sort() };
}
