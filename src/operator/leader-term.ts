/** The work of one term of leadership: starts controllers, scheduler and resyncs, and drains them at the end. */
import type { Context } from "../controllers/context.ts";
import { aborted, startTimer } from "../runtime/clock.ts";
import { errorText } from "../runtime/logger.ts";
import type { Controller } from "../runtime/queue-worker.ts";
import { resync } from "../runtime/resync.ts";
import type { Scheduler } from "../scheduler/scheduler.ts";
import { DatabaseRecovery } from "./database-recovery.ts";
import { pruneNowAndThen } from "./history-cleaner.ts";
import type { Ownership } from "./ownership/ownership.ts";

/** What a term uses; outlives the term. */
export interface TermParts {
  readonly context: Context;
  readonly controllers: readonly Controller[];
  readonly scheduler: Scheduler;
  readonly ownership: Pick<Ownership, "check">;
}

/** When the work of a term must end. */
export interface TermSignals {
  /** Aborted: start nothing new and finish running work. */
  readonly stopping: AbortSignal;
  /** Aborted: stop at once, because another process may lead soon. */
  readonly signal: AbortSignal;
}

const resyncSeconds = 600;

/** Runs until `stopping`, then drains running work; stops at once when the term ends. */
export async function runTerm(parts: TermParts, { signal, stopping }: TermSignals): Promise<void> {
  const { context, controllers, scheduler, ownership } = parts;
  const until = AbortSignal.any([signal, stopping]);
  /** Aborts reconciles and cycles when the term ends or the drain times out. */
  const end = new AbortController();
  const stop = (): void => end.abort(signal.reason);
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  try {
    const recovery = new DatabaseRecovery(context, until, ownership);
    for (const { queue } of controllers) queue.open();
    await recovery.begin();
    for (const controller of controllers) controller.start(end.signal);
    startResyncs(context, until);
    void pruneNowAndThen(context, until);
    context.logger.info("this operator leads");
    await recovery.adoptLaggingJobs();
    const scheduling = scheduler.run({
      stopping: until,
      signal: end.signal,
      expectSameDatabase: (db) => recovery.expectSameDatabase(db),
      guard: (cycle) => recovery.guard(cycle),
    });
    await aborted(until);
    await drain(parts, scheduling, end);
  } finally {
    signal.removeEventListener("abort", stop);
    end.abort(new Error("the term is over"));
    for (const { queue } of controllers) queue.close();
  }
}

/** Reconciles everything periodically, spread over the period, to find drift that no event reported. */
function startResyncs({ informers, queues, clock, logger }: Context, signal: AbortSignal): void {
  /** Jobs that have ended are over: nothing drifts. */
  const unfinishedJobs = () =>
    [...informers.jobs.store.values()]
      .filter(({ status }) => status.finishedAt === undefined)
      .map(({ namespace, name }) => `${namespace}/${name}`);
  for (const kind of ["jobs", "projects", "plans", "nodes"] as const) {
    const { store } = informers[kind];
    resync({
      keys: kind === "jobs" ? unfinishedJobs : () => store.keys(),
      enqueue: (key, options) => queues[kind].add(key, options),
      periodSeconds: resyncSeconds,
      clock,
      signal,
    }).catch((error: unknown) => logger.error("a resync ended", { error: errorText(error) }));
  }
}

/** Waits `drainSeconds` for running reconciles and scheduling cycles, then aborts the rest. */
async function drain(
  { context, controllers }: TermParts,
  scheduling: Promise<void>,
  end: AbortController,
): Promise<void> {
  const { clock, logger, settings } = context;
  const { drainSeconds } = settings;
  const busy = controllers.reduce((sum, { queue }) => sum + queue.working, 0);
  const cancel = startTimer(clock, drainSeconds, () =>
    end.abort(new Error(`not done ${drainSeconds} s after the operator began to stop`)),
  );
  const draining = controllers.map((controller) => controller.drain(drainSeconds));
  const drained = await Promise.all(draining);
  await scheduling;
  cancel();
  const unfinished = controllers.filter((_, at) => drained[at] === false).map(({ name }) => name);
  if (unfinished.length > 0) logger.warn("stopped with reconciles under way", { unfinished });
  else logger.info("all work under way has ended", { reconciles: busy });
}
