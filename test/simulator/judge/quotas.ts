/**
 * How much of each quota jobs inside their plans use, and what is kept for those that wait, while the judge goes
 * through a cycle. Borrowers take nothing from a quantity.
 */
import type { NaiveQuota } from "./plans.ts";
import { occupies, type World, type WorldJob } from "./world.ts";

interface Kept {
  readonly demand: number;
  /** In the queue. */
  readonly place: number;
  readonly inside: boolean;
}

export class Quotas {
  readonly #used = new Map<string, number>();
  /** By jobs that were inside, and whose pods are not gone yet. */
  readonly #leaving = new Map<string, number>();
  /** By quota: what waiting jobs ask for, by their id. */
  readonly #kept = new Map<string, Map<string, Kept>>();

  /** By quota: places of waiting jobs that may borrow, and that a nearer owner's quota keeps from it, by their id. */
  readonly #claims = new Map<string, Map<string, number>>();

  readonly #borrows: (job: WorldJob) => boolean;

  constructor(world: World, borrows: (job: WorldJob) => boolean) {
    this.#borrows = borrows;
    for (const job of world.jobs.values()) {
      if (occupies(job) && !borrows(job)) this.#add(job, 1);
      if (job.status === "evicting" && !job.borrowing) this.#leave(job);
    }
  }

  /** The quotas it would break when others have gone. */
  over(job: WorldJob, gone: readonly WorldJob[] = []): readonly NaiveQuota[] {
    return job.quotas.filter(({ id, demand, limit }) => {
      const relieved = gone
        .filter((one) => !this.#borrows(one))
        .flatMap(({ quotas }) => quotas)
        .filter((quota) => quota.id === id)
        .reduce((sum, quota) => sum + quota.demand, 0);
      return this.#of(id) - relieved + demand > limit;
    });
  }

  /** Whether only jobs on their way out keep it from being inside. */
  isAwaited(job: WorldJob): boolean {
    return job.quotas.some(
      ({ id, demand, limit }) => this.#of(id) + (this.#leaving.get(id) ?? 0) + demand > limit,
    );
  }

  /** Whether it would take what is kept for a job before it; those inside their plans come before borrowers. */
  isBehind(job: WorldJob, place: number, inside: boolean): boolean {
    return job.quotas.some(({ id, demand, limit }) => {
      const others = [...(this.#kept.get(id) ?? [])]
        .filter(([other]) => other !== job.id)
        .filter(([, one]) => one.place < place || (one.inside && !inside));
      const kept = others.reduce((sum, [, one]) => sum + one.demand, 0);
      return others.length > 0 && this.#of(id) + kept + demand > limit;
    });
  }

  /**
   * Owner by owner from the nearest: what it would break is the last that is kept for it. Nothing is kept for a job that
   * is larger than the plans themselves.
   */
  reserve(job: WorldJob, place: number, inside: boolean): void {
    this.#forget(job);
    if (job.unplanned || job.quotas.some(({ demand, limit }) => demand > limit)) return;
    const broken = new Set(this.over(job).map(({ owner }) => owner));
    const owners = [...new Set(job.quotas.map(({ owner }) => owner))];
    const until = owners.findIndex((owner) => broken.has(owner));
    const asked = new Set(until === -1 ? owners : owners.slice(0, until + 1));
    for (const { id, demand } of job.quotas.filter(({ owner }) => asked.has(owner)))
      this.#kept.set(id, new Map(this.#kept.get(id)).set(job.id, { demand, place, inside }));
    if (!job.mayBorrow) return;
    for (const { id } of job.quotas.filter(({ owner }) => !asked.has(owner)))
      this.#claims.set(id, new Map(this.#claims.get(id)).set(job.id, place));
  }

  /** Whether a job before it, which may borrow, would come before it inside a quota that it breaks. */
  isClaimed(job: WorldJob, place: number): boolean {
    return this.over(job).some(({ id }) =>
      [...(this.#claims.get(id) ?? [])].some(([, claimed]) => claimed < place),
    );
  }

  #forget({ id: job, quotas }: WorldJob): void {
    for (const { id } of quotas) {
      this.#kept.get(id)?.delete(job);
      this.#claims.get(id)?.delete(job);
    }
  }

  charge(job: WorldJob, borrowing: boolean): void {
    if (!borrowing) this.#add(job, 1);
    this.#forget(job);
  }

  relieve(job: WorldJob): void {
    if (!this.#borrows(job)) this.#add(job, -1);
  }

  /** A victim that was inside. */
  evict(job: WorldJob): void {
    if (!this.#borrows(job)) this.#leave(job);
  }

  #leave({ quotas }: WorldJob): void {
    for (const { id, demand } of quotas)
      this.#leaving.set(id, (this.#leaving.get(id) ?? 0) + demand);
  }

  #of(id: string): number {
    return this.#used.get(id) ?? 0;
  }

  #add(job: WorldJob, sign: 1 | -1): void {
    for (const { id, demand } of job.quotas) this.#used.set(id, this.#of(id) + sign * demand);
  }
}
