/**
 * Whom a blocked job may evict, and on which grounds (design section 6).
 *
 * - inside its plans: borrowers of any priority, and jobs of lower priority;
 * - over its quotas: the same, if that brings it inside its plans;
 * - outside its plans and allowed to borrow: borrowers of lower priority.
 *
 * Evictions cannot go in circles: each of them either adds the preemptor to the jobs inside their plans and takes
 * away only borrowers or jobs of lower priority, or leaves the jobs inside their plans alone and puts a borrower in
 * the place of borrowers of lower priority. Ordered by priority, first the jobs inside their plans and then the
 * borrowers, every eviction is a step up, and there are finitely many steps. For this the borrowing flags must be
 * true: jobs under a stale quota (quota.ts) count as inside their plans until the next snapshot.
 */
import type { Quotas, QuotaState } from "../quota.ts";
import { podsOf } from "../quota.ts";
import { type Candidate, compareCost } from "./ordering.ts";
import type { Excess } from "./gang-fit.ts";
import type { NodeState } from "../nodes.ts";
import type { VictimRule } from "../decision.ts";
import type { LiveJob, QueuedJob } from "../snapshot.ts";
import { type Found, findCheapest, isPossible, type SearchInput } from "./search.ts";

export interface PreemptionInput {
  readonly job: QueuedJob;
  readonly nodes: readonly NodeState[];
  readonly quotas: Quotas;
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

interface Signature {
  readonly borrowing: boolean;
  readonly over: readonly QuotaState[];
  readonly rule: (victim: LiveJob) => VictimRule | undefined;
}

export function planPreemption(input: PreemptionInput): PreemptionPlan | ImpossiblePreemption {
  const signature = signatureFor(input);
  const plans = signature.flatMap((one) => planOn(input, one) ?? []);
  const [best] = plans.sort((a, b) => compareCost(a.set, b.set));
  return best ?? { kind: "impossible", budgets: budgetsInTheWay(input, signature) };
}

/**
 * The jobs it may evict, each with the first rule that allows it, whether or not their room would be enough. A job over
 * its quotas may evict as one within them only if evictions can bring it there.
 */
export function evictableBy(input: PreemptionInput): Candidate[] {
  const signature = signatureFor(input).filter((one) => canRelieve(input, one));
  return input.live.flatMap((victim): Candidate[] => {
    const rule = signature.map((one) => one.rule(victim)).find((one) => one !== undefined);
    return rule === undefined ? [] : [{ job: victim, pods: podsOf(victim), rule }];
  });
}

/** Whether the jobs that the rule allows free what each exceeded quota lacks. */
function canRelieve({ job, live }: PreemptionInput, { over, rule }: Signature): boolean {
  const allowed = over.length === 0 ? [] : live.filter((victim) => rule(victim) !== undefined);
  return over.every(
    (quota) =>
      allowed.reduce((sum, victim) => sum + quota.reliefBy(victim), 0) >= quota.excess(job),
  );
}

function signatureFor({ job, quotas }: PreemptionInput): Signature[] {
  const over = quotas.over(job);
  const inside = !job.unplanned && over.length === 0;
  if (inside)
    return [{ borrowing: false, over: [], rule: (victim) => reclaim(job, victim, quotas) }];
  const signature: Signature[] = [];
  if (!job.unplanned)
    signature.push({ borrowing: false, over, rule: (victim) => claim(job, victim, quotas, over) });
  if (job.allowsBorrowing) {
    signature.push({ borrowing: true, over: [], rule: (victim) => displace(job, victim, quotas) });
  }
  return signature;
}

/** Its mark is true: a job under a stale quota counts as inside its plans. */
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

function planOn(input: PreemptionInput, signature: Signature): PreemptionPlan | undefined {
  const found = findCheapest(searchInput(input, signature, (victim) => !victim.protected));
  return found && { kind: "possible", borrowing: signature.borrowing, ...found };
}

function searchInput(
  { job, nodes, live }: PreemptionInput,
  signature: Signature,
  allowed: (victim: LiveJob) => boolean,
): SearchInput {
  const over: Excess[] = signature.over.map((quota) => ({ quota, amount: quota.excess(job) }));
  const candidates = live.filter(allowed).flatMap((victim): Candidate[] => {
    const rule = signature.rule(victim);
    return rule ? [{ job: victim, pods: podsOf(victim), rule }] : [];
  });
  return { nodes, demand: job, candidates, over };
}

function budgetsInTheWay(
  input: PreemptionInput,
  signature: readonly Signature[],
): readonly string[] {
  const stopped = signature.some((one) => isPossible(searchInput(input, one, () => true)));
  if (!stopped) return [];
  const names = signature.flatMap((one) =>
    searchInput(input, one, () => true).candidates.flatMap(({ job }) => job.protected ?? []),
  );
  return [...new Set(names)].sort();
}
