/** What the leader does, term by term: controllers fed by the caches, and the scheduler. */
import { connectSources, enqueueAll } from "./controllers/sources.ts";
import type { KeySinks } from "./controllers/sources.ts";
import type { Context } from "./controllers/context.ts";
import { reconcileConfigCommit } from "./controllers/config-commit.ts";
import { wasQueued } from "./controllers/job/adoption.ts";
import { createJobCounters } from "./controllers/job/counters.ts";
import { probeGang } from "./controllers/job/pods.ts";
import { reconcileJob } from "./controllers/job/reconciler.ts";
import { reconcileNode } from "./controllers/node.ts";
import { reconcilePriorityClass } from "./controllers/priority-class.ts";
import { reconcileProject } from "./controllers/project.ts";
import { reconcileResourcePlan } from "./controllers/resource-plan.ts";
import { unknownJobs } from "./db/job-view.ts";
import { readPools } from "./db/snapshot/lock-pool.ts";
import type { RunningCaches } from "./caches.ts";
import { runCycle } from "./scheduler/cycle.ts";
import type { CycleDependencies } from "./scheduler/cycle.ts";
import { cycleObserver } from "./scheduler/cycle-metrics.ts";
import { EvictionProbe } from "./scheduler/eviction-probe.ts";
import { Explanations } from "./scheduler/explanations.ts";
import { Scheduler } from "./scheduler/scheduler.ts";
import { sleepUnlessAborted } from "./runtime/clock.ts";
import { createController } from "./runtime/controller.ts";
import type { Controller, Reconcile } from "./runtime/controller.ts";
import type { Metrics } from "./runtime/metrics.ts";
import { errorText } from "./runtime/logger.ts";
import { resync } from "./runtime/resync.ts";

export interface WorkParts extends Omit<Context, "scheduler" | "caches" | "counters"> {
  readonly caches: RunningCaches;
  readonly metrics: Metrics;
}

const resyncSeconds = 600;
const longestAdoptionSeconds = 60;
const concurrency = { jobs: 64, projects: 4, plans: 4, commits: 4, mirrors: 4 } as const;

type Controllers = Readonly<Record<keyof KeySinks, Controller>>;

function createControllers(context: Context, metrics: Metrics): Controllers {
  const { clock, logger } = context;
  const make = (name: string, slots: number, reconcile: Reconcile) =>
    createController({ name, concurrency: slots, reconcile, clock, logger, metrics });
  return {
    projects: make("project", concurrency.projects, reconcileProject(context)),
    plans: make("resourceplan", concurrency.plans, reconcileResourcePlan(context)),
    jobs: make("job", concurrency.jobs, reconcileJob(context)),
    commits: make("configcommit", concurrency.commits, reconcileConfigCommit(context)),
    priorityClasses: make("priorityclass", concurrency.mirrors, reconcilePriorityClass(context)),
    nodes: make("node", concurrency.mirrors, reconcileNode(context)),
  };
}

/** Changes go to the controllers of the present term; between terms nobody needs them: a term begins with everything. */
function sinksOf(current: () => Controllers | undefined): KeySinks {
  const to = (name: keyof KeySinks) => ({
    enqueue: (key: string) => current()?.[name].enqueue(key),
  });
  return {
    projects: to("projects"),
    plans: to("plans"),
    jobs: to("jobs"),
    commits: to("commits"),
    priorityClasses: to("priorityClasses"),
    nodes: to("nodes"),
  };
}

class Term {
  readonly controllers: Controllers;
  readonly #parts: WorkParts;
  readonly #context: Context;
  readonly #scheduler: Scheduler;

  constructor(parts: WorkParts) {
    const { db, clock, logger } = parts;
    const explanations = new Explanations();
    this.#parts = parts;
    this.#scheduler = new Scheduler({
      clock,
      logger,
      pools: () => readPools(db),
      cycle: (pool, signal) => runCycle(dependencies, pool, signal),
    });
    this.#context = {
      ...parts,
      scheduler: {
        wake: (pool) => this.#scheduler.wake(pool),
        explanation: (jobId) => explanations.get(jobId),
      },
      counters: createJobCounters(parts.metrics),
    };
    this.controllers = createControllers(this.#context, parts.metrics);
    const { jobs } = this.controllers;
    const dependencies: CycleDependencies = {
      ...parts,
      timeZone: parts.settings.timeZone,
      meteredTypes: parts.settings.meteredTypes,
      claimLimit: parts.settings.claimLimit,
      holdSeconds: parts.settings.holdSeconds,
      probe: new EvictionProbe(probeGang(this.#context), clock),
      explanations,
      onChanged: (keys) => {
        for (const key of keys) jobs.enqueue(key);
      },
      observe: cycleObserver(parts.metrics),
    };
  }

  /**
   * A database that lost its content must know what runs before anything is started beside it. The controllers adopt;
   * this waits for them, for a while: a job that cannot be adopted must not hold up all others for ever.
   */
  async #adoptUnknownJobs(signal: AbortSignal): Promise<void> {
    const { db, caches, clock, logger } = this.#parts;
    const queued = [...caches.jobs.store.values()].filter(
      (job) => wasQueued(job) && job.status.finishedAt === undefined,
    );
    const deadline = clock.monotonicSeconds() + longestAdoptionSeconds;
    let unknown = await unknownJobs(
      db,
      queued.map(({ uid }) => uid),
    );
    if (unknown.length > 0)
      logger.warn("the database does not know jobs that were queued", { jobs: unknown.length });
    while (unknown.length > 0 && clock.monotonicSeconds() < deadline && !signal.aborted) {
      await sleepUnlessAborted(clock, 0.2, signal);
      unknown = await unknownJobs(db, unknown);
    }
    if (unknown.length > 0)
      logger.error("scheduling begins though jobs are not adopted", { jobs: unknown });
  }

  /** Everything is looked at again now and then, spread over time: drift that no change told of is mended. */
  #startResyncs(signal: AbortSignal): void {
    const { caches, clock, logger } = this.#parts;
    const pairs = [
      [caches.jobs, this.controllers.jobs],
      [caches.projects, this.controllers.projects],
      [caches.plans, this.controllers.plans],
      [caches.nodes, this.controllers.nodes],
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

  /** Works until the signal is aborted, then finishes what is under way. */
  async run(signal: AbortSignal): Promise<void> {
    const all = Object.values(this.controllers);
    await enqueueAll(this.#context, this.controllers);
    for (const controller of all) controller.start(signal);
    this.#startResyncs(signal);
    this.#parts.logger.info("this operator leads");
    await this.#adoptUnknownJobs(signal);
    await this.#scheduler.run(signal);
    const { drainSeconds } = this.#parts.settings;
    await Promise.all(all.map((controller) => controller.drain(drainSeconds)));
  }
}

/** The work of one term of leadership after another. */
export function createWork(parts: WorkParts): (signal: AbortSignal) => Promise<void> {
  let current: Term | undefined;
  const wake = (pool: string | undefined) => current?.context.scheduler.wake(pool);
  const explanation = (jobId: string) => current?.context.scheduler.explanation(jobId);
  const context: Context = {
    ...parts,
    scheduler: { wake, explanation },
    counters: createJobCounters(parts.metrics),
  };
  connectSources(
    context,
    sinksOf(() => current?.controllers),
  );
  return async (signal) => {
    const term = new Term(parts);
    current = term;
    try {
      await term.run(signal);
    } finally {
      current = undefined;
    }
  };
}
