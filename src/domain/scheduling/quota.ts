/**
 * Plans while a decision is being made: how much of each quota is used by jobs inside their plans. Borrowers take
 * nothing from it (docs/decisions/0013).
 */
import type { Quota, LiveJob, QueuedJob, Resources, ResourceType } from "./snapshot.ts";

/** GPUs, or CPU millicores: whole numbers, so that comparisons are exact. */
export const amountOf = (resources: Resources, type: ResourceType): number =>
  type === "GPU" ? resources.gpus : resources.cpuMillis;

const exact = (quantity: number, type: ResourceType): number =>
  type === "GPU" ? quantity : Math.round(quantity * 1000);

/** Room that is kept for a job that waits for it, or for space. */
interface Reservation {
  readonly amount: number;
  readonly turn: Turn;
}

export interface Turn {
  /** In the queue. */
  readonly place: number;
  /** Inside its plans, or not known to be past them yet. */
  readonly inside: boolean;
}

/** Whom nothing is taken from: jobs before in the queue, and to one past its plans also those inside theirs. */
const comesBefore = (one: Turn, other: Turn): boolean =>
  one.place < other.place || (one.inside && !other.inside);

export class QuotaState {
  readonly quota: Quota;
  /** In GPUs or CPU millicores, like `used`. */
  readonly limit: number;
  used: number;
  /** By jobs past their plans. */
  borrowed: number;
  /** Earlier jobs in the queue that wait for room under it or for space, by key, with their demand. */
  readonly reservations = new Map<string, Reservation>();

  constructor(quota: Quota) {
    this.quota = quota;
    this.limit = exact(quota.quantity, quota.resourceType);
    this.used = exact(quota.usage, quota.resourceType);
    this.borrowed = exact(quota.borrowed, quota.resourceType);
  }

  demandOf(job: QueuedJob): number {
    return amountOf(job.perPod, this.quota.resourceType) * job.parallelism;
  }

  /** How much a job would be past the quantity; 0 or less when it is inside. */
  excess(job: QueuedJob): number {
    return this.used + this.demandOf(job) - this.limit;
  }

  /** Key of an earlier job that would no longer fit under the quota if this one started. */
  reservedAgainst(job: QueuedJob, turn: Turn): string | undefined {
    const demand = this.demandOf(job);
    if (demand === 0 || this.reservations.size === 0) return undefined;
    const others = [...this.reservations].filter(
      ([key, reserved]) => key !== job.key && comesBefore(reserved.turn, turn),
    );
    const reserved = others.reduce((sum, [, { amount }]) => sum + amount, 0);
    return this.used + reserved + demand > this.limit ? others[0]?.[0] : undefined;
  }

  usageOf(job: Occupant): number {
    return amountOf(job.perPod, this.quota.resourceType) * podsOf(job);
  }

  /** What the quantity has more when the job is gone. */
  reliefBy(job: LiveJob): number {
    return job.borrowing || !job.quotas.includes(this.quota.id) ? 0 : this.usageOf(job);
  }
}

/** What counts under quotas: a job that runs, or one for which capacity is kept. */
export type Occupant = Pick<LiveJob, "borrowing" | "quotas" | "perPod" | "allocations">;

export const podsOf = (job: Pick<LiveJob, "allocations">): number =>
  job.allocations.reduce((sum, one) => sum + one.pods, 0);

export class Quotas {
  readonly #byId: ReadonlyMap<string, QuotaState>;
  /**
   * Quotas whose ranking is stale until the next snapshot: this decision freed a part of them, or started borrowers
   * under them, who may rank before others. Which jobs are inside such a quota is not known: nobody is evicted under
   * it as a borrower, and what looks free under it may belong to one of the borrowers. By id, because victims may
   * stand under quotas that no queued job has.
   */
  readonly #stale = new Set<string>();

  constructor(quotas: readonly Quota[]) {
    this.#byId = new Map(quotas.map((quota) => [quota.id, new QuotaState(quota)]));
  }

  of(job: { readonly quotas: readonly string[] }): readonly QuotaState[] {
    return job.quotas.flatMap((id) => this.#byId.get(id) ?? []);
  }

  /** The quotas the job would break; none for a job inside its plans. */
  over(job: QueuedJob): readonly QuotaState[] {
    return this.of(job).filter((state) => state.demandOf(job) > 0 && state.excess(job) > 0);
  }

  /** The job will run: its reservation becomes usage. */
  charge(job: QueuedJob, borrowing: boolean): void {
    for (const state of this.of(job)) {
      state.reservations.delete(job.key);
      const demand = state.demandOf(job);
      if (!borrowing) state.used += demand;
      else if (demand > 0) {
        state.borrowed += demand;
        this.#stale.add(state.quota.id);
      }
    }
  }

  /**
   * Keeps room under its quotas for a waiting job, so that smaller jobs behind it cannot starve it. Not for one
   * that is larger than what the plans grant now: it would stop the others for nothing.
   */
  reserve(job: QueuedJob, turn: Turn): void {
    const states = this.of(job).filter((state) => state.demandOf(job) > 0);
    if (job.unplanned || states.some((state) => state.demandOf(job) > state.limit)) return;
    for (const state of states)
      state.reservations.set(job.key, { amount: state.demandOf(job), turn });
  }

  /** A victim leaves, or a hold is given back. */
  relieve(job: Occupant): void {
    if (!job.borrowing) for (const id of job.quotas) this.#stale.add(id);
    for (const state of this.of(job)) {
      if (job.borrowing) state.borrowed -= state.usageOf(job);
      else state.used -= state.usageOf(job);
    }
  }

  /** Whether the mark `borrowing` of a job that runs may be out of date: it counts under a stale quota. */
  isStale(job: LiveJob): boolean {
    return job.quotas.some((id) => this.#stale.has(id));
  }

  /** The stale quotas of which a waiting job asks for some. */
  staleOf(job: QueuedJob): readonly QuotaState[] {
    return this.of(job).filter(
      (state) => state.demandOf(job) > 0 && this.#stale.has(state.quota.id),
    );
  }
}
