/**
 * Schedules all pools: one loop per pool, started when the pool is first seen, and the wait reasons from their cycles.
 * It runs once per term. Between terms it has no state and ignores wake-ups, since a term starts with all pools.
 */
import type { Queryable } from "../db/client/types.ts";
import { readPools } from "../db/scheduling/lock.ts";
import { sleepUnlessAborted } from "../runtime/clock.ts";
import { errorText } from "../runtime/logger.ts";
import type { Metrics } from "../runtime/metrics.ts";
import { runCycle } from "./cycle.ts";
import type { CycleDependencies } from "./cycle.ts";
import { cycleObserver } from "./cycle-report.ts";
import { EvictionProbe } from "./eviction-probe.ts";
import type { ProbeGang } from "./eviction-probe.ts";
import { PoolLoop } from "./pool-loop.ts";
import type { CycleReport } from "./pool-loop.ts";
import { QuotaWaits } from "./quota-waits.ts";
import { SearchTurns } from "./search-turns.ts";
import { PositionPace } from "./wait-reasons/position-pace.ts";
import { PublishLoop } from "./wait-reasons/publish-loop.ts";
import { WaitReasonPublisher } from "./wait-reasons/publisher.ts";
import type { Explanation } from "./wait-reasons/publisher.ts";
import { WindowNotices } from "./windows/notices.ts";
import type { Notice as WindowNotice } from "./windows/notices.ts";

/** Options of the caller; the scheduler creates the other dependencies of a cycle. */
export interface SchedulerOptions extends Omit<
  CycleDependencies,
  "notices" | "probe" | "explain" | "positions" | "turns" | "observe" | "expectSameDatabase"
> {
  readonly probeGang: ProbeGang;
  /** How long a budget protects a job that borrows; 0: without limit. */
  readonly maxBudgetDelaySeconds: number;
  readonly metrics: Metrics;
  /** Waiting jobs (namespace/name) whose status needs a write for their explanation. */
  readonly onExplained: (keys: readonly string[]) => void;
}

/** One term of scheduling. */
export interface SchedulingTerm {
  /** Aborted: no further cycle starts. */
  readonly stopping: AbortSignal;
  /** Aborted: cycles in progress stop. */
  readonly signal: AbortSignal;
  /** Throws if the database was replaced and may lag behind the cluster. */
  readonly expectSameDatabase: (db: Queryable) => Promise<void>;
  /** Runs a cycle once the database has been compared with the cluster. */
  readonly guard: (cycle: () => Promise<CycleReport>) => Promise<CycleReport>;
}

/** How often to search for pools that no event named. */
const poolSearchSeconds = 30;

export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #explanations = new WaitReasonPublisher();
  readonly #notices = new WindowNotices();
  readonly #quotaWaits = new QuotaWaits();
  readonly #turns = new SearchTurns();
  readonly #publishing: PublishLoop;
  readonly #cycle: CycleDependencies;
  readonly #loops = new Map<string, PoolLoop>();
  readonly #running = new Set<Promise<void>>();
  #term: SchedulingTerm | undefined;

  constructor(options: SchedulerOptions) {
    const { clock, logger, metrics, probeGang, onExplained, maxBudgetDelaySeconds } = options;
    this.#options = options;
    this.#publishing = new PublishLoop(this.#explanations, clock, onExplained);
    this.#cycle = {
      ...options,
      notices: this.#notices,
      probe: new EvictionProbe(probeGang, clock, maxBudgetDelaySeconds || undefined, (job, error) =>
        logger.warn("the dry run of an eviction failed", { job, error: errorText(error) }),
      ),
      explain: (pool, round) => {
        this.#explanations.record(pool, round);
        this.#publishing.wake();
      },
      positions: new PositionPace(clock),
      turns: this.#turns,
      observe: cycleObserver(metrics),
      expectSameDatabase: async (db) => this.#term?.expectSameDatabase(db),
    };
  }

  /** Something changed in the pool; undefined: in any pool. Ignored between terms. */
  wake(pool: string | undefined): void {
    if (pool === undefined) {
      for (const loop of this.#loops.values()) loop.wake();
      return;
    }
    const loop = this.#loops.get(pool);
    if (loop) loop.wake();
    else this.#startLoop(pool);
  }

  /** The ResourceQuotas of the namespace may have more room, for jobs of any pool. */
  wakeForQuota(namespace: string): void {
    for (const pool of this.#quotaWaits.poolsOf(namespace)) this.wake(pool);
  }

  /** Why the job waits, as shown in its status. */
  explanation(jobId: string): Explanation | undefined {
    return this.#explanations.get(jobId);
  }

  /** The notice for a running job whose plan's window closes and evicts. */
  windowNotice(pool: string, jobId: string): WindowNotice | undefined {
    return this.#notices.get(pool, jobId);
  }

  /** Runs until the term stops and all cycles in progress have ended. */
  async run(term: SchedulingTerm): Promise<void> {
    const { stopping } = term;
    this.#term = term;
    const publishing = this.#publishing.run(stopping);
    while (!stopping.aborted) {
      await this.#findPools();
      await sleepUnlessAborted(this.#options.clock, poolSearchSeconds, stopping);
    }
    await Promise.all([publishing, ...this.#running]);
    this.#term = undefined;
    this.#loops.clear();
    this.#explanations.clear();
    this.#notices.clear();
    this.#quotaWaits.clear();
    this.#turns.clear();
  }

  async #findPools(): Promise<void> {
    const { db, logger } = this.#options;
    try {
      for (const pool of await readPools(db)) {
        if (!this.#loops.has(pool)) this.#startLoop(pool);
      }
    } catch (error) {
      logger.warn("failed to read the pools", { error: errorText(error) });
    }
  }

  #startLoop(pool: string): void {
    const term = this.#term;
    if (term === undefined || term.stopping.aborted) return;
    const { clock, logger } = this.#options;
    // Not `stopping`, which only prevents further cycles.
    const cycle = () => term.guard(() => this.#runCycle(pool, term.signal));
    const loop = new PoolLoop({ pool, cycle, clock, logger });
    this.#loops.set(pool, loop);
    const running = loop.run(term.stopping).finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  async #runCycle(pool: string, signal: AbortSignal): Promise<CycleReport> {
    this.#quotaWaits.begin(pool);
    const outcome = await runCycle(this.#cycle, pool, signal);
    this.#quotaWaits.record(pool, outcome.heldBackIn);
    return outcome;
  }
}
