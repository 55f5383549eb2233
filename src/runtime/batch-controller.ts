/** A controller whose reconcile takes many keys at once, for work that costs the same for one as for a thousand. */
import type { BackoffOptions } from "./backoff.ts";
import { startTimer } from "./clock.ts";
import type { Clock } from "./clock.ts";
import { failed } from "./controller.ts";
import type { Controller, ReconcileResult } from "./controller.ts";
import { errorText } from "./logger.ts";
import type { Logger } from "./logger.ts";
import { noMetrics } from "./metrics.ts";
import type { Counter, Metrics } from "./metrics.ts";
import { WorkQueue } from "./work-queue.ts";
import type { AddOptions } from "./work-queue.ts";

/** One result for each key; a key without one counts as done. Throwing fails all of them. */
export type ReconcileBatch = (
  keys: readonly string[],
  signal: AbortSignal,
) => Promise<ReadonlyMap<string, ReconcileResult>>;

export interface BatchControllerOptions {
  readonly name: string;
  readonly reconcile: ReconcileBatch;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics?: Metrics;
  readonly backoff?: BackoffOptions;
  /** How long keys are gathered before a batch begins; default 0.05. */
  readonly gatherSeconds?: number;
  /** Keys of one batch; default 5,000. */
  readonly maxKeys?: number;
  /** Batches under way at once, so that one slow call does not hold up all keys; default 4. */
  readonly batchesAtOnce?: number;
  /** The batch's signal is aborted after this; default 120. */
  readonly timeoutSeconds?: number;
}

export function createBatchController(options: BatchControllerOptions): Controller {
  return new BatchController(options);
}

interface Run {
  readonly abort: AbortController;
  readonly ended: Promise<void>;
}

class BatchController implements Controller {
  readonly name: string;
  readonly queue: WorkQueue;
  readonly #options: BatchControllerOptions;
  readonly #results: Counter;
  readonly #running = new Set<Run>();
  #cancelGather: (() => void) | undefined;
  #started = false;
  #draining = false;

  constructor(options: BatchControllerOptions) {
    const metrics = options.metrics ?? noMetrics;
    const { name, clock, backoff } = options;
    this.name = name;
    this.#options = options;
    this.queue = new WorkQueue({ name, clock, metrics, ...(backoff ? { backoff } : {}) });
    this.#results = metrics.counter({
      name: "controller_reconcile_total",
      help: "Reconciles by result: done, again, failed, fatal",
      labelNames: ["controller", "result"],
    });
    this.queue.onReady(() => this.#gather());
  }

  enqueue(key: string, options: AddOptions = {}): void {
    this.queue.add(key, options);
  }

  enqueueAfter(key: string, seconds: number): void {
    this.queue.addAfter(key, seconds);
  }

  start(signal: AbortSignal): void {
    if (this.#started) throw new Error(`controller ${this.name} was started twice`);
    this.#started = true;
    if (signal.aborted) return this.#stop(signal.reason);
    signal.addEventListener("abort", () => this.#stop(signal.reason), { once: true });
    this.#gather();
  }

  async drain(timeoutSeconds: number): Promise<boolean> {
    this.#close();
    if (this.#running.size === 0) return true;
    const allDone = Promise.all([...this.#running].map(({ ended }) => ended)).then(() => true);
    const tooLate = Promise.withResolvers<boolean>();
    const cancel = startTimer(this.#options.clock, timeoutSeconds, () => tooLate.resolve(false));
    const drained = await Promise.race([allDone, tooLate.promise]);
    cancel();
    if (!drained) this.#abortAll(new Error(`controller ${this.name} was drained`));
    return drained;
  }

  #close(): void {
    this.#draining = true;
    this.#cancelGather?.();
    this.queue.close();
  }

  #stop(reason: unknown): void {
    this.#close();
    this.#abortAll(reason);
  }

  #abortAll(reason: unknown): void {
    for (const { abort } of this.#running) abort.abort(reason);
  }

  #gather(): void {
    const { clock, batchesAtOnce = 4, gatherSeconds = 0.05 } = this.#options;
    if (!this.#started || this.#draining || this.#cancelGather) return;
    if (this.queue.depth === 0 || this.#running.size >= batchesAtOnce) return;
    this.#cancelGather = startTimer(clock, gatherSeconds, () => {
      this.#cancelGather = undefined;
      if (!this.#draining) this.#begin();
    });
  }

  #begin(): void {
    const keys: string[] = [];
    const { maxKeys = 5_000 } = this.#options;
    while (keys.length < maxKeys) {
      const key = this.queue.take();
      if (key === undefined) break;
      keys.push(key);
    }
    if (keys.length === 0) return;
    const abort = new AbortController();
    const run: Run = { abort, ended: this.#work(keys, abort).then(() => this.#ended(run)) };
    this.#running.add(run);
    this.#gather();
  }

  #ended(run: Run): void {
    this.#running.delete(run);
    this.#gather();
  }

  /** Never rejects. */
  async #work(keys: readonly string[], abort: AbortController): Promise<void> {
    const { clock, timeoutSeconds = 120 } = this.#options;
    const cancel = startTimer(clock, timeoutSeconds, () =>
      abort.abort(new Error(`a batch of ${this.name} took longer than ${timeoutSeconds} s`)),
    );
    const results = await this.#reconcile(keys, abort.signal);
    cancel();
    for (const key of keys) {
      const result = results.get(key) ?? { kind: "done" };
      this.#results.add({ controller: this.name, result: result.kind });
      this.#settle(key, result);
      this.queue.done(key);
    }
  }

  async #reconcile(
    keys: readonly string[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, ReconcileResult>> {
    try {
      return await this.#options.reconcile(keys, signal);
    } catch (error) {
      return new Map(keys.map((key) => [key, failed(error)]));
    }
  }

  #settle(key: string, result: ReconcileResult): void {
    if (result.kind === "failed") return this.#retry(key, result.error);
    this.queue.forget(key);
    if (result.kind === "again") this.queue.addAfter(key, Math.max(result.afterSeconds, 0));
    if (result.kind === "fatal") this.#log("reconcile failed for good", key, result.error);
  }

  #retry(key: string, error: unknown): void {
    if (this.#draining) return;
    const retryInSeconds = this.queue.addRateLimited(key);
    this.#log("reconcile failed", key, error, { retryInSeconds });
  }

  #log(message: string, key: string, error: unknown, fields: object = {}): void {
    const { logger } = this.#options;
    logger.error(message, { controller: this.name, key, error: errorText(error), ...fields });
  }
}
