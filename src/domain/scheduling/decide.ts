/**
 * The decision of one scheduling cycle: a snapshot in, a verdict for every job out.
 *
 * Reservations are settled first. Then each job of the queue goes through six stages, and the first one that answers
 * decides:
 *
 * 1. filter: nodes accept its pods, empty nodes would be enough, and its plan's window stays open for long enough
 * 2. quota: no job ahead of it waits under the same quota; it is inside its plans, or may borrow
 * 3. place: it starts where the whole gang fits now
 * 4. await release: it waits where the gang will fit once pods that are leaving have left
 * 5. preempt: it evicts the cheapest set of the victims that the finder proposed
 * 6. reserve for the head: what frees up on its best nodes is kept for it
 *
 * Jobs inside their plans are decided in a first pass, borrowers in a second one, each in queue order. A job that waits
 * reserves room under its quotas (stages 2, 4 and 6) and on nodes (4 and 6): smaller jobs behind it would starve it
 * otherwise. A job that is inside its plans but for what those ahead of it reserve is judged again in the second pass.
 */
import { redactableBudget, redactableJob, type Redactable } from "../redaction.ts";
import { Quotas, type QuotaState, type Turn } from "./quota.ts";
import { totalPods } from "./preemption/ordering.ts";
import {
  closedText,
  closesTooSoonText,
  noNodeText,
  overPlanText,
  preemptionText,
  setText,
  shutText,
  spaceText,
  tooLargeText,
} from "./messages.ts";
import { HeadReservation } from "./head-reservation.ts";
import { settleReservations } from "./reservations.ts";
import { EquivalenceCache } from "./equivalence-cache.ts";
import { Nodes } from "./nodes.ts";
import { futureRoom, placeGang, startableRoom } from "./placement.ts";
import { planPreemption, type PreemptionPlan } from "./preemption/policy.ts";
import type {
  Decision,
  PreemptVerdict,
  Verdict,
  VictimRequest,
  WaitReason,
  WaitVerdict,
} from "./decision.ts";
import type { LiveJob, Placement, QueuedJob, Snapshot } from "./snapshot.ts";
import { victimRequest } from "./preemption/candidates.ts";

type Waiting = Omit<WaitVerdict, "jobId" | "position">;
type Outcome = Exclude<Verdict, { kind: "wait" }> | Waiting;
type Pass = "entitled" | "borrowing";

/** What the second stage comes to, where it is not the last one. */
type Standing =
  | { readonly kind: "may start"; readonly borrowing: boolean }
  /** Past its quotas, and it may not borrow: it starts only if evictions bring it inside. */
  | { readonly kind: "over quota"; readonly over: readonly QuotaState[] }
  | { readonly kind: "next pass" };

/** A job that may start and fits nowhere now. */
interface Blocked {
  readonly job: QueuedJob;
  readonly borrowing: boolean;
  /** Why it borrows, as the beginning of a sentence; empty inside its plans. */
  readonly outside: string;
  /** What is missing. */
  readonly space: string;
}

/** Jobs described for the finder in one decision. */
const maxRequests = 8;

export function decide(snapshot: Snapshot): Decision {
  return new Deciding(snapshot).run();
}

class Deciding {
  readonly #snapshot: Snapshot;
  readonly #nodes: Nodes;
  readonly #quotas: Quotas;
  readonly #head = new HeadReservation();
  readonly #asked: ReadonlySet<string>;
  /** In the order of the decision. */
  readonly #outcomes = new Map<string, Outcome>();
  readonly #wants = new Map<string, VictimRequest>();
  /** In the queue, by id. */
  readonly #places: ReadonlyMap<string, number>;
  #live: readonly LiveJob[];
  /** The rest of the queue is the next cycle's. */
  #isCut = false;
  /** This decision evicts already. */
  #evicts = false;
  /** Answers that stay true until an eviction makes room: room only shrinks as jobs are placed. */
  readonly #known = new EquivalenceCache();

  constructor(snapshot: Snapshot) {
    this.#snapshot = snapshot;
    this.#nodes = new Nodes(snapshot.nodes);
    this.#quotas = new Quotas(snapshot.quotas);
    this.#asked = new Set(snapshot.victimsFor);
    this.#places = new Map(snapshot.queue.map(({ id }, place) => [id, place]));
    this.#live = snapshot.victims ?? [];
  }

  run(): Decision {
    const reservations = settleReservations(this.#snapshot, this.#nodes, this.#quotas);
    const later = this.#snapshot.queue.filter((job) => !this.#consider(job, "entitled"));
    for (const job of later) this.#consider(job, "borrowing");
    const requests = [...this.#wants.values()];
    return {
      verdicts: [...reservations, ...this.#verdicts()],
      order: [...this.#outcomes.keys()],
      wantsVictims: requests.map(({ jobId }) => jobId),
      requests,
    };
  }

  /** The first few in order are enough, one of a kind: the cycle asks for no more at once, and asks again. */
  #want(job: QueuedJob, inside: boolean): void {
    const kind = this.#known.signature(job, inside);
    if (this.#wants.size >= maxRequests || this.#wants.has(kind)) return;
    this.#wants.set(kind, victimRequest(job, this.#nodes, this.#quotas));
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
    // Those like it that are not in the snapshot come before whoever is behind: the next cycle sees them.
    if (outcome.kind === "admit" && job.hasMore === true) this.#isCut = true;
    return true;
  }

  /** The stages, in order. Undefined: the second pass decides. */
  #judge(job: QueuedJob, pass: Pass): Outcome | undefined {
    const filtered = this.#filter(job);
    if (filtered) return filtered;
    const standing = this.#underQuotas(job, pass);
    if (standing.kind === "wait") return standing;
    if (standing.kind === "next pass") return undefined;
    if (standing.kind === "over quota") return this.#preemptInsideQuotas(job, standing.over);
    return this.#place(job, standing.borrowing) ?? this.#blocked(job, standing.borrowing);
  }

  /** Stage 1. */
  #filter(job: QueuedJob): Waiting | undefined {
    return this.#unplaceable(job) ?? this.#closesTooSoon(job);
  }

  /** Stage 2. */
  #underQuotas(job: QueuedJob, pass: Pass): Standing | Waiting {
    const behind = this.#behindAnother(job, pass === "entitled");
    if (behind) return pass === "entitled" ? { kind: "next pass" } : behind;
    const over = this.#quotas.over(job);
    if (!job.unplanned && over.length === 0)
      return this.#contested(job) ?? { kind: "may start", borrowing: false };
    const shut = over.find(({ quota }) => quota.isShut);
    if (shut) return waiting("WindowClosed", shutText(shut));
    this.#quotas.reserve(job, this.#turn(job, false));
    if (!job.allowsBorrowing) return { kind: "over quota", over };
    return pass === "entitled" ? { kind: "next pass" } : { kind: "may start", borrowing: true };
  }

  /** Stages 4 to 6. */
  #blocked(job: QueuedJob, borrowing: boolean): Outcome {
    const outside = borrowing ? `outside its plans (${this.#whyOutside(job)}): ` : "";
    const space = this.#known.told("space", job, () =>
      spaceText(job, this.#nodes.accepting(job), startableRoom),
    );
    const blocked = { job, borrowing, outside, space };
    const awaited = this.#awaitRelease(blocked);
    if (awaited) return awaited;
    const preempted = this.#preempt(job, space);
    if (preempted.kind === "preempt") return preempted;
    return this.#reserveForHead(blocked, preempted);
  }

  #turn(job: QueuedJob, inside: boolean): Turn {
    return { place: this.#places.get(job.id) ?? 0, inside };
  }

  #behindAnother(job: QueuedJob, inside: boolean): Waiting | undefined {
    const turn = this.#turn(job, inside);
    for (const state of this.#quotas.of(job)) {
      const ahead = state.reservedAgainst(job, turn);
      if (ahead === undefined) continue;
      const message = `${ahead} is ahead of it under the same plan and waits (${overPlanText(state, job)})`;
      return waiting("BehindHeadOfQueue", message, [redactableJob(ahead)]);
    }
    return undefined;
  }

  /** No node accepts it, or not even empty nodes would be enough. */
  #unplaceable(job: QueuedJob): Waiting | undefined {
    return this.#known.unplaceable(job, () => {
      const nodes = this.#nodes.accepting(job);
      if (nodes.length === 0) {
        return waiting("NoMatchingNode", noNodeText(this.#snapshot.pool, job, this.#nodes.all));
      }
      if (placeGang(nodes, job, (node) => node.capacity)) return undefined;
      return waiting("TooLargeForPool", tooLargeText(job, nodes));
    });
  }

  #closesTooSoon(job: QueuedJob): Waiting | undefined {
    const runtime = job.maxRuntimeSeconds;
    if (runtime === undefined) return undefined;
    const closing = this.#quotas
      .of(job)
      .filter((one) => one.demandOf(job) > 0)
      .find((one) => runtime > (one.quota.evictClosesInSeconds ?? Number.POSITIVE_INFINITY));
    return closing && waiting("WindowTooShort", closesTooSoonText(closing, runtime));
  }

  /**
   * Under a stale quota borrowers may be found inside the plan instead, at the next look: a job that may not borrow does
   * not start where it would be past the quantity then.
   */
  #contested(job: QueuedJob): Waiting | undefined {
    if (job.allowsBorrowing) return undefined;
    const state = this.#quotas.staleOf(job).find((stale) => stale.excess(job) + stale.borrowed > 0);
    if (!state) return undefined;
    this.#quotas.reserve(job, this.#turn(job, true));
    const message = `${overPlanText(state, job)}; borrowers start before it, and it may not borrow`;
    return waiting("QuotaExceeded", message);
  }

  /** Stage 5, of a job that may not borrow: evictions under its own quotas. */
  #preemptInsideQuotas(job: QueuedJob, over: readonly QuotaState[]): Outcome {
    const why = outsideText(job, over);
    // Without a plan for all it asks for, no eviction brings it inside.
    const preempted = job.unplanned ? undefined : this.#preempt(job, why.message);
    if (preempted?.kind === "preempt") return preempted;
    const message = `${why.message}; it may not borrow${preempted?.message ?? ""}`;
    return waiting(why.reason, message, preempted?.redactables);
  }

  /** Stage 3. */
  #place(job: QueuedJob, borrowing: boolean): Outcome | undefined {
    const placements = this.#known.place(job, "now", () =>
      placeGang(this.#nodes.accepting(job), job, startableRoom),
    );
    if (!placements) return undefined;
    this.#nodes.start(placements, job.perPod);
    this.#quotas.charge(job, borrowing);
    return { kind: "admit", jobId: job.id, attempt: job.attempt, borrowing, placements };
  }

  #whyOutside(job: QueuedJob): string {
    return outsideText(job, this.#quotas.over(job)).message;
  }

  /** Stage 4: room that pods are about to leave is waited for instead of evicting more. */
  #awaitRelease({ job, borrowing, outside, space }: Blocked): Waiting | undefined {
    const placements = this.#known.place(job, "later", () =>
      placeGang(this.#nodes.accepting(job), job, futureRoom),
    );
    if (!placements) return undefined;
    this.#nodes.keep(placements, job.perPod, job.key);
    this.#quotas.reserve(job, this.#turn(job, !borrowing));
    const where = placements.map(({ node }) => node).slice(0, 5);
    const message = `${outside}${space}; pods are leaving ${where.join(", ")}, then it fits`;
    return waiting("AwaitingRelease", message);
  }

  /** Stage 6, and why the job waits. */
  #reserveForHead({ job, borrowing, outside, space }: Blocked, preempted: NotPreempted): Waiting {
    const kept = this.#known.told("kept", job, () => this.#keptFor(job));
    if (this.#head.protect(job, this.#nodes))
      this.#quotas.reserve(job, this.#turn(job, !borrowing));
    const reason = preempted.protected
      ? "BlockedByDisruptionBudget"
      : kept
        ? "CapacityReserved"
        : "InsufficientCapacity";
    const message = `${outside}${space}${kept?.message ?? ""}${preempted.message}`;
    return waiting(reason, message, [...(kept?.redactables ?? []), ...preempted.redactables]);
  }

  /** Names the jobs for which the space is kept that would be enough otherwise. */
  #keptFor(job: QueuedJob): Told | undefined {
    const nodes = this.#nodes.accepting(job);
    const free = placeGang(nodes, job, (node) => node.free);
    if (!free) return undefined;
    const holders = free.flatMap(({ node }) => this.#nodes.get(node)?.keptFor ?? []);
    const keys = [...new Set(holders)].slice(0, 3);
    const names = keys.join(", ") || "a job with a hold";
    return {
      message: `; ${free[0]?.node ?? "a node"} has room, kept for ${names}`,
      redactables: keys.map(redactableJob),
    };
  }

  /** Stage 5. */
  #preempt(job: QueuedJob, obstacle: string): PreemptVerdict | NotPreempted {
    if (!job.preempts) {
      return notPreempted("; its priority class never preempts (preemptionPolicy Never)");
    }
    // What looks free under a stale quota may be one of its borrowers' at the next look.
    if (this.#quotas.staleOf(job).some(({ borrowed }) => borrowed > 0))
      return notPreempted("; jobs ahead of it go first");
    const inside = !job.unplanned && this.#quotas.over(job).length === 0;
    const known = this.#known.impossible(job, inside);
    if (known) return cannotPreempt(known.budgets);
    if (!this.#asked.has(job.id)) {
      this.#want(job, inside);
      return notPreempted("");
    }
    const plan = planPreemption({
      job,
      nodes: this.#nodes.accepting(job),
      quotas: this.#quotas,
      live: this.#live,
    });
    if (plan.kind === "possible") return this.#carryOut(job, plan, obstacle);
    // The finder proposed before those ahead took theirs: it may know other victims when asked again.
    if (this.#evicts) return notPreempted("; jobs ahead of it evict others first");
    this.#known.rememberImpossible(job, inside, plan);
    return cannotPreempt(plan.budgets);
  }

  #carryOut(job: QueuedJob, plan: PreemptionPlan, obstacle: string): Outcome & { kind: "preempt" } {
    this.#evicts = true;
    const evicted = new Set(plan.set.map(({ job: victim }) => victim.id));
    for (const { job: victim } of plan.set) {
      this.#nodes.vacate(victim);
      this.#quotas.relieve(victim);
    }
    this.#live = this.#live.filter(({ id }) => !evicted.has(id));
    this.#known.forget();
    const placements = this.#reservation(job);
    this.#quotas.charge(job, plan.borrowing);
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
      })),
      reason: preemptionText(
        job,
        plan.borrowing ? "borrowing" : "inside its plans",
        obstacle,
        plan,
        plan.others,
      ),
      alternatives: plan.others.map(({ how, set }) => ({
        description: `${how}: ${setText(set)}`,
        victims: set.map(({ job: victim }) => victim.id),
        pods: totalPods(set),
      })),
    };
  }

  #reservation(job: QueuedJob): readonly Placement[] {
    const placements = placeGang(this.#nodes.accepting(job), job, futureRoom);
    if (!placements) throw new Error(`the victims chosen for ${job.key} do not make room for it`);
    this.#nodes.keep(placements, job.perPod, job.key);
    return placements;
  }
}

/** Continues the sentence that says why the job waits. */
interface Told {
  readonly message: string;
  readonly redactables: readonly Redactable[];
}

interface NotPreempted extends Told {
  readonly kind: "not preempted";
  readonly protected: boolean;
}

const notPreempted = (message: string): NotPreempted => ({
  kind: "not preempted",
  message,
  redactables: [],
  protected: false,
});

function cannotPreempt(budgets: readonly string[]): NotPreempted {
  if (budgets.length === 0) return notPreempted("; evicting every job it may evict makes no room");
  const named = budgets.slice(0, 3);
  return {
    kind: "not preempted",
    message: `; jobs it could evict are protected by PodDisruptionBudget ${named.join(", ")}`,
    redactables: named.map(redactableBudget),
    protected: true,
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

/** Why the job is not inside its plans. */
function outsideText(job: QueuedJob, over: readonly QuotaState[]): Waiting {
  const closed = over.find((one) => one.limit === 0);
  if (closed) return waiting("WindowClosed", closedText(closed));
  const [first] = over;
  if (first) return waiting("QuotaExceeded", overPlanText(first, job));
  return waiting("NoQuota", `no plan grants ${job.key} what it asks for`);
}
