/**
 * Operators at work: cycles of each pool until nothing changes any more, every one of them judged. Faults may be asked
 * for: they strike in the next cycle that has anything to decide.
 */
import type { PoolClient } from "pg";
import type { DatabasePool } from "../../src/db/client/connection-pool.ts";
import type { Queryable } from "../../src/db/client/types.ts";
import { noEffects, readEffects } from "./judge/effects.ts";
import type { NaivePlan } from "./judge/plans.ts";
import { type Findings, judgeCycle } from "./judge/replay.ts";
import { readWorld, type World } from "./judge/world.ts";
import { interruptible, type Interruption } from "./interruptions.ts";
import { Operator, type Ran, windowGraceSeconds } from "./operator.ts";
import type { Stage } from "./context.ts";

/** More cycles at one instant than this do not come to an end. */
const maxCycles = 60;

export type Fault =
  /** The process is gone at this point of the cycle. */
  | { readonly kind: "crash"; readonly at: string }
  /** The database ends the connection after this point. */
  | { readonly kind: "disconnect"; readonly at: string }
  /** Somebody changes something after this point, before the cycle's next statement. */
  | { readonly kind: "change"; readonly at: string; readonly act: (db: Queryable) => Promise<void> }
  /** Two operators run their cycles at once. */
  | { readonly kind: "two" };

class Crash extends Error {}

export interface OperatorsOptions {
  readonly stage: Stage;
  /** Gives up on locks at once. */
  readonly impatient: DatabasePool;
  readonly timeZone: string;
  readonly plans: () => readonly NaivePlan[];
  readonly isProtected: (jobId: string) => boolean;
}

export interface Totals extends Findings {
  readonly cycles: number;
  readonly judgedCycles: number;
  readonly faults: Readonly<Record<string, number>>;
}

export class Operators {
  readonly #options: OperatorsOptions;
  #leader: Operator;
  #follower: Operator;
  #armed: Fault | undefined;
  /** The fault that struck in this cycle. */
  #struck: Fault | undefined;
  #interruption: Interruption | undefined;
  /** What could not be done in mid-flight, because the cycle had locked it. */
  #postponed: (() => Promise<void>) | undefined;
  readonly #faults: Record<string, number> = {};
  #cycles = 0;
  #judgedCycles = 0;
  #findings: Findings = { preemptions: 0, proved: 0, rejections: 0, verdicts: 0, protectedJobs: 0 };

  constructor(options: OperatorsOptions) {
    this.#options = options;
    this.#leader = this.#newOperator();
    this.#follower = this.#newOperator();
  }

  get totals(): Totals {
    return {
      ...this.#findings,
      cycles: this.#cycles,
      judgedCycles: this.#judgedCycles,
      faults: this.#faults,
    };
  }

  arm(fault: Fault): void {
    this.#armed = fault;
  }

  /** Whoever comes next remembers nothing. */
  restart(): void {
    this.#leader = this.#newOperator();
  }

  handOver(): void {
    [this.#leader, this.#follower] = [this.#follower, this.#leader];
  }

  /** Returns the seconds until the next instant at which the answer may differ. */
  async settle(pool: string): Promise<number> {
    let before = await this.#read(pool);
    for (let count = 0; count <= maxCycles; count += 1) {
      const ran = await this.#run(pool);
      if (ran === undefined) {
        before = await this.#read(pool);
        continue;
      }
      const after = ran.isChanged ? await this.#read(pool) : before;
      await this.#judge(before, after, ran);
      if (!ran.isChanged && !ran.isUnfinished) return ran.nextInstantSeconds;
      before = after;
    }
    throw new Error(`the cycles of ${pool} do not settle`);
  }

  #newOperator(): Operator {
    const { stage, timeZone, isProtected } = this.#options;
    const take = (): Interruption | undefined => {
      const taken = this.#interruption;
      this.#interruption = undefined;
      return taken;
    };
    return new Operator({
      db: interruptible(stage.db, take),
      timeline: stage.timeline,
      timeZone,
      isProtected,
      checkpoint: (name) => this.#pass(name),
    });
  }

  #pass(name: string): void {
    const fault = this.#armed;
    if (fault === undefined || fault.kind === "two" || fault.at !== name) return;
    this.#strike(fault);
    if (fault.kind === "crash") throw new Crash(name);
    this.#interruption =
      fault.kind === "disconnect"
        ? (client) => this.#disconnect(client)
        : () => this.#change(fault.act);
  }

  #strike(fault: Fault): void {
    this.#armed = undefined;
    this.#struck = fault;
    this.#faults[fault.kind] = (this.#faults[fault.kind] ?? 0) + 1;
  }

  async #disconnect(client: PoolClient): Promise<void> {
    const { rows } = await client.query<{ pid: number }>("SELECT pg_backend_pid() AS pid");
    await this.#options.stage.db.query("SELECT pg_terminate_backend($1, 5000)", [rows[0]?.pid]);
  }

  async #change(act: (db: Queryable) => Promise<void>): Promise<void> {
    const { impatient, stage } = this.#options;
    try {
      await act(impatient);
    } catch {
      this.#postponed = () => act(stage.db);
    }
  }

  /** One cycle; undefined when a fault struck in it, so that before and after say nothing of it. */
  async #run(pool: string): Promise<Ran | undefined> {
    this.#struck = undefined;
    this.#cycles += 1;
    if (this.#armed?.kind === "two") {
      this.#strike(this.#armed);
      await Promise.all([this.#leader.cycle(pool), this.#follower.cycle(pool)]);
      return undefined;
    }
    try {
      const ran = await this.#leader.cycle(pool);
      return this.#struck === undefined ? ran : undefined;
    } catch (error) {
      if (this.#struck === undefined) throw error;
      if (error instanceof Crash) this.restart();
      return undefined;
    } finally {
      this.#interruption = undefined;
      await this.#postponed?.();
      this.#postponed = undefined;
    }
  }

  #read(pool: string): Promise<World> {
    const { stage, timeZone, plans } = this.#options;
    return readWorld(stage.db, pool, { now: stage.timeline.now(), timeZone, plans: plans() });
  }

  async #judge(before: World, after: World, ran: Ran): Promise<void> {
    const { stage, isProtected } = this.#options;
    const effects = ran.isChanged ? await readEffects(stage.db, before) : noEffects;
    const isQuiet = !ran.isChanged && !ran.isUnfinished;
    const { recordActivity } = ran;
    const found = judgeCycle({
      before,
      after,
      effects,
      recordActivity,
      isQuiet,
      isProtected,
      windowGraceSeconds,
    });
    this.#judgedCycles += 1;
    this.#findings = sumOf(this.#findings, found);
  }
}

const sumOf = (one: Findings, other: Findings): Findings => ({
  preemptions: one.preemptions + other.preemptions,
  proved: one.proved + other.proved,
  rejections: one.rejections + other.rejections,
  verdicts: one.verdicts + other.verdicts,
  protectedJobs: one.protectedJobs + other.protectedJobs,
});
