/**
 * A cycle gone through as the design tells it: holds first, then the queue, jobs inside their plans before borrowers.
 * For each job the plainest reading says what should have become of it; the witnesses say what did. What a job did is
 * then taken as given for those behind it: what started, what is held, and what is kept for jobs that wait.
 */
import { bestFit, empty, fitting, later, nearest, now, podsIn, type Room } from "./capacity.ts";
import { type Effect, type Effects, outcomeOf } from "./effects.ts";
import { borrowers, evictsWithin, secondsShut } from "./plans.ts";
import { Scene } from "./scene.ts";
import { Preempting } from "./victims.ts";
import {
  inQueueOrder,
  isWaiting,
  occupies,
  type Places,
  type World,
  type WorldJob,
} from "./world.ts";

export interface Told {
  readonly reason: string;
  readonly message: string;
}

/** What the cycle said of the pool's waiting jobs. */
export interface Heard {
  readonly explained: ReadonlyMap<string, Told>;
  readonly settled: ReadonlySet<string>;
}

export interface Cycle {
  readonly before: World;
  readonly after: World;
  readonly effects: Effects;
  readonly recordActivity: Heard;
  /** Nothing changed and nothing is left to ask: every job that waits does so for good. */
  readonly isQuiet: boolean;
  readonly isProtected: (jobId: string) => boolean;
  readonly windowGraceSeconds: number;
}

export interface Findings {
  /** Preemptions whose victims were tried one by one. */
  readonly preemptions: number;
  /** Of these, those for which every cheaper set on one node was tried. */
  readonly proved: number;
  /** Waiting jobs that may preempt, for which no set of victims is enough. */
  readonly rejections: number;
  readonly verdicts: number;
  /** Jobs for which room is kept at the head of the line, or until evicted pods have left. */
  readonly protectedJobs: number;
}

type Pass = "inside" | "borrowing";
const spaceReasons = ["InsufficientCapacity", "CapacityReserved", "BlockedByDisruptionBudget"];

/** Throws what is wrong with a cycle. */
export const judgeCycle = (cycle: Cycle): Findings => new Replay(cycle).run();

class Replay {
  readonly #cycle: Cycle;
  readonly #scene: Scene;
  /** What a job waits for at the head already, and where. */
  readonly #claimed = new Set<string>();
  /** By quota, as far as anybody asked. */
  readonly #shut = new Map<string, number | undefined>();
  /** A job before evicts others that the API server is yet to be asked about: nobody knows which. */
  #isUncertain = false;
  #places: ReadonlyMap<string, number> = new Map();
  #preemptions = 0;
  #proved = 0;
  #rejections = 0;
  #verdicts = 0;
  #protectedJobs = 0;

  constructor(cycle: Cycle) {
    this.#cycle = cycle;
    this.#scene = new Scene(cycle.before);
  }

  run(): Findings {
    const waiting = inQueueOrder([
      ...[...this.#cycle.before.jobs.values()].filter((job) => isWaiting(job) && job.isDue),
      ...this.#closeWindows(),
    ]);
    this.#places = new Map(waiting.map(({ id }, place) => [id, place]));
    this.#settleReservations();
    const borrowing = waiting.filter((job) => !this.#consider(job, "inside"));
    for (const job of borrowing) this.#consider(job, "borrowing");
    this.#judgeMarks();
    return {
      preemptions: this.#preemptions,
      proved: this.#proved,
      rejections: this.#rejections,
      verdicts: this.#verdicts,
      protectedJobs: this.#protectedJobs,
    };
  }

  /** No mark is wrong once a cycle is committed. */
  #judgeMarks(): void {
    const { jobs, projects, plans, local } = this.#cycle.after;
    const counted = [...jobs.values()].filter(occupies);
    const expected = borrowers(counted, projects, plans, local);
    for (const { id, key, borrowing } of counted) {
      if (expected.has(id) !== borrowing)
        throw new Error(`${key} is marked ${borrowing ? "borrowing" : "entitled"}, and is not`);
    }
    for (const job of counted) {
      if (!job.mayBorrow && expected.has(job.id) && outcomeOf(this.#cycle.effects, job))
        throw new Error(`${job.key} may not borrow, and does from the start`);
    }
  }

  /** Jobs past a closed plan leave; holds that would start past it are given back, and their jobs wait again. */
  #closeWindows(): WorldJob[] {
    const { before, effects, windowGraceSeconds } = this.#cycle;
    for (const id of effects.closed) {
      const job = before.jobs.get(id);
      if (!job) throw new Error(`${id} leaves at a close, and was not there`);
      const shut = job.quotas.map((quota) => this.#secondsShut(quota.id) ?? -1);
      const isDue = shut.some(
        (seconds) =>
          seconds >= windowGraceSeconds && job.admittedAtSeconds < before.nowSeconds - seconds,
      );
      if (!isDue || !this.#scene.marked.has(id))
        throw new Error(`${job.key} leaves at the close of a window, and need not`);
    }
    for (const id of effects.closed) {
      const job = before.jobs.get(id);
      if (job) this.#scene.close(job);
    }
    const released = [...before.jobs.values()].filter(({ id }) =>
      effects.ofJob
        .get(id)
        ?.some((effect) => effect.kind === "release" && effect.reason === "WindowClosed"),
    );
    for (const job of released) this.#scene.giveBack(job);
    return released.filter(({ isDue }) => isDue);
  }

  #settleReservations(): void {
    const { before, after, effects } = this.#cycle;
    for (const job of before.jobs.values()) {
      if (job.status !== "reserved") continue;
      const [effect] = effects.ofJob.get(job.id) ?? [];
      if (effect?.kind === "release" && effect.reason === "WindowClosed") continue;
      if (effect?.kind === "activate") {
        if (this.#isOverQuota(job))
          throw new Error(`${job.key} may not borrow, and starts past its plans`);
        this.#expectRoom(job, job.kept, (room) => room.free);
        this.#scene.startReserved(job);
        const started = after.jobs.get(job.id)?.allocated ?? {};
        if (!samePlaces(started, job.kept))
          throw new Error(`${job.key} starts elsewhere than where it is held`);
        continue;
      }
      this.#judgeReservation(job, effect);
      if (effect?.kind === "release") this.#scene.release(job);
    }
  }

  /** The plans granted what is kept for it, and do no longer. */
  #isOverQuota(job: WorldJob): boolean {
    return !job.mayBorrow && this.#scene.marked.has(job.id);
  }

  /** A hold that does not start: it waits for its victims, until its time is up or its node is gone. */
  #judgeReservation(job: WorldJob, effect: Effect | undefined): void {
    const rooms = Object.keys(job.kept).map((node) => this.#scene.capacity.room(node));
    const isLost = rooms.some((room) => !room?.node.usable);
    const isOver = (job.keptUntilSeconds ?? 0) <= this.#cycle.before.nowSeconds;
    if ((effect?.kind === "release") !== (isLost || isOver || this.#isOverQuota(job)))
      throw new Error(
        `the hold of ${job.key} is ${effect ? "given back" : "kept"}, and should not be`,
      );
    const isFree = Object.entries(job.kept).every(([node, pods]) => {
      const room = this.#scene.capacity.room(node);
      return room !== undefined && podsIn(room.free, job) >= pods;
    });
    if (isFree && !isLost && !this.#isOverQuota(job) && job.isDue)
      throw new Error(`${job.key} is held, and could start: its room is free`);
  }

  #unplaceable(job: WorldJob): string {
    const matching = this.#scene.capacity.matching(job);
    if (matching.length === 0) return "NoMatchingNode";
    return fitting(job, matching, empty) < job.parallelism ? "TooLargeForPool" : "AwaitingNodes";
  }

  /** False when the job is left for the second pass. */
  #consider(job: WorldJob, pass: Pass): boolean {
    if (this.#isUncertain) return this.#expectNothing(job);
    const rooms = this.#scene.capacity.accepting(job);
    if (fitting(job, rooms, empty) < job.parallelism)
      return this.#waits(job, this.#unplaceable(job));
    if (this.#closesTooSoon(job)) return this.#waits(job, "WindowTooShort");
    if (this.#scene.quotas.isBehind(job, this.#placeOf(job), pass === "inside"))
      return pass === "borrowing" && this.#waits(job, "BehindHeadOfQueue");
    const over = this.#scene.quotas.over(job);
    if (!job.unplanned && over.length === 0)
      return this.#scene.quotas.isAwaited(job)
        ? this.#awaitsQuota(job, rooms, pass)
        : this.#givesWay(job) || this.#start(job, rooms, false);
    if (over.some(({ id }) => this.#secondsShut(id) !== undefined))
      return this.#waits(job, "WindowClosed");
    this.#reserve(job, false);
    if (job.mayBorrow && pass === "inside") return false;
    if (job.mayBorrow) return this.#letsPass(job) || this.#start(job, rooms, true);
    if (over.length > 0 && this.#scene.quotas.isClaimed(job, this.#placeOf(job)))
      return this.#waits(job, "BehindHeadOfQueue");
    if (over.length > 0 && this.#preempts(job)) return true;
    return this.#waits(job, "WindowClosed", "QuotaExceeded", "NoQuota");
  }

  #placeOf({ id }: WorldJob): number {
    return this.#places.get(id) ?? 0;
  }

  #reserve(job: WorldJob, inside: boolean): void {
    this.#scene.quotas.reserve(job, this.#placeOf(job), inside);
  }

  /** It may borrow while others leave its plans, and evicts nobody. */
  #awaitsQuota(job: WorldJob, rooms: readonly Room[], pass: Pass): boolean {
    this.#reserve(job, true);
    if (job.mayBorrow && pass === "inside") return false;
    const fits = job.mayBorrow && fitting(job, rooms, now) >= job.parallelism;
    if (fits && this.#scene.wouldOust(job) && !outcomeOf(this.#cycle.effects, job))
      return this.#waits(job, "AwaitingRelease");
    return fits ? this.#starts(job, true) : this.#waits(job, "AwaitingRelease");
  }

  /** One that may not borrow need not start where borrowers do; that none starts wrongly is seen by the marks. */
  #givesWay(job: WorldJob): boolean {
    if (job.mayBorrow || !this.#scene.isContested(job)) return false;
    if (this.#cycle.recordActivity.explained.get(job.id)?.reason !== "QuotaExceeded") return false;
    this.#reserve(job, true);
    return this.#waits(job, "QuotaExceeded");
  }

  /** A borrower may wait for a cycle where one that may not borrow has just started under its plans. */
  #letsPass(job: WorldJob): boolean {
    const told = this.#cycle.recordActivity.explained.get(job.id);
    return (
      told?.reason === "QuotaExceeded" &&
      this.#scene.wouldOust(job) &&
      this.#waits(job, "QuotaExceeded")
    );
  }

  #start(job: WorldJob, rooms: readonly Room[], borrowing: boolean): true {
    if (fitting(job, rooms, now) >= job.parallelism) return this.#starts(job, borrowing);
    const places = bestFit(job, rooms, later);
    if (places) {
      this.#waits(job, "AwaitingRelease");
      this.#keep(job, places, borrowing);
      return true;
    }
    if (this.#preempts(job)) return true;
    this.#waits(job, ...spaceReasons);
    this.#protect(job, rooms, borrowing);
    return true;
  }

  #starts(job: WorldJob, borrowing: boolean): true {
    const outcome = outcomeOf(this.#cycle.effects, job);
    if (outcome?.kind !== "admit")
      throw new Error(`${job.key} fits and waits: ${this.#words(job)}`);
    if (outcome.borrowing !== borrowing)
      throw new Error(`${job.key} starts ${outcome.borrowing ? "borrowing" : "entitled"}`);
    const places = this.#cycle.after.jobs.get(job.id)?.allocated ?? {};
    this.#expectRoom(job, places, now);
    this.#scene.start(job, places, borrowing);
    this.#verdicts += 1;
    return true;
  }

  /** Whether it evicts others; else it must not be able to. */
  #preempts(job: WorldJob): boolean {
    const outcome = outcomeOf(this.#cycle.effects, job);
    const { isProtected, recordActivity, isQuiet } = this.#cycle;
    const preempting = new Preempting(job, this.#scene, isProtected);
    if (outcome?.kind === "preempt") {
      this.#preemptions += 1;
      this.#proved += Number(preempting.judge(outcome));
      this.#evict(job, outcome);
      this.#verdicts += 1;
      return true;
    }
    if (outcome === undefined && recordActivity.settled.has(job.id)) {
      this.#isUncertain = true;
      return true;
    }
    if (isQuiet && job.preempts) {
      this.#rejections += 1;
      if (preempting.isPossible())
        throw new Error(`${job.key} could evict others, and waits: ${this.#words(job)}`);
    }
    return false;
  }

  #waits(job: WorldJob, ...reasons: readonly string[]): true {
    const outcome = outcomeOf(this.#cycle.effects, job);
    if (outcome) throw new Error(`${job.key} should wait (${reasons.join(", ")}): ${outcome.kind}`);
    const told = this.#cycle.recordActivity.explained.get(job.id);
    if (told === undefined || told.message === "")
      throw new Error(`${job.key} waits and is not told why (${reasons.join(", ")})`);
    if (!reasons.includes(told.reason))
      throw new Error(
        `${job.key} waits for ${reasons.join(", ")}, and is told ${told.reason}: ${told.message}`,
      );
    this.#verdicts += 1;
    return true;
  }

  /** Behind a job of which nobody knows whom it evicts nothing may happen: it would lean on that. */
  #expectNothing(job: WorldJob): true {
    const outcome = outcomeOf(this.#cycle.effects, job);
    if (outcome)
      throw new Error(`${job.key} (${outcome.kind}) leans on evictions that nobody agreed to`);
    return true;
  }

  #evict(job: WorldJob, { victims, borrowing }: Extract<Effect, { kind: "preempt" }>): void {
    const { before, after } = this.#cycle;
    for (const { id } of victims) {
      const victim = before.jobs.get(id);
      if (victim) this.#scene.evict(victim);
    }
    const places = after.jobs.get(job.id)?.kept ?? {};
    this.#expectRoom(job, places, later);
    this.#scene.reservation(job, places, borrowing);
    if (!borrowing && this.#scene.borrowersNow().has(job.id))
      throw new Error(`${job.key} evicts as entitled, and others rank before it`);
  }

  #keep(job: WorldJob, places: Places, borrowing: boolean): void {
    this.#scene.capacity.keep(job, places);
    this.#reserve(job, !borrowing);
    this.#protectedJobs += 1;
  }

  /** Room on its nearest nodes is kept for a blocked job, where no other that competes with it waits already. */
  #protect(job: WorldJob, rooms: readonly Room[], borrowing: boolean): void {
    const claims = contested(job).flatMap((one) => rooms.map(({ node }) => `${one}/${node.name}`));
    if (claims.some((claim) => this.#claimed.has(claim))) return;
    const places = nearest(job, rooms);
    if (!places) return;
    for (const claim of claims) this.#claimed.add(claim);
    this.#keep(job, places, borrowing);
  }

  #expectRoom(job: WorldJob, places: Places, view: (room: Room) => readonly number[]): void {
    const accepting = this.#scene.capacity.accepting(job);
    const pods = Object.values(places).reduce((sum, count) => sum + count, 0);
    if (pods !== job.parallelism) throw new Error(`${job.key} has room for ${pods} pods`);
    for (const [node, count] of Object.entries(places)) {
      const room = accepting.find((one) => one.node.name === node);
      if (!room) throw new Error(`${job.key} is on ${node}, which does not accept it`);
      if (podsIn(view(room), job) < count)
        throw new Error(
          `${job.key} takes room on ${node} that is not there, or is kept for others`,
        );
    }
  }

  #closesTooSoon({ maxRuntimeSeconds, quotas }: WorldJob): boolean {
    if (maxRuntimeSeconds === null) return false;
    const { local } = this.#cycle.before;
    return quotas.some(({ id }) =>
      this.#plansOf(id).some((plan) => evictsWithin(plan, maxRuntimeSeconds, local)),
    );
  }

  #secondsShut(quota: string): number | undefined {
    if (!this.#shut.has(quota))
      this.#shut.set(quota, secondsShut(this.#plansOf(quota), this.#cycle.before.local));
    return this.#shut.get(quota);
  }

  #plansOf(quota: string) {
    const { plans, pool } = this.#cycle.before;
    return plans.filter(
      (plan) => plan.pool === pool && `${plan.owner}/${plan.resourceType}` === quota,
    );
  }

  #words({ id }: WorldJob): string {
    return this.#cycle.recordActivity.explained.get(id)?.message ?? "";
  }
}

/** What it competes for, by its place in a demand: GPUs and FPGAs; cores if it asks for neither. */
function contested({ perPod }: WorldJob): readonly number[] {
  const scarce = [0, 4].filter((at) => (perPod[at] ?? 0) > 0);
  return scarce.length === 0 ? [1] : scarce;
}

const samePlaces = (one: Places, other: Places): boolean =>
  Object.keys({ ...one, ...other }).every((node) => one[node] === other[node]);
