/**
 * Section 6 of the design read naively, for one preemption: was each victim allowed, is the set enough, is nobody in it
 * who need not go, and is there nothing cheaper? Sets are tried one by one.
 */
import { fitting, later, podsIn, type Room } from "./capacity.ts";
import type { Effect } from "./effects.ts";
import type { Scene } from "./scene.ts";
import type { WorldJob } from "./world.ts";

type Preemption = Extract<Effect, { kind: "preempt" }>;
type Victims = readonly WorldJob[];

/** Sets tried on all nodes together for one preemption; beyond, the optimum is not proved. */
const maxSets = 60_000;

export class Preempting {
  readonly #job: WorldJob;
  readonly #scene: Scene;
  readonly #rooms: readonly Room[];
  /** Outside every budget, and by the first of the rules that allows it. */
  readonly #candidates: Victims;
  readonly #isInside: boolean;
  #setsTried = 0;

  constructor(job: WorldJob, scene: Scene, isProtected: (jobId: string) => boolean) {
    this.#job = job;
    this.#scene = scene;
    this.#rooms = scene.capacity.accepting(job);
    this.#isInside = !job.unplanned && scene.quotas.over(job).length === 0;
    this.#candidates = scene.evictable.filter(
      (victim) => !isProtected(victim.id) && this.#mayEvict(victim),
    );
  }

  /** Whether everybody it may evict would make room: then it need not wait. */
  isPossible(): boolean {
    return (
      this.#isEnough(this.#candidates) ||
      this.#isEnough(this.#candidates.filter((one) => this.#mayBeDisplaced(one)))
    );
  }

  /** Throws what is wrong; false when there were too many sets to prove the optimum. */
  judge(preemption: Preemption): boolean {
    const { jobs } = this.#scene.world;
    const victims = preemption.victims.flatMap(({ id }) => jobs.get(id) ?? []);
    if (victims.length !== preemption.victims.length || victims.length === 0)
      throw new Error(`${this.#job.key} evicts what is not there`);
    if (!this.#job.preempts) throw new Error(`${this.#job.key} evicts, and its class never does`);
    this.#judgeRules(preemption, victims);
    this.#judgeNeed(victims);
    this.#judgeObserved(preemption, victims);
    return this.#judgeCost(victims);
  }

  #judgeRules({ victims: effects }: Preemption, victims: Victims): void {
    const borrowers = this.#scene.borrowersNow();
    for (const [index, victim] of victims.entries()) {
      const rule = effects[index]?.rule ?? "";
      if (!this.#candidates.includes(victim))
        throw new Error(`${this.#job.key} may not evict ${victim.key} (${rule})`);
      const isLower = victim.priority < this.#job.priority;
      if (!isLower && !borrowers.has(victim.id))
        throw new Error(`${victim.key} is evicted as a borrower, and is none`);
      const over = this.#exceeded();
      const isTrue: Readonly<Record<string, boolean>> = {
        BorrowerReclaimed: borrowers.has(victim.id),
        LowerPriority: isLower,
        OwnQuota:
          isLower && !this.#isMarked(victim) && victim.quotas.some(({ id }) => over.has(id)),
      };
      if (isTrue[rule] !== true)
        throw new Error(`${victim.key} is evicted by the rule ${rule}, which is not true of it`);
    }
  }

  #judgeNeed(victims: Victims): void {
    const names = victims.map(({ key }) => key).join(", ");
    if (!this.#isEnough(victims))
      throw new Error(`${this.#job.key} evicts ${names}, which is not enough`);
    for (const victim of victims) {
      if (this.#isEnough(victims.filter((one) => one !== victim)))
        throw new Error(`${victim.key} is evicted for ${this.#job.key}, which fits without that`);
    }
  }

  #judgeObserved({ borrowing }: Preemption, victims: Victims): void {
    if (borrowing && (this.#isInside || !this.#job.mayBorrow))
      throw new Error(`${this.#job.key} is held as a borrower, which it is not`);
    if (!borrowing && !this.#reservationsQuotas(victims))
      throw new Error(`${this.#job.key} is held as entitled, and is outside its plans`);
  }

  #judgeCost(victims: Victims): boolean {
    for (const isConsidered of [() => true, (one: WorldJob) => this.#mayBeDisplaced(one)]) {
      const greedy = this.#greedy(isConsidered);
      if (greedy && this.#compare(greedy, victims) < 0)
        throw new Error(`${this.#job.key} evicts more than plain greed: ${namesOf(greedy)}`);
    }
    const cheaper = this.#cheaperOnOneNode(victims);
    if (cheaper)
      throw new Error(
        `${this.#job.key} evicts ${namesOf(victims)}, and ${namesOf(cheaper)} would be cheaper`,
      );
    return this.#setsTried < maxSets;
  }

  #exceeded(): ReadonlySet<string> {
    return new Set(this.#scene.quotas.over(this.#job).map(({ id }) => id));
  }

  #borrows(victim: WorldJob): boolean {
    return this.#scene.surelyBorrows(victim);
  }

  #mayEvict(victim: WorldJob): boolean {
    if (this.#job.unplanned) return this.#job.mayBorrow && this.#mayBeDisplaced(victim);
    return victim.priority < this.#job.priority || this.#borrows(victim);
  }

  #reservationsQuotas(gone: Victims): boolean {
    return !this.#job.unplanned && this.#scene.quotas.over(this.#job, gone).length === 0;
  }

  /** A borrower of lower priority, in whose place a borrower may come. */
  #mayBeDisplaced(victim: WorldJob): boolean {
    return victim.priority < this.#job.priority && this.#borrows(victim);
  }

  /** Lower priorities and borrowers may go for a job that is or comes inside its plans. */
  #isAllowed(gone: Victims): boolean {
    if (this.#isInside || this.#reservationsQuotas(gone)) return true;
    return this.#job.mayBorrow && gone.every((victim) => this.#mayBeDisplaced(victim));
  }

  #isEnough(gone: Victims): boolean {
    if (!this.#isAllowed(gone)) return false;
    return fitting(this.#job, this.#rooms, later, gone) >= this.#job.parallelism;
  }

  /** Borrowers, lowest priority, youngest first, until it is enough. */
  #greedy(isConsidered: (victim: WorldJob) => boolean): Victims | undefined {
    const ordered = this.#candidates.filter(isConsidered).toSorted((one, other) => {
      const marks = Number(this.#isMarked(other)) - Number(this.#isMarked(one));
      if (marks !== 0) return marks;
      return one.priority - other.priority || other.startedAtSeconds - one.startedAtSeconds;
    });
    for (let count = 1; count <= ordered.length; count += 1) {
      const set = ordered.slice(0, count);
      if (this.#isEnough(set)) return set;
    }
    return undefined;
  }

  /** Any set that costs less and makes room for all its pods on one node. */
  #cheaperOnOneNode(victims: Victims): Victims | undefined {
    const over = this.#exceeded();
    for (const room of this.#rooms) {
      const useful = this.#candidates.filter(
        ({ allocated, quotas }) =>
          allocated[room.node.name] !== undefined || quotas.some(({ id }) => over.has(id)),
      );
      const found = this.#cheaperOn(room, useful, [], victims);
      if (found) return found;
    }
    return undefined;
  }

  #cheaperOn(room: Room, useful: Victims, set: Victims, victims: Victims): Victims | undefined {
    this.#setsTried += 1;
    if (this.#setsTried >= maxSets || this.#compare(set, victims) >= 0) return undefined;
    if (this.#isEnoughOn(room, set)) return set;
    for (const [index, one] of useful.entries()) {
      const found = this.#cheaperOn(room, useful.slice(index + 1), [...set, one], victims);
      if (found) return found;
    }
    return undefined;
  }

  #isEnoughOn(room: Room, gone: Victims): boolean {
    if (!this.#isAllowed(gone)) return false;
    const freed = room.future.map((amount, dimension) =>
      gone.reduce(
        (sum, one) => sum + (one.perPod[dimension] ?? 0) * (one.allocated[room.node.name] ?? 0),
        amount,
      ),
    );
    return podsIn(freed, this.#job) >= this.#job.parallelism;
  }

  #isMarked({ id }: WorldJob): boolean {
    return this.#scene.marked.has(id);
  }

  /**
   * The highest priority inside plans, the highest of all, pods inside plans, pods, and work lost: GPU-seconds, where the
   * difference is more than the two clocks may explain.
   */
  #compare(one: Victims, other: Victims): number {
    const inside = (set: Victims) => set.filter((victim) => !this.#isMarked(victim));
    const cost = (set: Victims) => [
      highest(inside(set)),
      highest(set),
      podsOf(inside(set)),
      podsOf(set),
    ];
    const others = cost(other);
    const at = cost(one).findIndex((number, index) => number !== others[index]);
    if (at >= 0) return (cost(one)[at] ?? 0) < (others[at] ?? 0) ? -1 : 1;
    const { nowSeconds } = this.#scene.world;
    const difference = gpuSeconds(one, nowSeconds) - gpuSeconds(other, nowSeconds);
    const unsure = clockSeconds * (gpusOf(one) + gpusOf(other));
    return Math.abs(difference) > unsure ? difference : 0;
  }
}

/** The judge and the decision may read the time so far apart. */
const clockSeconds = 2;

const namesOf = (set: Victims): string => set.map(({ key }) => key).join(", ");
const podsOf = (set: Victims): number => set.reduce((sum, { parallelism }) => sum + parallelism, 0);
const highest = (set: Victims): number => Math.max(...set.map(({ priority }) => priority));
const gpusOf = (set: Victims): number => set.reduce((sum, { gpus }) => sum + gpus, 0);
const gpuSeconds = (set: Victims, nowSeconds: number): number =>
  set.reduce((sum, { gpus, startedAtSeconds }) => sum + gpus * (nowSeconds - startedAtSeconds), 0);
