import type { BackoffOptions } from "./backoff.ts";
import { startTimer } from "./clock.ts";
import type { Clock } from "./clock.ts";
import { errorText } from "./logger.ts";
import type { Logger } from "./logger.ts";
import { noMetrics } from "./metrics.ts";
import type { Counter, Metrics } from "./metrics.ts";
import { WorkQueue } from "./work-queue.ts";
import type { AddOptions } from "./work-queue.ts";

export type ReconcileResult =
  | { readonly kind: "done" }
  | { readonly kind: "again"; readonly afterSeconds: number }
  /** Tried again with the key's exponential back-off; a thrown error means the same. */
  | { readonly kind: "failed"; readonly error: unknown }
  /** Not tried again until the key is enqueued for another reason. */
  | { readonly kind: "fatal"; readonly error: unknown };

export const done = (): ReconcileResult => ({ kind: "done" });
export const again = (afterSeconds: number): ReconcileResult => ({ kind: "again", afterSeconds });
export const failed = (error: unknown): ReconcileResult => ({ kind: "failed", error });
export const fatal = (error: unknown): ReconcileResult => ({ kind: "fatal", error });

export type Reconcile = (key: string, signal: AbortSignal) => Promise<ReconcileResult>;

export interface ControllerOptions {
  readonly name: string;
  /** Keys worked on at once, not counting slow ones. */
  readonly concurrency: number;
  readonly reconcile: Reconcile;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics?: Metrics;
  readonly backoff?: BackoffOptions;
  /** A key that takes longer gives its slot to others while it goes on; default 5. */
  readonly slowAfterSeconds?: number;
  /** The key's signal is aborted after this; default 120. */
  readonly timeoutSeconds?: number;
}

export interface Controller {
  readonly name: string;
  readonly queue: WorkQueue;
  /** May be called before `start`; work begins at `start`. */
  enqueue(key: string, options?: AddOptions): void;
  enqueueAfter(key: string, seconds: number): void;
  /** Works until the signal is aborted, which also aborts the signal every reconcile was given. */
  start(signal: AbortSignal): void;
  /** Takes no more keys and waits for those being worked on. Resolves to false when some were still busy at the end. */
  drain(timeoutSeconds: number): Promise<boolean>;
}

const defaultSlowAfterSeconds = 5;
const defaultTimeoutSeconds = 120;
/** Slow keys beside the fast slots, per slot: bounds what a dead dependency can pile up. */
const slowPerSlot = 8;

export function createController(options: ControllerOptions): Controller {
  return new QueueController(options);
}

class QueueController implements Controller {
  readonly name: string;
  readonly queue: WorkQueue;
  readonly #options: ControllerOptions;
  readonly #results: Counter;
  readonly #running = new Set<Promise<void>>();
  readonly #abort = new AbortController();
  #slow = 0;
  #started = false;
  #draining = false;

  constructor(options: ControllerOptions) {
    const metrics = options.metrics ?? noMetrics;
    this.name = options.name;
    this.#options = options;
    this.queue = new WorkQueue({
      name: options.name,
      clock: options.clock,
      metrics,
      ...(options.backoff ? { backoff: options.backoff } : {}),
    });
    this.#results = metrics.counter({
      name: "controller_reconcile_total",
      help: "Reconciles by result: done, again, failed, fatal",
      labelNames: ["controller", "result"],
    });
    this.queue.onReady(() => this.#pump());
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
    if (signal.aborted) {
      this.#stop(signal.reason);
      return;
    }
    signal.addEventListener("abort", () => this.#stop(signal.reason), { once: true });
    this.#pump();
  }

  async drain(timeoutSeconds: number): Promise<boolean> {
    this.#draining = true;
    this.queue.close();
    if (this.#running.size === 0) return true;
    const timer = new AbortController();
    const allDone = Promise.all(this.#running).then(() => true);
    const tooLate = this.#options.clock.sleep(timeoutSeconds, timer.signal).then(
      () => false,
      () => false,
    );
    const drained = await Promise.race([allDone, tooLate]);
    timer.abort();
    if (!drained) this.#abort.abort(new Error(`controller ${this.name} was drained`));
    return drained;
  }

  #stop(reason: unknown): void {
    this.#draining = true;
    this.queue.close();
    this.#abort.abort(reason);
  }

  #hasFreeSlot(): boolean {
    const { concurrency } = this.#options;
    const fast = this.#running.size - this.#slow;
    return fast < concurrency && this.#running.size < concurrency * (1 + slowPerSlot);
  }

  #pump(): void {
    while (this.#started && !this.#draining && this.#hasFreeSlot()) {
      const key = this.queue.take();
      if (key === undefined) return;
      this.#begin(key);
    }
  }

  #begin(key: string): void {
    const run = this.#run(key).finally(() => {
      this.#running.delete(run);
      this.queue.done(key);
      this.#pump();
    });
    this.#running.add(run);
  }

  async #run(key: string): Promise<void> {
    const watch = this.#watchOver(key);
    const result = await this.#reconcile(key, watch.signal);
    watch.end();
    this.#results.add({ controller: this.name, result: result.kind });
    this.#settle(key, result);
  }

  /** Lends the slot of a slow key to others, and aborts the key's signal at its time-out. */
  #watchOver(key: string): { readonly signal: AbortSignal; end(): void } {
    const { clock, logger } = this.#options;
    const slowAfterSeconds = this.#options.slowAfterSeconds ?? defaultSlowAfterSeconds;
    const timeoutSeconds = this.#options.timeoutSeconds ?? defaultTimeoutSeconds;
    const deadline = new AbortController();
    const abort = (): void => deadline.abort(this.#abort.signal.reason);
    let isSlow = false;
    this.#abort.signal.addEventListener("abort", abort, { once: true });
    const cancelSlow = startTimer(clock, slowAfterSeconds, () => {
      isSlow = true;
      this.#slow += 1;
      this.#pump();
    });
    const cancelTimeout = startTimer(clock, timeoutSeconds, () => {
      logger.error("reconcile timed out", { controller: this.name, key, timeoutSeconds });
      deadline.abort(new Error(`reconcile of ${key} took longer than ${timeoutSeconds} s`));
    });
    const end = (): void => {
      cancelSlow();
      cancelTimeout();
      this.#abort.signal.removeEventListener("abort", abort);
      if (isSlow) this.#slow -= 1;
    };
    return { signal: deadline.signal, end };
  }

  async #reconcile(key: string, signal: AbortSignal): Promise<ReconcileResult> {
    try {
      return await this.#options.reconcile(key, signal);
    } catch (error) {
      return failed(error);
    }
  }

  #settle(key: string, result: ReconcileResult): void {
    switch (result.kind) {
      case "done":
        this.queue.forget(key);
        return;
      case "again":
        this.queue.forget(key);
        this.queue.addAfter(key, Math.max(result.afterSeconds, 0));
        return;
      case "failed":
        this.#retry(key, result.error);
        return;
      case "fatal":
        this.queue.forget(key);
        this.#log("reconcile failed for good", key, result.error);
    }
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
