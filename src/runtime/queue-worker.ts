/** Common part of all controllers: takes keys from the queue and reschedules them by their results. */
import { UnorderedList } from "./unordered-list.ts";
import type { ListItem } from "./unordered-list.ts";
import type { BackoffOptions } from "./backoff.ts";
import { sleepUnlessAborted } from "./clock.ts";
import type { Clock } from "./clock.ts";
import { errorText } from "./logger.ts";
import type { Logger } from "./logger.ts";
import { noMetrics } from "./metrics.ts";
import type { Counter, Metrics } from "./metrics.ts";
import type { ReconcileResult } from "./result.ts";
import { WorkQueue } from "./work-queue.ts";
import type { AddOptions } from "./work-queue.ts";

export interface Controller {
  readonly name: string;
  readonly queue: WorkQueue;
  /** May be called before `start`; reconciles begin at `start`. */
  enqueue(key: string, options?: AddOptions): void;
  enqueueAfter(key: string, seconds: number): void;
  /**
   * Runs until the signal is aborted, which also aborts the signals of running reconciles. May be called again after
   * that, or after a drain.
   */
  start(signal: AbortSignal): void;
  /**
   * Takes no more keys and waits for running reconciles. Resolves to false if some are still running at the time-out.
   */
  drain(timeoutSeconds: number): Promise<boolean>;
}

export interface QueueWorkerOptions {
  readonly name: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics?: Metrics;
  readonly backoff?: BackoffOptions;
  /** Default: a new queue. */
  readonly queue?: WorkQueue;
}

/** One running call of a reconcile. */
export interface Run extends ListItem {
  readonly abort: AbortController;
  readonly ended: PromiseWithResolvers<void>;
}

/** A run that has not ended and is in no list. */
export const newRun = (): Run => ({
  at: 0,
  abort: new AbortController(),
  ended: Promise.withResolvers<void>(),
});

export abstract class QueueWorker<OwnRun extends Run> implements Controller {
  readonly name: string;
  readonly queue: WorkQueue;
  protected readonly running = new UnorderedList<OwnRun>();
  protected readonly clock: Clock;
  protected readonly logger: Logger;
  readonly #results: Counter;
  /** The signal of the current start; undefined before a start and after the end. */
  #signal: AbortSignal | undefined;

  constructor({ name, clock, logger, metrics = noMetrics, backoff, queue }: QueueWorkerOptions) {
    this.name = name;
    this.clock = clock;
    this.logger = logger;
    this.queue = queue ?? new WorkQueue({ name, clock, metrics, ...(backoff ? { backoff } : {}) });
    this.#results = metrics.counter({
      name: "controller_reconcile_total",
      help: "Reconciles by result: done, requeueAfter, failed",
      labelNames: ["controller", "result"],
    });
    this.queue.onReady(() => this.pump());
  }

  /** Starts reconciles of waiting keys, as far as there are free slots and the worker is open. */
  protected abstract pump(): void;

  /** Whether keys may be taken: between start and end. */
  protected get isOpen(): boolean {
    return this.#signal !== undefined;
  }

  enqueue(key: string, options: AddOptions = {}): void {
    this.queue.add(key, options);
  }

  enqueueAfter(key: string, seconds: number): void {
    this.queue.addAfter(key, seconds);
  }

  start(signal: AbortSignal): void {
    if (this.isOpen) throw new Error(`controller ${this.name} was started twice`);
    this.queue.open();
    this.#signal = signal;
    if (signal.aborted) return this.#stop(signal);
    signal.addEventListener("abort", () => this.#stop(signal), { once: true });
    this.pump();
  }

  async drain(timeoutSeconds: number): Promise<boolean> {
    this.#close();
    if (this.running.size === 0) return true;
    const timer = new AbortController();
    const allDone = Promise.all([...this.running].map(({ ended }) => ended.promise)).then(
      () => true,
    );
    const tooLate = sleepUnlessAborted(this.clock, timeoutSeconds, timer.signal).then(() => false);
    const drained = await Promise.race([allDone, tooLate]);
    timer.abort();
    if (!drained) this.#abortAll(new Error(`controller ${this.name} was drained`));
    return drained;
  }

  /** Call it for each key of a run when the run has ended. */
  protected settle(key: string, result: ReconcileResult): void {
    this.#results.add({ controller: this.name, result: result.kind });
    this.#reschedule(key, result);
    this.queue.done(key);
  }

  #close(): void {
    this.#signal = undefined;
    this.queue.close();
  }

  /** Stops the runs of the start that has this signal, drained or not, but not those of a later start. */
  #stop(signal: AbortSignal): void {
    if (this.isOpen && this.#signal !== signal) return;
    this.#close();
    this.#abortAll(signal.reason);
  }

  #abortAll(reason: unknown): void {
    for (const { abort } of this.running) abort.abort(reason);
  }

  #reschedule(key: string, result: ReconcileResult): void {
    if (result.kind === "failed") return this.#retry(key, result.error);
    this.queue.forget(key);
    if (result.kind === "requeueAfter") this.queue.addAfter(key, Math.max(result.seconds, 0));
  }

  #retry(key: string, error: unknown): void {
    if (!this.isOpen) return;
    const retryInSeconds = this.queue.addRateLimited(key);
    this.logger.error("reconcile failed", {
      controller: this.name,
      key,
      error: errorText(error),
      retryInSeconds,
    });
  }
}
