/**
 * Days of a cluster's life in seconds: the engine's own cycle and database functions on real PostgreSQL, with virtual
 * time. What the rest of the world does (users, kubelets, administrators, machines, faults) comes by chance, from a seed.
 * After every step all invariants are checked, and every cycle is judged from outside (judge/).
 *
 * The night that CI runs was seen red with each of these put into the engine, one at a time:
 * - victims: one more than needed, one too few, the borrowers, the highest priorities or the oldest first, jobs of equal
 *   priority, budgets not respected, the first node's set rather than the cheapest, more than six candidates given up on;
 * - room: holds not honoured, the GPUs of all nodes summed, nothing kept for the head of the line, nodes not avoided,
 *   others evicted although evicted pods are about to leave enough;
 * - plans: a quota ignored, nothing reserved under it for those that wait, holds that are given back still counted,
 *   marks left as they were before the cycle;
 * - the cycle: what leans on evictions nobody has agreed to is written.
 */
import type { DatabasePool } from "../../src/db/client/connection-pool.ts";
import { usagePage } from "../../src/db/reports/usage.ts";
import type { VirtualTime } from "../support/virtual-time.ts";
import { Administrators } from "./administrators.ts";
import { Faults } from "./faults.ts";
import { checkInvariants, Overcommitment } from "./invariants.ts";
import { Kubelets } from "./kubelets.ts";
import { Machines } from "./nodes.ts";
import { Operators, type Totals } from "./operators.ts";
import { Random } from "./random.ts";
import { settle } from "./settle.ts";
import { pools } from "./topology.ts";
import type { Stage } from "./context.ts";
import { type Happening, start, Timeline } from "./timeline.ts";
import { Users } from "./users.ts";

export interface SimulationOptions {
  readonly time: VirtualTime;
  readonly seed: number;
  readonly days: number;
  /** Jobs submitted in a day. */
  readonly jobsPerDay: number;
  /** Whether budgets hold victims up until they are spared. */
  readonly spares: boolean;
  /** IANA name; the days begin on the Saturday before its clocks go back in 2026. */
  readonly timeZone: string;
  /** After each day, with the steps so far. */
  readonly onDay?: (day: number, steps: number) => void;
}

export interface SimulationReport extends Totals {
  /** Preemptions for a job, judged or not. */
  readonly allPreemptions: number;
  readonly steps: number;
  readonly jobs: number;
  readonly byStatus: Readonly<Record<string, number>>;
  /** Evictions by rule. */
  readonly evictions: Readonly<Record<string, number>>;
  /** Victims that ran on, since nobody needed their room any more. */
  readonly spared: number;
  readonly gpuHours: number;
}

const daySeconds = 86_400;

export class Simulation {
  readonly #options: SimulationOptions;
  readonly #db: DatabasePool;
  readonly #timeline: Timeline;
  readonly #administrators: Administrators;
  readonly #machines: Machines;
  readonly #users: Users;
  readonly #kubelets: Kubelets;
  readonly #operators: Operators;
  readonly #faults: Faults;
  readonly #overcommitment = new Overcommitment();
  #steps = 0;
  #day = 0;
  #gpuSeconds = 0;

  constructor(options: SimulationOptions) {
    this.#options = options;
    this.#db = options.time.pool;
    const random = new Random(options.seed);
    this.#timeline = new Timeline(random);
    const stage: Stage = { db: this.#db, random, timeline: this.#timeline };
    this.#administrators = new Administrators(stage);
    this.#machines = new Machines(stage);
    this.#users = new Users(stage, this.#administrators.projects);
    this.#kubelets = new Kubelets(stage, options.spares);
    this.#operators = new Operators({
      stage,
      impatient: options.time.impatient,
      timeZone: options.timeZone,
      plans: () => this.#administrators.plans,
      isProtected: (jobId) => this.#users.isProtected(jobId),
    });
    this.#faults = new Faults(stage, {
      operators: this.#operators,
      kubelets: this.#kubelets,
      users: this.#users,
      administrators: this.#administrators,
      machines: this.#machines,
    });
  }

  /** Throws, with the seed and the step, as soon as anything is wrong. */
  async run(): Promise<SimulationReport> {
    const { days, seed } = this.#options;
    let what = "the beginning";
    try {
      await this.#begin();
      for (let next = this.#timeline.next(); next; next = this.#timeline.next()) {
        if (next.atSeconds > days * daySeconds) break;
        ({ what } = next);
        await this.#step(next);
        this.#tellDay();
      }
      what = "the end";
      await this.#checkUsage();
      return await this.#report();
    } catch (error) {
      const at = this.#timeline.now().toString();
      throw new Error(`seed ${seed}, step ${this.#steps} (${what}) at ${at}: ${String(error)}`, {
        cause: error,
      });
    }
  }

  #tellDay(): void {
    const day = Math.floor(this.#timeline.nowSeconds / daySeconds);
    if (day === this.#day) return;
    this.#day = day;
    this.#options.onDay?.(day, this.#steps);
  }

  async #begin(): Promise<void> {
    const { days, jobsPerDay, time } = this.#options;
    await time.setNow(this.#timeline.now());
    await this.#administrators.begin();
    await this.#machines.begin();
    this.#users.begin(jobsPerDay);
    this.#faults.begin();
    this.#timeline.often("evictions come to rest", 10_800, () => this.#rest());
    for (const pool of pools) this.#planWake(pool, 0);
    for (let hour = 1; hour <= 24 * days; hour += 1)
      this.#timeline.plan(3600 * hour, "a full hour, when windows open and close", nothing);
  }

  async #step({ atSeconds, act }: Happening): Promise<void> {
    this.#steps += 1;
    await this.#moveTo(atSeconds);
    await act();
    if (!this.#kubelets.isDown) await this.#settle();
    await checkInvariants(this.#db);
    await this.#overcommitment.check(this.#db, this.#machines.takeShrunk());
    if (!this.#kubelets.isDown) await this.#kubelets.look();
    await this.#checkNoneIsLost();
  }

  /** Real PostgreSQL lives in the same second; what ran meanwhile is summed for accounting. */
  async #moveTo(seconds: number): Promise<void> {
    const { rows } = await this.#db.query<{ gpus: number }>(
      `SELECT coalesce(sum(required_gpu), 0)::int AS gpus FROM jobs WHERE status IN ('starting', 'running', 'evicting')`,
    );
    this.#gpuSeconds += (rows[0]?.gpus ?? 0) * (seconds - this.#timeline.nowSeconds);
    this.#timeline.moveTo(seconds);
    await this.#options.time.setNow(this.#timeline.now());
  }

  async #settle(): Promise<void> {
    // One wake of a pool is enough: each step plans another.
    this.#timeline.forget((what) => what.startsWith("cycle of"));
    for (const pool of pools) this.#planWake(pool, await this.#operators.settle(pool));
  }

  /** A rest of a minute is for changes that were missed: here are none. */
  #planWake(pool: string, nextInstantSeconds: number): void {
    const seconds = nextInstantSeconds < 60 ? nextInstantSeconds : 900;
    this.#timeline.plan(seconds, `cycle of ${pool}`, nothing);
  }

  async #rest(): Promise<void> {
    if (this.#kubelets.isDown) return;
    await settle(this.#db, this.#users.submitted, () => this.#settle());
  }

  async #checkNoneIsLost(): Promise<void> {
    const { rows } = await this.#db.query<{ count: number }>("SELECT count(*)::int FROM jobs");
    if (rows[0]?.count !== this.#users.submitted) throw new Error("a job is lost");
  }

  async #checkUsage(): Promise<void> {
    const { rows } = await usagePage(this.#db, {
      from: start,
      to: this.#timeline.now(),
      timeZone: this.#options.timeZone,
      by: [],
      limit: 1,
    });
    const told = rows[0]?.gpuSeconds ?? 0;
    if (Math.abs(told - this.#gpuSeconds) > 1)
      throw new Error(`accounting says ${told} GPU-seconds, and ${this.#gpuSeconds} were used`);
  }

  async #report(): Promise<SimulationReport> {
    const { rows } = await this.#db.query<{ status: string; count: number }>(
      "SELECT status, count(*)::int FROM jobs GROUP BY status ORDER BY status",
    );
    const preemptionLog = await this.#db.query<{ rule: string; count: number; spared: number }>(
      `SELECT rule, count(*)::int, (count(*) FILTER (WHERE outcome = 'EvictionCancelled'))::int AS spared
       FROM preemption_victims GROUP BY rule ORDER BY rule`,
    );
    const all = await this.#db.query<{ count: number }>(
      "SELECT count(*)::int FROM preemptions WHERE preemptor IS NOT NULL",
    );
    return {
      ...this.#operators.totals,
      allPreemptions: all.rows[0]?.count ?? 0,
      steps: this.#steps,
      jobs: this.#users.submitted,
      byStatus: Object.fromEntries(rows.map(({ status, count }) => [status, count])),
      evictions: Object.fromEntries(preemptionLog.rows.map(({ rule, count }) => [rule, count])),
      spared: preemptionLog.rows.reduce((sum, { spared }) => sum + spared, 0),
      gpuHours: Math.round(this.#gpuSeconds / 3600),
    };
  }
}

const nothing = (): Promise<void> => Promise.resolve();
