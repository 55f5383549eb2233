/**
 * Quotas during a decision: how much of each is used by jobs within quota. Borrowers use up none of it
 * (docs/decisions/0013).
 */
import { type ResourceType, unitOf } from "../resource-types.ts";
import type { Quota, QuotaClose, LiveJob, QueuedJob, Resources } from "./snapshot.ts";

/** What a demand is of a resource type, in its unit of demand: integers, so that comparisons are exact. */
export function amountOf(demand: Resources, type: ResourceType): number {
  if (type === "GPU") return demand.gpus + (demand.otherGpus ?? 0);
  if (type === "CPU") return demand.cpuMillis;
  return type === "memory" ? demand.memoryBytes : (demand.byName?.[type] ?? 0);
}

/** The types of plans that may grant what is demanded. */
export const typesOf = (demand: Resources): readonly ResourceType[] =>
  ["GPU", "CPU", "memory", ...Object.keys(demand.byName ?? {})].filter(
    (type) => amountOf(demand, type) > 0,
  );

const exact = (quantity: number, type: ResourceType): number => Math.round(quantity * unitOf(type));

/** Quota reserved for a waiting job. */
interface Reservation {
  readonly amount: number;
  readonly turn: Turn;
}

export interface Turn {
  /** Queue position. */
  readonly place: number;
  /** Within quota, or not yet known to be over it. */
  readonly withinQuota: boolean;
}

/** True if `one`'s reservation must be respected by `other`: it is earlier in the queue, or within quota while `other` is not. */
const comesBefore = (one: Turn, other: Turn): boolean =>
  one.place < other.place || (one.withinQuota && !other.withinQuota);

export class QuotaState {
  readonly quota: Quota;
  /** In the type's unit of demand, like `used`. */
  readonly limit: number;
  used: number;
  /** By borrowing jobs. */
  borrowed: number;
  /** By jobs that were within quota and whose pods are not gone yet. */
  leaving: number;
  /** Of waiting jobs earlier in the queue, by key. */
  readonly reservations = new Map<string, Reservation>();
  /**
   * Places of waiting jobs that may borrow and have reserved nothing here, because a nearer owner's quota blocks them, by
   * key. Started as borrowers they rank by priority, so that they may still come within this quota.
   */
  readonly claims = new Map<string, number>();
  /** The lowest priority of the jobs that this decision has started within the quota and that may not borrow. */
  firmPriority = Number.POSITIVE_INFINITY;

  constructor(quota: Quota) {
    this.quota = quota;
    this.limit = exact(quota.quantity, quota.resourceType);
    this.used = exact(quota.usage, quota.resourceType);
    this.borrowed = exact(quota.borrowed, quota.resourceType);
    this.leaving = exact(quota.leaving, quota.resourceType);
  }

  demandOf(job: QueuedJob): number {
    return amountOf(job.perPod, this.quota.resourceType) * job.parallelism;
  }

  /** By how much the job would exceed the quota; 0 or less if it is within quota. */
  excess(job: QueuedJob): number {
    return this.used + this.demandOf(job) - this.limit;
  }

  /**
   * The first close within these seconds that evicts and could keep the job from its share: less is granted after it than
   * the job needs, or less than now and too little for all that use the quota.
   */
  evictingClose(job: QueuedJob, seconds: number): QuotaClose | undefined {
    const demand = this.demandOf(job);
    if (demand === 0) return undefined;
    return this.quota.evictCloses?.find(({ inSeconds, quantity }) => {
      const limit = exact(quantity, this.quota.resourceType);
      const isTooLittle = limit < demand || (limit < this.limit && limit < this.used + demand);
      return inSeconds < seconds && isTooLittle;
    });
  }

  /** Key of an earlier job that would no longer fit under the quota if this one started; undefined if there is none. */
  reservedAgainst(job: QueuedJob, turn: Turn): string | undefined {
    const demand = this.demandOf(job);
    if (demand === 0 || this.reservations.size === 0) return undefined;
    const others = [...this.reservations].filter(
      ([key, reserved]) => key !== job.key && comesBefore(reserved.turn, turn),
    );
    const reserved = others.reduce((sum, [, { amount }]) => sum + amount, 0);
    return this.used + reserved + demand > this.limit ? others[0]?.[0] : undefined;
  }

  /** Key of a job ahead of this place in the queue that claims some of the quota. */
  claimedBefore(place: number): string | undefined {
    return [...this.claims].find(([, claimed]) => claimed < place)?.[0];
  }

  /** A waiting job keeps nothing here any more. */
  forget(key: string): void {
    this.reservations.delete(key);
    this.claims.delete(key);
  }

  usageOf(job: Occupant): number {
    return amountOf(job.perPod, this.quota.resourceType) * podsOf(job);
  }

  /** How much quota is released when the job leaves; borrowers release none. */
  reliefBy(job: LiveJob): number {
    return job.borrowing || !job.quotas.includes(this.quota.id) ? 0 : this.usageOf(job);
  }
}

/** All of them for a job within quota. */
function upToFirstExceeded(states: readonly QuotaState[], job: QueuedJob): readonly QuotaState[] {
  const owner = states.find((state) => state.excess(job) > 0)?.quota.owner;
  if (owner === undefined) return states;
  const last = states.findLastIndex(
    ({ quota }) => quota.owner.kind === owner.kind && quota.owner.name === owner.name,
  );
  return states.slice(0, last + 1);
}

/** A job that counts under quotas: running or reserved. */
export type Occupant = Pick<LiveJob, "borrowing" | "quotas" | "perPod" | "allocations">;

/** Pods of the job on all nodes. */
export const podsOf = (job: Pick<LiveJob, "allocations">): number =>
  job.allocations.reduce((sum, one) => sum + one.pods, 0);

export class Quotas {
  readonly #byId: ReadonlyMap<string, QuotaState>;
  /**
   * Ids of quotas whose ranking is stale until the next snapshot: this decision relieved them, or started borrowers under
   * them that may rank before others. Which jobs are within such a quota is unknown, so no job is evicted under it as a
   * borrower, and what looks free may belong to a borrower. Ids, because victims may have quotas that no queued job has.
   */
  readonly #stale = new Set<string>();

  constructor(quotas: readonly Quota[]) {
    this.#byId = new Map(quotas.map((quota) => [quota.id, new QuotaState(quota)]));
  }

  of(job: { readonly quotas: readonly string[] }): readonly QuotaState[] {
    return job.quotas.flatMap((id) => this.#byId.get(id) ?? []);
  }

  /** The quotas that the job would exceed; none for a job within quota. */
  over(job: QueuedJob): readonly QuotaState[] {
    return this.of(job).filter((state) => state.demandOf(job) > 0 && state.excess(job) > 0);
  }

  /** A quota that the job would exceed only until the pods of leaving jobs are gone. */
  awaited(job: QueuedJob): QuotaState | undefined {
    return this.of(job).find(
      (state) => state.demandOf(job) > 0 && state.excess(job) + state.leaving > 0,
    );
  }

  /** The job starts: its reservation becomes usage. */
  charge(job: QueuedJob, borrowing: boolean): void {
    for (const state of this.of(job)) {
      state.forget(job.key);
      const demand = state.demandOf(job);
      if (!borrowing) {
        state.used += demand;
        if (demand > 0 && !job.allowsBorrowing)
          state.firmPriority = Math.min(state.firmPriority, job.priority);
      } else if (demand > 0) {
        state.borrowed += demand;
        this.#stale.add(state.quota.id);
      }
    }
  }

  /**
   * Reserves quota for a waiting job, so that smaller jobs behind it cannot starve it: from its own owner's quotas up to
   * those of the first owner that it exceeds, and nothing above, where siblings would wait for its own owner's jobs to
   * end. A job larger than a whole quota gets none: it would block the others for nothing.
   */
  reserve(job: QueuedJob, turn: Turn): void {
    const states = this.of(job).filter((state) => state.demandOf(job) > 0);
    for (const state of states) state.forget(job.key);
    if (job.unplanned || states.some((state) => state.demandOf(job) > state.limit)) return;
    const reserved = upToFirstExceeded(states, job);
    for (const state of reserved)
      state.reservations.set(job.key, { amount: state.demandOf(job), turn });
    if (!job.allowsBorrowing) return;
    for (const state of states.slice(reserved.length)) state.claims.set(job.key, turn.place);
  }

  /** A waiting job reserves nothing any more. */
  forget(job: QueuedJob): void {
    for (const state of this.of(job)) state.forget(job.key);
  }

  /** A quota within which a job of lower priority that may not borrow has just started: this one would rank before it. */
  firm(job: QueuedJob): QuotaState | undefined {
    return this.of(job).find(
      (state) => state.demandOf(job) > 0 && state.firmPriority < job.priority,
    );
  }

  /** A victim is asked to leave. */
  evict(victim: LiveJob): void {
    this.relieve(victim);
    if (victim.borrowing) return;
    for (const state of this.of(victim)) state.leaving += state.usageOf(victim);
  }

  /** A victim leaves, or a reservation is released. */
  relieve(job: Occupant): void {
    if (!job.borrowing) for (const id of job.quotas) this.#stale.add(id);
    for (const state of this.of(job)) {
      if (job.borrowing) state.borrowed -= state.usageOf(job);
      else state.used -= state.usageOf(job);
    }
  }

  /** Whether the `borrowing` mark of a running job may be stale: it counts under a stale quota. */
  isStale(job: LiveJob): boolean {
    return job.quotas.some((id) => this.#stale.has(id));
  }

  /** The stale quotas that a waiting job needs. */
  staleOf(job: QueuedJob): readonly QuotaState[] {
    return this.of(job).filter(
      (state) => state.demandOf(job) > 0 && this.#stale.has(state.quota.id),
    );
  }
}
