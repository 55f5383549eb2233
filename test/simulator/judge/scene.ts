/** The pool as it stands at one point of a cycle's decision: what ran before, and what the cycle did so far. */
import { Capacity } from "./capacity.ts";
import { Quotas } from "./quotas.ts";
import { borrowers } from "./plans.ts";
import { isLive, occupies, type Places, type World, type WorldJob } from "./world.ts";

export class Scene {
  readonly world: World;
  readonly capacity: Capacity;
  readonly quotas: Quotas;
  /** Who borrows as the cycle begins. */
  readonly marked: ReadonlySet<string>;
  /** What may be evicted: it ran before the cycle, and has not been evicted in it. */
  readonly #evictable: Map<string, WorldJob>;
  readonly #occupying: Map<string, WorldJob>;
  /** Quotas that this cycle freed some of, or under which it started borrowers: others may be inside them now. */
  readonly #moved = new Set<string>();
  /** Started inside their plans by this cycle, and may not borrow. */
  readonly #firm: WorldJob[] = [];
  #starts = 0;

  constructor(world: World) {
    this.world = world;
    this.capacity = new Capacity(world);
    const jobs = [...world.jobs.values()];
    this.#evictable = new Map(jobs.filter(isLive).map((job) => [job.id, job]));
    this.#occupying = new Map(jobs.filter(occupies).map((job) => [job.id, job]));
    this.marked = this.borrowersNow();
    this.quotas = new Quotas(world, ({ id }) => this.marked.has(id));
  }

  get evictable(): readonly WorldJob[] {
    return [...this.#evictable.values()];
  }

  borrowersNow(): Set<string> {
    const { projects, plans, local } = this.world;
    return borrowers([...this.#occupying.values()], projects, plans, local);
  }

  /** It borrows whatever the cycle itself has changed: jobs under quotas that it moved may not. */
  surelyBorrows({ id, quotas }: WorldJob): boolean {
    return this.marked.has(id) && !quotas.some((quota) => this.#moved.has(quota.id));
  }

  /** Whether jobs that the cycle moved may take its place under a plan at the next look. */
  isContested({ quotas }: WorldJob): boolean {
    return quotas.some(({ id }) => this.#moved.has(id));
  }

  /** Whether, as a borrower, it could rank before one that this cycle started inside its plans and that may not borrow. */
  wouldOust({ priority, quotas }: WorldJob): boolean {
    return this.#firm.some(
      (other) =>
        other.priority < priority &&
        other.quotas.some(({ id }) => quotas.some((quota) => quota.id === id)),
    );
  }

  start(job: WorldJob, places: Places, borrowing: boolean): void {
    this.capacity.start(job, places);
    this.#charge(job, borrowing);
    this.#enter(job);
  }

  startReserved(job: WorldJob): void {
    this.capacity.startReserved(job, job.kept);
  }

  reservation(job: WorldJob, places: Places, borrowing: boolean): void {
    this.capacity.keep(job, places);
    this.#charge(job, borrowing);
    this.#enter(job);
  }

  /** A hold whose time is up or whose node is gone. */
  release(job: WorldJob): void {
    this.giveBack(job);
    this.#move(job);
  }

  giveBack(job: WorldJob): void {
    this.capacity.giveBack(job, job.kept);
    this.quotas.relieve(job);
    this.#occupying.delete(job.id);
  }

  /** A window closed over it. */
  close(job: WorldJob): void {
    this.capacity.vacate(job);
    this.quotas.relieve(job);
    this.#occupying.delete(job.id);
    this.#evictable.delete(job.id);
  }

  evict(job: WorldJob): void {
    this.close(job);
    this.quotas.evict(job);
    this.#move(job);
  }

  #move(job: WorldJob): void {
    if (!this.marked.has(job.id)) for (const { id } of job.quotas) this.#moved.add(id);
  }

  #charge(job: WorldJob, borrowing: boolean): void {
    this.quotas.charge(job, borrowing);
    if (borrowing) for (const { id } of job.quotas) this.#moved.add(id);
    else if (!job.mayBorrow) this.#firm.push(job);
  }

  #enter(job: WorldJob): void {
    this.#starts += 1;
    const admittedAtSeconds = this.world.nowSeconds + this.#starts / 1000;
    this.#occupying.set(job.id, { ...job, admittedAtSeconds });
  }
}
