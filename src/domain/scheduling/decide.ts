/**
 * The decision of one scheduling cycle: a snapshot in, a verdict for every job out (docs/design.md, "Scheduling cycle").
 *
 * Reservations are settled first. Then each queued job passes through six stages; the first one with a result decides:
 *
 * 1. filter: nodes match, the gang would fit on empty nodes, the ResourceQuotas of its namespace have room for it, and
 *    its plan's window stays open long enough
 * 2. quota: no job ahead of it waits under the same quota; it is within quota, or may borrow
 * 3. place: it starts if the whole gang fits now
 * 4. await release: it waits if the gang will fit once terminating pods are gone
 * 5. preempt: it evicts the cheapest set of the victims proposed by the finder
 * 6. head reservation: what is released on its best nodes is reserved for it
 *
 * Jobs within quota are decided in a first pass, borrowers in a second one, each in queue order. A waiting job reserves
 * quota (stages 2, 4 and 6) and nodes (4 and 6): otherwise smaller jobs behind it would starve it. A job that is within
 * quota except for the reservations of jobs ahead of it is decided again in the second pass.
 */
import { redactableBudget, redactableJob, type Redactable } from "../redaction.ts";
import { Quotas, type QuotaState, type Turn } from "./quota.ts";
import { totalPods } from "./preemption/ordering.ts";
import {
  closedText,
  noPlanText,
  closesTooSoonText,
  leavingText,
  noNodeText,
  overQuotaText,
  ownQuotaText,
  preemptionText,
  setText,
  shutText,
  spaceText,
  tooLargeText,
  unavailableText,
} from "./messages.ts";
import { HeadReservation } from "./head-reservation.ts";
import { settleReservations } from "./reservations.ts";
import { EquivalenceCache } from "./equivalence-cache.ts";
import { NamespaceQuotas } from "./namespace-quotas.ts";
import { Nodes } from "./nodes.ts";
import { futureRoom, placeGang, startableRoom } from "./placement.ts";
import { StepBudget } from "./preemption/set-cover.ts";
import {
  type ImpossiblePreemption,
  planPreemption,
  type PreemptionPlan,
} from "./preemption/policy.ts";
import type {
  Decision,
  PreemptVerdict,
  Verdict,
  VictimRequest,
  WaitReason,
  WaitVerdict,
} from "./decision.ts";
import type { InVain, LiveJob, Placement, QueuedJob, Snapshot } from "./snapshot.ts";
import { victimRequest } from "./preemption/candidates.ts";

type Waiting = Omit<WaitVerdict, "jobId" | "position">;
type Outcome = Exclude<Verdict, { kind: "wait" }> | Waiting;
type Pass = "entitled" | "borrowing";

/** The result of the second stage, unless it decides. */
type Standing =
  | { readonly kind: "may start"; readonly borrowing: boolean }
  /** Over quota and not allowed to borrow: it starts only if evictions bring it within quota. */
  | { readonly kind: "over quota"; readonly over: readonly QuotaState[] }
  /** Within quota once the pods of leaving jobs are gone. */
  | { readonly kind: "quota is leaving"; readonly state: QuotaState }
  | { readonly kind: "next pass" };

/** A job that may start but does not fit now. */
interface Blocked {
  readonly job: QueuedJob;
  readonly borrowing: boolean;
  /** Why it would borrow, as a prefix of the message; empty if it is within quota. */
  readonly outside: string;
  /** What is missing. */
  readonly space: string;
}

/** Jobs for which one decision requests victims. */
const maxRequests = 8;

/** Decides about all jobs of the snapshot. Pure; throws an Error only if chosen victims turn out not to be enough. */
export function decide(snapshot: Snapshot): Decision {
  return new Deciding(snapshot).run();
}

class Deciding {
  readonly #snapshot: Snapshot;
  readonly #nodes: Nodes;
  readonly #quotas: Quotas;
  readonly #namespaceQuotas: NamespaceQuotas;
  readonly #head = new HeadReservation();
  readonly #asked: ReadonlySet<string>;
  /** In decision order. */
  readonly #outcomes = new Map<string, Outcome>();
  readonly #requests = new Map<string, VictimRequest>();
  readonly #inVain = new Map<string, InVain>();
  /** Queue positions by job id. */
  readonly #places: ReadonlyMap<string, number>;
  #live: readonly LiveJob[];
  /** The rest of the queue is left to the next cycle. */
  #isCut = false;
  /** This decision already preempts for another job. */
  #evicts = false;
  /** Valid until a preemption frees capacity: placing jobs only shrinks it. */
  readonly #cache = new EquivalenceCache();
  readonly #steps = new StepBudget();

  constructor(snapshot: Snapshot) {
    this.#snapshot = snapshot;
    this.#nodes = new Nodes(snapshot.nodes);
    this.#quotas = new Quotas(snapshot.quotas);
    this.#namespaceQuotas = new NamespaceQuotas(snapshot.namespaceQuotas);
    this.#asked = new Set(snapshot.victimsFor);
    this.#places = new Map(snapshot.queue.map(({ id }, place) => [id, place]));
    this.#live = snapshot.victims ?? [];
  }

  run(): Decision {
    const reservations = settleReservations(
      this.#snapshot,
      this.#nodes,
      this.#quotas,
      this.#namespaceQuotas,
    );
    const later = this.#snapshot.queue.filter((job) => !this.#consider(job, "entitled"));
    for (const job of later) this.#consider(job, "borrowing");
    const requests = [...this.#requests.values()];
    return {
      verdicts: [...reservations, ...this.#verdicts()],
      order: [...this.#outcomes.keys()],
      wantsVictims: requests.map(({ jobId }) => jobId),
      requests,
      inVain: this.#inVain,
    };
  }

  /** One job per scheduling signature, a few at a time: the cycle decides again with their victims. */
  #requestVictims(job: QueuedJob, withinQuota: boolean): void {
    const signature = this.#cache.signature(job, withinQuota);
    if (this.#requests.size >= maxRequests || this.#requests.has(signature)) return;
    this.#requests.set(signature, victimRequest(job, this.#nodes, this.#quotas));
  }

  #verdicts(): Verdict[] {
    let position = 0;
    return this.#snapshot.queue.flatMap((job): Verdict[] => {
      const outcome = this.#outcomes.get(job.id);
      if (!outcome) return [];
      if (outcome.kind !== "wait") return [outcome];
      position += 1;
      return [{ ...outcome, jobId: job.id, position }];
    });
  }

  /** False when the job is left for the second pass. */
  #consider(job: QueuedJob, pass: Pass): boolean {
    if (this.#isCut) return true;
    const outcome = this.#judge(job, pass);
    if (!outcome) return false;
    this.#outcomes.set(job.id, outcome);
    // Jobs with its signature that are not in the snapshot are ahead of the rest: leave the rest to the next cycle.
    if (outcome.kind === "admit" && job.hasMore === true) this.#isCut = true;
    return true;
  }

  /** The stages, in order. Undefined if the second pass decides. */
  #judge(job: QueuedJob, pass: Pass): Outcome | undefined {
    const filtered = this.#filter(job);
    if (filtered) return filtered;
    const standing = this.#underQuotas(job, pass);
    if (standing.kind === "wait") return standing;
    if (standing.kind === "next pass") return undefined;
    if (standing.kind === "quota is leaving") return this.#awaitQuota(job, standing.state);
    if (standing.kind === "over quota") return this.#preemptWithinQuota(job, standing.over);
    return this.#place(job, standing.borrowing) ?? this.#blocked(job, standing.borrowing);
  }

  /** Stage 1. */
  #filter(job: QueuedJob): Waiting | undefined {
    return this.#unplaceable(job) ?? this.#overNamespaceQuota(job) ?? this.#closesTooSoon(job);
  }

  /** Stage 2. */
  #underQuotas(job: QueuedJob, pass: Pass): Standing | Waiting {
    const behind = this.#behindAnother(job, pass === "entitled");
    if (behind) return pass === "entitled" ? { kind: "next pass" } : behind;
    const over = this.#quotas.over(job);
    if (!job.unplanned && over.length === 0) return this.#withinQuota(job, pass);
    const shut = over.find(({ quota }) => quota.isShut);
    if (shut) return waiting("WindowClosed", shutText(shut));
    this.#quotas.reserve(job, this.#turn(job, false));
    if (!job.allowsBorrowing) return { kind: "over quota", over };
    if (pass === "entitled") return { kind: "next pass" };
    return this.#outranks(job) ?? { kind: "may start", borrowing: true };
  }

  #withinQuota(job: QueuedJob, pass: Pass): Standing | Waiting {
    const state = this.#quotas.awaited(job);
    if (state === undefined) return this.#contested(job) ?? { kind: "may start", borrowing: false };
    this.#quotas.reserve(job, this.#turn(job, true));
    if (job.allowsBorrowing && pass === "entitled") return { kind: "next pass" };
    return { kind: "quota is leaving", state };
  }

  /**
   * As a borrower it could take, by its rank, the quota of a job that may not borrow and that this decision has started.
   * It waits for the next cycle, which sees that job running.
   */
  #outranks(job: QueuedJob): Waiting | undefined {
    const state = this.#quotas.firm(job);
    if (!state) return undefined;
    const message = `${overQuotaText(state, job)}; a job that may not borrow has just started within it`;
    return waiting("QuotaExceeded", message);
  }

  /** It may borrow meanwhile, but evicts nobody: its quota is about to be free. */
  #awaitQuota(job: QueuedJob, state: QuotaState): Outcome {
    const mayBorrow = job.allowsBorrowing && !this.#quotas.firm(job);
    const placed = mayBorrow ? this.#place(job, true) : undefined;
    return placed ?? waiting("AwaitingRelease", leavingText(state, job));
  }

  /** Stages 4 to 6. */
  #blocked(job: QueuedJob, borrowing: boolean): Outcome {
    const outside = borrowing ? `not within quota (${this.#whyOutside(job)}): ` : "";
    const space = this.#cache.explanation("space", job, () =>
      spaceText(job, this.#nodes.accepting(job), startableRoom),
    );
    const blocked = { job, borrowing, outside, space };
    const awaited = this.#awaitRelease(blocked);
    if (awaited) return awaited;
    const preempted = this.#preempt(job, space);
    if (preempted.kind === "preempt") return preempted;
    return this.#reserveForHead(blocked, preempted);
  }

  #turn(job: QueuedJob, withinQuota: boolean): Turn {
    return { place: this.#placeOf(job), withinQuota };
  }

  #placeOf(job: QueuedJob): number {
    return this.#places.get(job.id) ?? 0;
  }

  #behindAnother(job: QueuedJob, withinQuota: boolean): Waiting | undefined {
    const turn = this.#turn(job, withinQuota);
    for (const state of this.#quotas.of(job)) {
      const ahead = state.reservedAgainst(job, turn);
      if (ahead !== undefined) return behind(job, state, ahead);
    }
    return undefined;
  }

  /** Under a quota that it exceeds it evicts nobody before a job ahead, which could then take the quota by its rank. */
  #claimed(job: QueuedJob, over: readonly QuotaState[]): Waiting | undefined {
    const place = this.#placeOf(job);
    for (const state of over) {
      const ahead = state.claimedBefore(place);
      if (ahead !== undefined) return behind(job, state, ahead);
    }
    return undefined;
  }

  /** No eviction helps: no node matches, the pool is too small even when empty, or what it needs is not available. */
  #unplaceable(job: QueuedJob): Waiting | undefined {
    return this.#cache.unplaceable(job, () => {
      if (placeGang(this.#nodes.accepting(job), job, (node) => node.capacity)) return undefined;
      const matching = this.#nodes.acceptingWhenAvailable(job);
      if (matching.length === 0) {
        return waiting("NoMatchingNode", noNodeText(this.#snapshot.pool, job, this.#nodes.all));
      }
      if (placeGang(matching, job, (node) => node.healthyCapacity)) {
        return waiting("AwaitingNodes", unavailableText(job, matching));
      }
      return waiting("TooLargeForPool", tooLargeText(job, matching));
    });
  }

  /** It reserves nothing and evicts nobody: no eviction elsewhere makes room in its namespace. */
  #overNamespaceQuota(job: QueuedJob): Waiting | undefined {
    const obstacle = this.#namespaceQuotas.obstacle(job, job.parallelism);
    if (obstacle === undefined) return undefined;
    // In the first pass there may have been room.
    this.#quotas.forget(job);
    return waiting("QuotaExceeded", obstacle);
  }

  #closesTooSoon(job: QueuedJob): Waiting | undefined {
    const runtime = job.maxRuntimeSeconds;
    if (runtime === undefined) return undefined;
    for (const state of this.#quotas.of(job)) {
      const close = state.evictingClose(job, runtime);
      if (close) return waiting("WindowTooShort", closesTooSoonText(state, close, runtime));
    }
    return undefined;
  }

  /**
   * The next snapshot may move borrowers under a stale quota within it. A job that may not borrow does not start if it
   * would then be over quota.
   */
  #contested(job: QueuedJob): Waiting | undefined {
    if (job.allowsBorrowing) return undefined;
    const state = this.#quotas
      .staleOf(job)
      .find((stale) => stale.excess(job) + stale.borrowed + stale.leaving > 0);
    if (!state) return undefined;
    this.#quotas.reserve(job, this.#turn(job, true));
    const message = `${overQuotaText(state, job)}; borrowing jobs may rank ahead of it, and it may not borrow`;
    return waiting("QuotaExceeded", message);
  }

  /** Stage 5, of a job that may not borrow: evictions under its own quotas. */
  #preemptWithinQuota(job: QueuedJob, over: readonly QuotaState[]): Outcome {
    const claimed = this.#claimed(job, over);
    if (claimed) return claimed;
    const why = outsideText(job, over);
    const [first] = over;
    // Preemption cannot help a job that requests a type no plan grants.
    const preempted =
      job.unplanned || !first ? undefined : this.#preempt(job, ownQuotaText(first, job));
    if (preempted?.kind === "preempt") return preempted;
    const message = `${why.message}; borrowing is not allowed${preempted?.message ?? ""}`;
    return waiting(why.reason, message, preempted?.redactables);
  }

  /** Stage 3. */
  #place(job: QueuedJob, borrowing: boolean): Outcome | undefined {
    const placements = this.#cache.place(job, "now", () =>
      placeGang(this.#nodes.accepting(job), job, startableRoom),
    );
    if (!placements) return undefined;
    this.#nodes.start(placements, job.perPod);
    this.#quotas.charge(job, borrowing);
    this.#namespaceQuotas.charge(job, job.parallelism);
    return { kind: "admit", jobId: job.id, attempt: job.attempt, borrowing, placements };
  }

  #whyOutside(job: QueuedJob): string {
    return outsideText(job, this.#quotas.over(job)).message;
  }

  /** Stage 4: if terminating pods free enough capacity, the job waits instead of evicting more. */
  #awaitRelease({ job, borrowing, outside, space }: Blocked): Waiting | undefined {
    const placements = this.#cache.place(job, "later", () =>
      placeGang(this.#nodes.accepting(job), job, futureRoom),
    );
    if (!placements) return undefined;
    this.#nodes.reserve(placements, job.perPod, job.key);
    this.#quotas.reserve(job, this.#turn(job, !borrowing));
    const where = placements.map(({ node }) => node).slice(0, 5);
    const message = `${outside}${space}; waiting for pods on ${where.join(", ")} to terminate`;
    return waiting("AwaitingRelease", message);
  }

  /** Stage 6, and why the job waits. */
  #reserveForHead({ job, borrowing, outside, space }: Blocked, preempted: NotPreempted): Waiting {
    const reserved = this.#cache.explanation("reserved", job, () => this.#reservedFor(job));
    if (this.#head.protect(job, this.#nodes))
      this.#quotas.reserve(job, this.#turn(job, !borrowing));
    const reason =
      preempted.reason ?? (reserved === undefined ? "InsufficientCapacity" : "CapacityReserved");
    const message = `${outside}${space}${reserved?.message ?? ""}${preempted.message}`;
    return waiting(reason, message, [...(reserved?.redactables ?? []), ...preempted.redactables]);
  }

  /** Names the jobs whose reservations alone keep this one from starting. */
  #reservedFor(job: QueuedJob): Explanation | undefined {
    const nodes = this.#nodes.accepting(job);
    const free = placeGang(nodes, job, (node) => node.free);
    if (!free) return undefined;
    const holders = free.flatMap(({ node }) => this.#nodes.get(node)?.reservedFor ?? []);
    const keys = [...new Set(holders)].slice(0, 3);
    const names = keys.join(", ") || "another job";
    return {
      message: `; enough capacity on ${free[0]?.node ?? "a node"}, but reserved for ${names}`,
      redactables: keys.map(redactableJob),
    };
  }

  /** Stage 5. */
  #preempt(job: QueuedJob, obstacle: string): PreemptVerdict | NotPreempted {
    if (!job.preempts) return notPreempted(neverText(job));
    // The next snapshot may give what looks free under a stale quota to one of its borrowers.
    if (this.#quotas.staleOf(job).some(({ borrowed }) => borrowed > 0))
      return notPreempted(deferredText);
    const withinQuota = !job.unplanned && this.#quotas.over(job).length === 0;
    const known = this.#cache.impossible(job, withinQuota);
    if (known) return cannotPreempt(known);
    const former = this.#snapshot.inVain?.get(job.id);
    if (former?.withinQuota === withinQuota && job.priority <= former.priority) {
      this.#cache.rememberImpossible(job, withinQuota, { kind: "impossible", ...former });
      return cannotPreempt(former);
    }
    if (!this.#asked.has(job.id)) {
      this.#requestVictims(job, withinQuota);
      return notPreempted("");
    }
    const plan = planPreemption({
      nowSeconds: this.#snapshot.nowSeconds,
      job,
      nodes: this.#nodes.accepting(job),
      quotas: this.#quotas,
      live: this.#live,
      steps: this.#steps,
    });
    if (plan.kind === "possible") return this.#carryOut(job, plan, obstacle);
    // The finder proposed victims before jobs ahead took theirs: it may find others in the next cycle.
    if (this.#evicts) return notPreempted(deferredText);
    this.#cache.rememberImpossible(job, withinQuota, plan);
    const { budgets, refused } = plan;
    this.#inVain.set(job.id, { withinQuota, priority: job.priority, budgets, refused });
    return cannotPreempt(plan);
  }

  #carryOut(job: QueuedJob, plan: PreemptionPlan, obstacle: string): Outcome & { kind: "preempt" } {
    this.#evicts = true;
    const evicted = new Set(plan.set.map(({ job: victim }) => victim.id));
    for (const { job: victim } of plan.set) {
      this.#nodes.vacate(victim);
      this.#quotas.evict(victim);
    }
    this.#live = this.#live.filter(({ id }) => !evicted.has(id));
    this.#cache.forget();
    const placements = this.#reservation(job);
    this.#quotas.charge(job, plan.borrowing);
    this.#namespaceQuotas.charge(job, job.parallelism);
    return {
      kind: "preempt",
      jobId: job.id,
      attempt: job.attempt,
      borrowing: plan.borrowing,
      placements,
      victims: plan.set.map(({ job: victim, rule }) => ({
        jobId: victim.id,
        key: victim.key,
        attempt: victim.attempt,
        rule,
        ...(victim.pastBudget !== undefined && { pastBudget: victim.pastBudget }),
      })),
      reason: preemptionText(job, plan.borrowing, obstacle, plan, plan.others),
      alternatives: plan.others.map(({ how, set }) => ({
        description: `${how}: ${setText(set)}`,
        victims: set.map(({ job: victim }) => victim.id),
        pods: totalPods(set),
      })),
    };
  }

  #reservation(job: QueuedJob): readonly Placement[] {
    const placements = placeGang(this.#nodes.accepting(job), job, futureRoom);
    if (!placements)
      throw new Error(`the victims chosen for ${job.key} do not free enough capacity`);
    this.#nodes.reserve(placements, job.perPod, job.key);
    return placements;
  }
}

/** Continues the message about why the job waits. */
interface Explanation {
  readonly message: string;
  readonly redactables: readonly Redactable[];
}

interface NotPreempted extends Explanation {
  readonly kind: "not preempted";
  readonly reason: "BlockedByDisruptionBudget" | "EvictionRefused" | undefined;
}

const neverText = ({ failedStarts = 0 }: QueuedJob): string =>
  failedStarts > 0
    ? `; it preempts no other job after ${failedStarts} failed starts`
    : "; its priority class does not preempt (preemptionPolicy: Never)";

const deferredText = "; preemption deferred to the next cycle";

const notPreempted = (message: string): NotPreempted => ({
  kind: "not preempted",
  message,
  redactables: [],
  reason: undefined,
});

/** Names that are shown; there may be more. */
const maxBlockers = 3;

function cannotPreempt({ budgets, refused }: Omit<ImpossiblePreemption, "kind">): NotPreempted {
  if (budgets.length + refused.length === 0)
    return notPreempted("; preempting every eligible job would not free enough capacity");
  const [named, jobs] = [budgets.slice(0, maxBlockers), refused.slice(0, maxBlockers)];
  const parts = [
    ...(named.length > 0
      ? [`jobs that it could preempt are protected by PodDisruptionBudget ${named.join(", ")}`]
      : []),
    ...(jobs.length > 0 ? [`the API server refuses to evict ${jobs.join(", ")}`] : []),
  ];
  return {
    kind: "not preempted",
    message: `; ${parts.join("; ")}`,
    redactables: [...named.map(redactableBudget), ...jobs.map(redactableJob)],
    reason: named.length > 0 ? "BlockedByDisruptionBudget" : "EvictionRefused",
  };
}

const waiting = (
  reason: WaitReason,
  message: string,
  redactables: readonly Redactable[] = [],
): Waiting => ({
  kind: "wait",
  reason,
  message,
  ...(redactables.length === 0 ? {} : { redactables }),
});

function behind(job: QueuedJob, state: QuotaState, ahead: string): Waiting {
  const message = `${ahead} is ahead in the queue under the same quota (${overQuotaText(state, job)})`;
  return waiting("BehindHeadOfQueue", message, [redactableJob(ahead)]);
}

/** Why the job is not within quota, given the quotas that it would exceed. */
function outsideText(job: QueuedJob, over: readonly QuotaState[]): Waiting {
  const closed = over.find((one) => one.limit === 0);
  if (closed) return waiting("WindowClosed", closedText(closed));
  const [first] = over;
  if (first) return waiting("QuotaExceeded", overQuotaText(first, job));
  return waiting("NoQuota", noPlanText(job));
}
