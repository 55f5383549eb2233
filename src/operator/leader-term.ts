/** What the leader does, term by term: controllers fed by the caches, and the scheduler. */
import { connectSources, enqueueAll, tenantsOf } from "../controllers/watches.ts";
import type { KeySinks } from "../controllers/watches.ts";
import type { Context, TenantsPort } from "../controllers/context.ts";
import { reconcileConfigMaps } from "../controllers/config/config-maps.ts";
import { reconcileConfigCommit } from "../controllers/config/commit.ts";
import { createJobCounters } from "../controllers/job/metrics.ts";
import { stageOf, wasQueued } from "../controllers/job/observed-state.ts";
import { showStuckPods } from "../controllers/job/stuck-pods.ts";
import { pruneNowAndThen } from "./history-cleaner.ts";
import { probeGang } from "../controllers/job/pods.ts";
import { reconcileJob } from "../controllers/job/reconciler.ts";
import { reconcileNode } from "../controllers/mirrors/node.ts";
import { reconcilePriorityClass } from "../controllers/mirrors/priority-class.ts";
import { reconcileProjects } from "../controllers/project/reconciler.ts";
import { reconcilePlans } from "../controllers/plan/reconciler.ts";
import { expectSameDatabase, readDatabaseIdentity } from "../db/client/identity.ts";
import { migrate } from "../db/client/migrate.ts";
import { readPools } from "../db/scheduling/lock.ts";
import { laggingJobs } from "../db/jobs/recover.ts";
import type { KnownJob } from "../db/jobs/recover.ts";
import type { RunningInformers } from "./informers.ts";
import { RotaError } from "../errors.ts";
import { runCycle } from "../scheduler/cycle.ts";
import type { CycleDependencies } from "../scheduler/cycle.ts";
import { cycleObserver } from "../scheduler/cycle-metrics.ts";
import { EvictionProbe } from "../scheduler/eviction-probe.ts";
import { PublishLoop } from "../scheduler/wait-reasons/publish-loop.ts";
import { WaitReasonPublisher } from "../scheduler/wait-reasons/publisher.ts";
import { PositionPace } from "../scheduler/wait-reasons/position-pace.ts";
import type { CycleReport } from "../scheduler/pool-loop.ts";
import { Scheduler } from "../scheduler/scheduler.ts";
import { WindowNotices } from "../scheduler/windows/notices.ts";
import { createBatchController } from "../runtime/batch-controller.ts";
import { aborted, sleepUnlessAborted, startTimer } from "../runtime/clock.ts";
import { createController } from "../runtime/controller.ts";
import type { Reconcile } from "../runtime/controller.ts";
import type { Controller } from "../runtime/queue-worker.ts";
import type { Metrics } from "../runtime/metrics.ts";
import { limitedLogger } from "../runtime/limited-logger.ts";
import { errorText } from "../runtime/logger.ts";
import { resync } from "../runtime/resync.ts";

export interface WorkParts extends Omit<
  Context,
  "scheduler" | "informers" | "owned" | "counters" | "tenants"
> {
  readonly informers: RunningInformers;
  readonly metrics: Metrics;
}

/** When the work of a term has to end. */
export interface TermSignals {
  /** Begin nothing new, and finish what is under way. */
  readonly stopping: AbortSignal;
  /** Stop at once: another may lead soon. */
  readonly signal: AbortSignal;
}

const resyncSeconds = 600;
const maxAdoptionSeconds = 60;
/** In the log, of those that could not be adopted. */
const maxNamedJobs = 20;
const concurrency = { jobs: 64, commits: 4, mirrors: 4 } as const;

/** Of one statement; each may need several writes to the API server. */
const maxProjectsAtOnce = 2_000;
const projectBatchSeconds = 600;

type Controllers = Readonly<Record<keyof KeySinks, Controller>>;

function createControllers(context: Context, metrics: Metrics): Controllers {
  const { clock } = context;
  const logger = limitedLogger(context.logger, clock);
  const make = (name: string, slots: number, reconcile: Reconcile) =>
    createController({ name, concurrency: slots, reconcile, clock, logger, metrics });
  const jobs = make("job", concurrency.jobs, reconcileJob(context));
  const priorityClasses = reconcilePriorityClass(context, jobs);
  return {
    projects: createBatchController({
      name: "project",
      reconcile: reconcileProjects(context),
      maxKeys: maxProjectsAtOnce,
      timeoutSeconds: projectBatchSeconds,
      clock,
      logger,
      metrics,
    }),
    plans: createBatchController({
      name: "resourceplan",
      reconcile: reconcilePlans(context),
      // A refused plan must not be tried while the one it collides with is being changed.
      batchesAtOnce: 1,
      clock,
      logger,
      metrics,
    }),
    jobs,
    commits: make("configcommit", concurrency.commits, reconcileConfigCommit(context)),
    priorityClasses: make("priorityclass", concurrency.mirrors, priorityClasses),
    nodes: make("node", concurrency.mirrors, reconcileNode(context)),
    configMaps: createBatchController({
      name: "configmap",
      reconcile: reconcileConfigMaps(context),
      clock,
      logger,
      metrics,
    }),
  };
}

/** Changes go to the controllers of the present term; between terms nobody needs them: a term begins with everything. */
function sinksOf(current: () => Controllers | undefined): KeySinks {
  const to = (name: keyof KeySinks) => ({
    enqueue: (key: string) => current()?.[name].enqueue(key),
    enqueueAfter: (key: string, seconds: number) => current()?.[name].enqueueAfter(key, seconds),
  });
  return {
    projects: to("projects"),
    plans: to("plans"),
    jobs: to("jobs"),
    commits: to("commits"),
    priorityClasses: to("priorityClasses"),
    nodes: to("nodes"),
    configMaps: to("configMaps"),
  };
}

class Term {
  readonly controllers: Controllers;
  readonly #parts: WorkParts;
  readonly #context: Context;
  readonly #scheduler: Scheduler;
  readonly #explaining: PublishLoop;
  readonly #signals: TermSignals;
  /** The database that was compared with the cluster. */
  #identity = "";
  /** Cycles wait for it. */
  #comparing: Promise<void> | undefined;
  /** Ends reconciles and cycles: when the term ends, or when the drain has run out of time. */
  readonly #end = new AbortController();

  constructor(parts: WorkParts, tenants: TenantsPort, signals: TermSignals) {
    const { db, clock, logger } = parts;
    this.#signals = signals;
    const explanations = new WaitReasonPublisher();
    const notices = new WindowNotices();
    this.#parts = parts;
    this.#scheduler = new Scheduler({
      clock,
      logger,
      pools: () => readPools(db),
      cycle: (pool) => this.#cycle(dependencies, pool),
    });
    this.#context = {
      ...parts,
      owned: parts.informers.owned,
      tenants,
      scheduler: {
        wake: (pool) => this.#scheduler.wake(pool),
        explanation: (jobId) => explanations.get(jobId),
        windowNotice: (pool, jobId) => notices.get(pool, jobId),
      },
      counters: createJobCounters(parts.metrics),
    };
    this.controllers = createControllers(this.#context, parts.metrics);
    const { jobs } = this.controllers;
    const enqueueJobs = (keys: readonly string[]): void => {
      for (const key of keys) jobs.enqueue(key);
    };
    this.#explaining = new PublishLoop(explanations, clock, enqueueJobs);
    const dependencies: CycleDependencies = {
      ...parts,
      timeZone: parts.settings.timeZone,
      meteredTypes: parts.settings.meteredTypes,
      claimLimit: parts.settings.claimLimit,
      reservationSeconds: parts.settings.reservationSeconds,
      avoidNodeSeconds: parts.settings.avoidNodeSeconds,
      windowWarningSeconds: parts.settings.windowWarningSeconds,
      windowGraceSeconds: parts.settings.windowGraceSeconds,
      notices,
      probe: new EvictionProbe(probeGang(this.#context), clock),
      explain: (pool, round) => {
        explanations.record(pool, round);
        this.#explaining.wake();
      },
      positions: new PositionPace(clock),
      onChanged: enqueueJobs,
      observe: cycleObserver(parts.metrics),
      expectSameDatabase: (client) => expectSameDatabase(client, this.#identity),
    };
  }

  async #cycle(dependencies: CycleDependencies, pool: string): Promise<CycleReport> {
    try {
      await this.#comparing;
      // Not the scheduler's own signal, which says that no further cycle begins.
      return await runCycle(dependencies, pool, this.#end.signal);
    } catch (error) {
      if (!(error instanceof RotaError) || error.code !== "DatabaseReplaced") throw error;
      this.#comparing ??= this.#compareAgain().finally(() => {
        this.#comparing = undefined;
      });
      await this.#comparing;
      return { isUnfinished: true, nextInstantSeconds: 0 };
    }
  }

  /** As at the start of a term: a server that took over, or a backup, may be older than the cluster, in its schema too. */
  async #compareAgain(): Promise<void> {
    const { db, logger, settings } = this.#parts;
    logger.warn(
      "the database was restarted, restored or replaced: all is compared with the cluster",
    );
    await migrate(settings.databaseUrl);
    await db.learnTypes();
    const identity = await readDatabaseIdentity(db);
    await enqueueAll(this.#context, this.controllers);
    const { signal, stopping } = this.#signals;
    await this.#adoptLaggingJobs(AbortSignal.any([signal, stopping]));
    this.#identity = identity;
  }

  /**
   * A database that lost its content, or was brought back to an earlier state, must know what runs before anything is
   * started beside it. The controllers adopt; this waits for them, for a while: a job that cannot be adopted must not
   * hold up all others for ever.
   */
  async #adoptLaggingJobs(signal: AbortSignal): Promise<void> {
    const { db, clock, logger } = this.#parts;
    const deadline = clock.monotonicSeconds() + maxAdoptionSeconds;
    let lagging = await laggingJobs(db, this.#knownJobs());
    if (lagging.length > 0)
      logger.warn("the database lags behind the cluster", { jobs: lagging.length });
    while (lagging.length > 0 && clock.monotonicSeconds() < deadline && !signal.aborted) {
      await sleepUnlessAborted(clock, 0.2, signal);
      const still = new Set(lagging);
      lagging = await laggingJobs(
        db,
        this.#knownJobs().filter(({ id }) => still.has(id)),
      );
    }
    if (lagging.length > 0)
      logger.error("scheduling begins though jobs are not adopted", {
        jobs: lagging.length,
        first: lagging.slice(0, maxNamedJobs),
      });
  }

  /** Jobs by their status, which was written from a row: no row is older than it, unless the database is. */
  #knownJobs(): KnownJob[] {
    return [...this.#parts.informers.jobs.store.values()].filter(wasQueued).map((job) => ({
      id: job.uid,
      attempt: job.status.attempt ?? 0,
      stage: stageOf(job),
    }));
  }

  /** Everything is looked at again now and then, spread over time: drift that no change told of is mended. */
  #startResyncs(signal: AbortSignal): void {
    const { informers, clock, logger } = this.#parts;
    const pairs = [
      [informers.jobs, this.controllers.jobs],
      [informers.projects, this.controllers.projects],
      [informers.plans, this.controllers.plans],
      [informers.nodes, this.controllers.nodes],
    ] as const;
    for (const [{ store }, controller] of pairs) {
      resync({
        keys: () => store.keys(),
        enqueue: (key, options) => controller.enqueue(key, options),
        periodSeconds: resyncSeconds,
        clock,
        signal,
      }).catch((error: unknown) => logger.error("a resync ended", { error: errorText(error) }));
    }
  }

  get context(): Context {
    return this.#context;
  }

  /** Works until told to stop, then finishes what is under way; stops at once when the term ends. */
  async run(): Promise<void> {
    const { signal, stopping } = this.#signals;
    const until = AbortSignal.any([signal, stopping]);
    const stop = (): void => this.#end.abort(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    try {
      this.#identity = await readDatabaseIdentity(this.#parts.db);
      await enqueueAll(this.#context, this.controllers);
      for (const controller of this.#all) controller.start(this.#end.signal);
      this.#startResyncs(until);
      void pruneNowAndThen(this.#parts, until);
      void this.#explaining.run(until);
      this.#parts.logger.info("this operator leads");
      await this.#adoptLaggingJobs(until);
      const scheduling = this.#scheduler.run(until);
      await aborted(until);
      await this.#drain(scheduling);
    } finally {
      signal.removeEventListener("abort", stop);
      this.#end.abort(new Error("the term is over"));
    }
  }

  get #all(): readonly Controller[] {
    return Object.values(this.controllers);
  }

  /** What is under way, reconciles and scheduling cycles, gets `drainSeconds` to end; what has not ended then is aborted. */
  async #drain(scheduling: Promise<void>): Promise<void> {
    const { clock, logger, settings } = this.#parts;
    const { drainSeconds } = settings;
    const busy = this.#all.reduce((sum, { queue }) => sum + queue.working, 0);
    const cancel = startTimer(clock, drainSeconds, () =>
      this.#end.abort(new Error(`not done ${drainSeconds} s after the operator began to stop`)),
    );
    const draining = this.#all.map((controller) => controller.drain(drainSeconds));
    const drained = await Promise.all(draining);
    await scheduling;
    cancel();
    const unfinished = this.#all.filter((_, at) => drained[at] === false).map(({ name }) => name);
    if (unfinished.length > 0) logger.warn("stopped with reconciles under way", { unfinished });
    else logger.info("all work under way has ended", { reconciles: busy });
  }
}

/** The work of one term of leadership after another. */
export function createWork(parts: WorkParts): (signals: TermSignals) => Promise<void> {
  let current: Term | undefined;
  showStuckPods(parts, parts.metrics);
  const wake = (pool: string | undefined) => current?.context.scheduler.wake(pool);
  const explanation = (jobId: string) => current?.context.scheduler.explanation(jobId);
  const windowNotice = (pool: string, jobId: string) =>
    current?.context.scheduler.windowNotice(pool, jobId);
  const sinks = sinksOf(() => current?.controllers);
  const tenants = tenantsOf(parts.informers, parts.informers.owned, sinks);
  const context: Context = {
    ...parts,
    owned: parts.informers.owned,
    tenants,
    scheduler: { wake, explanation, windowNotice },
    counters: createJobCounters(parts.metrics),
  };
  connectSources(context, sinks);
  return async (signals) => {
    const term = new Term(parts, tenants, signals);
    current = term;
    try {
      await term.run();
    } finally {
      current = undefined;
    }
  };
}
