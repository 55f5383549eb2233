/**
 * Days of a cluster's life in seconds: the engine's own cycle and database functions on real PostgreSQL, with virtual
 * time. What the rest of the world does (users, kubelets, administrators) comes by chance, from a seed. After every step
 * all invariants are checked, and every decision is judged from outside.
 */
import { cancelJob, endJob, markRunning, retryJob } from "../../src/db/job-progress.ts";
import { deleteNode } from "../../src/db/nodes.ts";
import { markEvicted } from "../../src/db/preemptions.ts";
import { moveSubtree } from "../../src/db/projects.ts";
import type { DatabasePool } from "../../src/db/pool.ts";
import { insertJob, setPriority, setSuspended } from "../../src/db/queue.ts";
import { usagePage } from "../../src/db/usage.ts";
import type { Clock } from "../../src/runtime/clock.ts";
import { silentLogger } from "../../src/runtime/logger.ts";
import { runCycle, type CycleDependencies } from "../../src/scheduler/cycle.ts";
import { EvictionProbe } from "../../src/scheduler/eviction-probe.ts";
import { Explanations } from "../../src/scheduler/explanations.ts";
import { PositionPace } from "../../src/scheduler/position-pace.ts";
import { WindowNotices } from "../../src/scheduler/window-notices.ts";
import type { VirtualTime } from "../support/virtual-time.ts";
import { checkInvariants, Overcommitment } from "./invariants.ts";
import { judgePool, judgeVictims } from "./judge.ts";
import { Random } from "./random.ts";
import {
  firstNodes,
  firstPlans,
  owners,
  type PoolName,
  pools,
  type SimulatedNode,
  type SimulatedPlan,
  tree,
  writeForeignUsage,
  writeNode,
  writePlan,
  writeProject,
} from "./setting.ts";

export interface SimulationOptions {
  readonly time: VirtualTime;
  readonly seed: number;
  readonly days: number;
  /** Jobs submitted in a day. */
  readonly jobsPerDay: number;
  /** IANA name; the days begin on the Saturday before its clocks go back in 2026. */
  readonly timeZone: string;
}

export interface SimulationReport {
  readonly steps: number;
  readonly cycles: number;
  readonly jobs: number;
  readonly byStatus: Readonly<Record<string, number>>;
  readonly preemptions: number;
  /** Of these, those whose victims were tried one by one. */
  readonly judgedPreemptions: number;
  readonly evictions: number;
  readonly gpuHours: number;
}

interface Happening {
  readonly atSeconds: number;
  /** Order among those of one second. */
  readonly number: number;
  readonly what: string;
  readonly act: () => Promise<void>;
}

interface JobRow {
  readonly id: string;
  readonly name: string;
  readonly pool: PoolName;
  readonly status: string;
  readonly attempt: number;
  readonly failures: number;
  readonly backoff_limit: number;
  readonly max_runtime_seconds: number | null;
  readonly suspended: boolean;
  readonly gpus: number;
}

/** In Berlin 18:00, two hours before the windows of the day close; the clocks go back in the night after. */
const start = Temporal.Instant.from("2026-10-24T16:00:00Z");
const daySeconds = 86_400;
const startDeadlineSeconds = 300;
const gibibyte = 2 ** 30;
/** More cycles at one instant than this do not come to an end. */
const mostCycles = 60;

export class Simulation {
  readonly #options: SimulationOptions;
  readonly #random: Random;
  readonly #db: DatabasePool;
  readonly #deps: CycleDependencies;
  readonly #overcommitment = new Overcommitment();
  readonly #projects = new Map<string, string>();
  readonly #plans = new Map<string, SimulatedPlan & { uid: string; generation: number }>();
  readonly #nodes = new Map<string, SimulatedNode>();
  readonly #submitted = new Set<string>();
  /** Attempts in a status that something has been planned for. */
  readonly #planned = new Set<string>();
  readonly #protected = new Set<string>();
  readonly #happenings: Happening[] = [];
  #nowSeconds = 0;
  #number = 0;
  #changed = new Set<string>();
  #mayShrink = false;
  #steps = 0;
  #cycles = 0;
  #gpuSeconds = 0;
  #judged = 0;
  readonly #explanations = new Explanations();

  constructor(options: SimulationOptions) {
    this.#options = options;
    this.#random = new Random(options.seed);
    this.#db = options.time.pool;
    const clock: Clock = {
      now: () => this.#now(),
      monotonicSeconds: () => this.#nowSeconds,
      sleep: () => Promise.reject(new Error("nothing sleeps in virtual time")),
    };
    const refusal = (jobId: string) =>
      Promise.resolve(this.#protected.has(jobId) ? "budget of a simulated team" : undefined);
    this.#deps = {
      db: this.#db,
      clock,
      logger: silentLogger,
      timeZone: options.timeZone,
      meteredTypes: ["GPU"],
      claimLimit: 10_000,
      holdSeconds: 300,
      avoidNodeSeconds: 600,
      windowWarningSeconds: 900,
      windowGraceSeconds: 300,
      notices: new WindowNotices(),
      probe: new EvictionProbe(refusal, clock),
      explain: (pool, round) => this.#explanations.hear(pool, round),
      positions: new PositionPace(clock),
      onChanged: (keys) => {
        for (const key of keys) this.#changed.add(key);
      },
      observe: () => {},
      checkpoint: () => {},
    };
  }

  #now(): Temporal.Instant {
    return start.add({ seconds: this.#nowSeconds });
  }

  #plan(afterSeconds: number, what: string, act: () => Promise<void>): void {
    this.#number += 1;
    const atSeconds = this.#nowSeconds + Math.max(0, Math.round(afterSeconds));
    this.#happenings.push({ atSeconds, number: this.#number, what, act });
  }

  #next(): Happening | undefined {
    this.#happenings.sort((a, b) => a.atSeconds - b.atSeconds || a.number - b.number);
    return this.#happenings.shift();
  }

  /** Throws, with the seed and the step, as soon as anything is wrong. */
  async run(): Promise<SimulationReport> {
    const { days, seed } = this.#options;
    let what = "the beginning";
    try {
      await this.#begin();
      const endSeconds = days * daySeconds;
      for (let next = this.#next(); next; next = this.#next()) {
        if (next.atSeconds > endSeconds) break;
        ({ what } = next);
        await this.#moveTo(next.atSeconds);
        await next.act();
        await this.#afterwards();
      }
      what = "the end";
      await this.#checkUsage();
      return await this.#report();
    } catch (error) {
      const at = this.#now().toString();
      throw new Error(`seed ${seed}, step ${this.#steps} (${what}) at ${at}: ${String(error)}`, {
        cause: error,
      });
    }
  }

  /** Real PostgreSQL lives in the same second; what ran meanwhile is summed for accounting. */
  async #moveTo(seconds: number): Promise<void> {
    const { rows } = await this.#db.query<{ gpus: number }>(
      `SELECT coalesce(sum(gpus), 0)::int AS gpus FROM jobs WHERE status IN ('starting', 'running', 'evicting')`,
    );
    this.#gpuSeconds += (rows[0]?.gpus ?? 0) * (seconds - this.#nowSeconds);
    this.#nowSeconds = seconds;
    await this.#options.time.setNow(this.#now());
  }

  async #begin(): Promise<void> {
    await this.#options.time.setNow(this.#now());
    for (const project of tree) {
      const id = this.#random.uuid();
      this.#projects.set(project.name, id);
      await writeProject(this.#db, id, project);
    }
    for (const plan of firstPlans) {
      const uid = this.#random.uuid();
      this.#plans.set(plan.name, { ...plan, uid, generation: 1 });
      await writePlan(this.#db, uid, plan, 1);
    }
    for (const node of firstNodes(this.#random)) {
      this.#nodes.set(node.name, node);
      await writeNode(this.#db, node);
    }
    this.#planArrival();
    this.#often("a job in a hurry arrives", 1800, () => this.#submit("hurry"));
    this.#often("a node changes", 7200, () => this.#changeNode());
    this.#often("foreign pods come or go", 5400, () => this.#changeForeign());
    this.#often("a user changes a job", 2400, () => this.#changeJob());
    this.#often("a plan changes", 14_400, () => this.#changePlan());
    this.#often("the tree changes", 28_800, () => this.#changeTree());
    this.#often("evictions come to rest", 21_600, () => this.#comeToRest());
    for (const pool of pools) this.#planWake(pool, 0);
    for (let hour = 1; hour <= 24 * this.#options.days; hour += 1)
      this.#plan(3600 * hour, "a full hour, when windows open and close", () => Promise.resolve());
  }

  #often(what: string, meanSeconds: number, act: () => Promise<void>): void {
    this.#plan(this.#random.seconds(meanSeconds), what, async () => {
      await act();
      this.#often(what, meanSeconds, act);
    });
  }

  #planArrival(): void {
    const mean = daySeconds / this.#options.jobsPerDay;
    this.#plan(this.#random.seconds(mean), "a job arrives", async () => {
      // Now and then a team submits many at once.
      const many = this.#random.chance(0.1) ? this.#random.whole(3, 8) : 1;
      for (let count = 0; count < many; count += 1) await this.#submit();
      this.#planArrival();
    });
  }

  /** Nothing waits before a job in a hurry, so its victims can be judged. */
  async #submit(kind: "usual" | "hurry" = "usual"): Promise<void> {
    const random = this.#random;
    const isHurried = kind === "hurry";
    const id = random.uuid();
    const project = isHurried
      ? random.of(["guests", "research"])
      : random.of([
          "vision",
          "vision-video",
          "speech",
          "speech-strict",
          "product",
          "guests",
          "research",
        ]);
    const isGang = random.chance(isHurried ? 0.2 : 0.3);
    const priority = isHurried ? 1000 : random.of([0, 0, 0, 10, 10, 20, 100]);
    // Some fit nowhere, and wait for ever behind all others.
    const single = priority === 0 ? ([0, 1, 2, 4, 8, 9] as const) : ([0, 1, 1, 2, 4, 8] as const);
    const gpus = random.of(isHurried ? [1, 2, 4] : isGang ? [0, 1, 1, 2, 2] : single);
    await insertJob(this.#db, {
      id,
      projectId: this.#projects.get(project) ?? "",
      namespace: project,
      name: `job-${this.#submitted.size}`,
      pool: project === "product" || random.chance(0.15) ? "serve" : "train",
      priority,
      priorityClass: `p${priority}`,
      preempts: priority > 0,
      parallelism: isGang ? random.whole(2, isHurried ? 2 : 4) : 1,
      perPod: {
        gpus,
        cpuMillis: random.of([500, 2000, 8000, 24_000]),
        memoryBytes: random.of([1, 4, 64]) * gibibyte,
      },
      allowsBorrowing: random.chance(0.8),
      ...(random.chance(0.3) ? { maxRuntimeSeconds: random.whole(600, 14_400) } : {}),
      backoffLimit: random.whole(0, 2),
      suspended: !isHurried && random.chance(0.05),
      queuedAt: this.#now(),
      nodeSelector: random.chance(0.15) ? { zone: `zone-${random.whole(0, 1)}` } : {},
      tolerations: random.chance(0.2) ? [{ operator: "Exists" }] : [],
      storages: [],
    });
    this.#submitted.add(id);
    if (random.chance(0.05)) this.#protected.add(id);
  }

  /** A node shrinks, is cordoned, leaves for a while, or is as it was. */
  async #changeNode(): Promise<void> {
    const node = this.#random.some([...this.#nodes.values()]);
    if (!node) return;
    this.#mayShrink = true;
    const dice = this.#random.whole(0, 3);
    if (dice === 0) return writeNode(this.#db, node, { gpus: Math.max(0, node.gpus - 2) });
    if (dice === 1) return writeNode(this.#db, node, { schedulable: false });
    if (dice === 2) return writeNode(this.#db, node);
    await deleteNode(this.#db, node.name);
    this.#plan(40, "pods of a lost node are given up", () => this.#giveUp(node.name));
    this.#plan(this.#random.seconds(3600), "a node comes back", async () => {
      await writeNode(this.#db, node);
    });
  }

  async #giveUp(node: string): Promise<void> {
    const { rows } = await this.#db.query<JobRow>(
      "SELECT * FROM jobs WHERE id IN (SELECT job_id FROM allocations WHERE node_name = $1) ORDER BY name",
      [node],
    );
    for (const job of rows) await this.#retry(job, "PodsLost", false);
  }

  async #changeForeign(): Promise<void> {
    const node = this.#random.some([...this.#nodes.keys()]);
    if (node === undefined) return;
    this.#mayShrink = true;
    const isThere = this.#random.chance(0.6);
    await writeForeignUsage(this.#db, node, {
      gpus: isThere ? this.#random.whole(0, 2) : 0,
      cpuMillis: isThere ? 4000 : 0,
      memoryBytes: 0,
      pods: isThere ? 3 : 0,
    });
  }

  async #someJob(statuses: readonly string[]): Promise<JobRow | undefined> {
    const { rows } = await this.#db.query<JobRow>(
      "SELECT * FROM jobs WHERE status = ANY ($1::job_status[]) ORDER BY name",
      [statuses],
    );
    return this.#random.some(rows);
  }

  async #changeJob(): Promise<void> {
    const dice = this.#random.whole(0, 3);
    if (dice === 0) {
      const job = await this.#someJob(["pending", "evicted", "held", "starting", "running"]);
      if (job) await cancelJob(this.#db, { id: job.id, reason: "Deleted", message: "by its user" });
      return;
    }
    if (dice === 1) {
      const job = await this.#someJob(["pending", "evicted", "held"]);
      const priority = this.#random.of([0, 10, 20, 100]);
      if (!job) return;
      const change = { priority, priorityClass: `p${priority}`, preempts: priority > 0 };
      await setPriority(this.#db, { id: job.id, ...change });
      return;
    }
    const job = await this.#someJob(["pending", "evicted", "starting", "running"]);
    if (!job) return;
    const suspended = !job.suspended;
    await setSuspended(this.#db, { id: job.id, suspended });
    if (suspended && (job.status === "starting" || job.status === "running"))
      await this.#retry(job, "Suspended", false);
  }

  async #changePlan(): Promise<void> {
    const plan = this.#random.some([...this.#plans.values()]);
    if (!plan) return;
    const quantity = Math.max(0, plan.quantity + this.#random.whole(-6, 6));
    const next = { ...plan, quantity, generation: plan.generation + 1 };
    await writePlan(this.#db, plan.uid, next, next.generation);
    this.#plans.set(plan.name, next);
  }

  async #changeTree(): Promise<void> {
    const random = this.#random;
    if (random.chance(0.5)) {
      const parent = random.of(["research", "product", "company"]);
      await moveSubtree(this.#db, this.#projects.get("vision") ?? "", parent);
      return;
    }
    const id = await this.#db.query<{ id: number }>("SELECT ensure_owner('Group', $1) AS id", [
      random.of(owners),
    ]);
    await this.#db.query("UPDATE projects SET owner_id = $2 WHERE id = $1", [
      this.#projects.get(random.of(["vision-video", "product"])),
      id.rows[0]?.id,
    ]);
  }

  /** Time stands still and victims leave at once: evictions that never end would be a cycle of preemption. */
  async #comeToRest(): Promise<void> {
    const rounds = 2 * this.#submitted.size + 20;
    for (let round = 0; round < rounds; round += 1) {
      await this.#settle();
      const { rows } = await this.#db.query<JobRow>(
        "SELECT * FROM jobs WHERE status = 'evicting' ORDER BY name",
      );
      if (rows.length === 0) return;
      for (const job of rows) await markEvicted(this.#db, job);
    }
    throw new Error(`evictions go on after ${rounds} rounds without any other change`);
  }

  /** Cycles of all pools until nothing changes any more at this instant. */
  async #settle(): Promise<void> {
    for (const pool of pools) {
      for (let count = 0; ; count += 1) {
        if (count > mostCycles) throw new Error(`the cycles of ${pool} do not settle`);
        const before = this.#changed;
        this.#changed = new Set();
        const last = await this.#lastPreemption();
        const report = await runCycle(this.#deps, pool, AbortSignal.timeout(60_000));
        this.#cycles += 1;
        await this.#judgePreemptions(pool, last);
        const isQuiet = this.#changed.size === 0 && !report.isUnfinished;
        this.#changed = before.union(this.#changed);
        if (!isQuiet) continue;
        this.#planWake(pool, report.nextInstantSeconds);
        break;
      }
    }
  }

  /** A rest of a minute is for changes that were missed: here are none. */
  #planWake(pool: string, nextInstantSeconds: number): void {
    const seconds = nextInstantSeconds < 60 ? nextInstantSeconds : 900;
    this.#plan(seconds, `cycle of ${pool}`, () => Promise.resolve());
  }

  async #lastPreemption(): Promise<readonly string[]> {
    const { rows } = await this.#db.query<{ id: string }>("SELECT id FROM preemptions");
    return rows.map(({ id }) => id);
  }

  /** Of a cycle with one preemption: a second one may have left room that the first would not have known. */
  async #judgePreemptions(pool: string, known: readonly string[]): Promise<void> {
    const before = new Set(known);
    const fresh = (await this.#lastPreemption()).filter((id) => !before.has(id));
    const [only] = fresh;
    if (only === undefined || fresh.length > 1) return;
    if (await judgeVictims(this.#db, pool, only)) this.#judged += 1;
  }

  async #afterwards(): Promise<void> {
    this.#steps += 1;
    this.#forgetDoubleWakes();
    await this.#settle();
    await checkInvariants(this.#db);
    await this.#overcommitment.check(this.#db, this.#mayShrink);
    this.#mayShrink = false;
    const local = this.#now().toZonedDateTimeISO(this.#options.timeZone);
    const explanations = { get: (jobId: string) => this.#explanations.latest(jobId) };
    const plans = [...this.#plans.values()];
    for (const pool of pools) await judgePool(this.#db, { pool, plans, explanations, local });
    await this.#planLives();
    await this.#checkNoneIsLost();
  }

  /** One wake of a pool is enough: each step plans another. */
  #forgetDoubleWakes(): void {
    const kept = this.#happenings.filter(({ what }) => !what.startsWith("cycle of"));
    this.#happenings.splice(0, this.#happenings.length, ...kept);
  }

  async #checkNoneIsLost(): Promise<void> {
    const { rows } = await this.#db.query<{ count: number }>("SELECT count(*)::int FROM jobs");
    if (rows[0]?.count !== this.#submitted.size) throw new Error("a job is lost");
  }

  /** Kubelets: what becomes of attempts that nobody has thought of yet. */
  async #planLives(): Promise<void> {
    const { rows } = await this.#db.query<JobRow>(
      "SELECT * FROM jobs WHERE status IN ('starting', 'running', 'evicting') ORDER BY name",
    );
    for (const job of rows) {
      const key = `${job.id}/${job.attempt}/${job.status}`;
      if (this.#planned.has(key)) continue;
      this.#planned.add(key);
      if (job.status === "starting") this.#planStart(job);
      else if (job.status === "running") this.#planRun(job);
      else this.#planEviction(job);
    }
  }

  #planStart(job: JobRow): void {
    if (this.#random.chance(0.04)) {
      this.#plan(startDeadlineSeconds, "a start deadline passes", () =>
        this.#retry(job, "StartDeadlineExceeded", false),
      );
      return;
    }
    this.#plan(this.#random.whole(0, 60), "a gang runs", async () => {
      await markRunning(this.#db, job);
    });
  }

  #planRun(job: JobRow): void {
    const seconds = this.#random.seconds(5 * 3600);
    const limit = job.max_runtime_seconds ?? Infinity;
    const fails = this.#random.chance(0.12) || seconds > limit;
    this.#plan(Math.min(seconds, limit), fails ? "a gang fails" : "a gang succeeds", () =>
      fails ? this.#retry(job, "PodFailed", true) : this.#succeed(job),
    );
  }

  #planEviction(job: JobRow): void {
    if (this.#random.chance(0.1)) {
      this.#plan(20, "a victim finishes first", () => this.#succeed(job));
      return;
    }
    this.#plan(this.#random.of([0, 30, 60, 120, 400]), "a victim has left", async () => {
      await markEvicted(this.#db, job);
    });
  }

  async #succeed(job: JobRow): Promise<void> {
    await endJob(this.#db, { ...job, outcome: "succeeded", reason: "Completed", message: "well" });
  }

  async #retry(job: JobRow, reason: string, countsAsFailure: boolean): Promise<void> {
    const said = { id: job.id, attempt: job.attempt, reason, message: "as simulated" };
    if (countsAsFailure && job.failures + 1 > job.backoff_limit) {
      await endJob(this.#db, { ...said, outcome: "failed" });
      return;
    }
    const notBeforeSeconds = countsAsFailure ? 10 * 2 ** job.failures : 0;
    await retryJob(this.#db, { ...said, countsAsFailure, notBeforeSeconds });
  }

  async #checkUsage(): Promise<void> {
    const { rows } = await usagePage(this.#db, {
      from: start,
      to: this.#now(),
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
    const ledger = await this.#db.query<{ preemptions: number; evictions: number }>(
      "SELECT count(DISTINCT preemption_id)::int AS preemptions, count(*)::int AS evictions FROM preemption_victims",
    );
    return {
      steps: this.#steps,
      cycles: this.#cycles,
      jobs: this.#submitted.size,
      byStatus: Object.fromEntries(rows.map(({ status, count }) => [status, count])),
      preemptions: ledger.rows[0]?.preemptions ?? 0,
      judgedPreemptions: this.#judged,
      evictions: ledger.rows[0]?.evictions ?? 0,
      gpuHours: Math.round(this.#gpuSeconds / 3600),
    };
  }
}
