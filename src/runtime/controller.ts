import { Bag } from "./bag.ts";
import type { BagItem } from "./bag.ts";
import type { BackoffOptions } from "./backoff.ts";
import { sleepUnlessAborted, startTimer } from "./clock.ts";
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
/** Clocks and timers differ by parts of a millisecond; without a floor a timer that fires early would spin. */
const shortestSweepSeconds = 0.01;

export function createController(options: ControllerOptions): Controller {
  return new QueueController(options);
}

/** One key being worked on. */
interface Run extends BagItem {
  readonly key: string;
  readonly startSeconds: number;
  readonly abort: AbortController;
  readonly ended: PromiseWithResolvers<void>;
  isSlow: boolean;
}

class QueueController implements Controller {
  readonly name: string;
  readonly queue: WorkQueue;
  readonly #options: ControllerOptions;
  readonly #results: Counter;
  readonly #slowAfterSeconds: number;
  readonly #timeoutSeconds: number;
  readonly #running = new Bag<Run>();
  #slow = 0;
  #cancelSweep: (() => void) | undefined;
  #started = false;
  #draining = false;

  constructor(options: ControllerOptions) {
    const metrics = options.metrics ?? noMetrics;
    this.name = options.name;
    this.#options = options;
    this.#slowAfterSeconds = options.slowAfterSeconds ?? defaultSlowAfterSeconds;
    this.#timeoutSeconds = options.timeoutSeconds ?? defaultTimeoutSeconds;
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
    const allDone = Promise.all([...this.#running].map(({ ended }) => ended.promise)).then(
      () => true,
    );
    const tooLate = sleepUnlessAborted(this.#options.clock, timeoutSeconds, timer.signal).then(
      () => false,
    );
    const drained = await Promise.race([allDone, tooLate]);
    timer.abort();
    if (!drained) this.#abortAll(new Error(`controller ${this.name} was drained`));
    return drained;
  }

  #stop(reason: unknown): void {
    this.#draining = true;
    this.queue.close();
    this.#abortAll(reason);
  }

  #abortAll(reason: unknown): void {
    for (const run of this.#running) run.abort.abort(reason);
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
    const run: Run = {
      at: 0,
      key,
      startSeconds: this.#options.clock.monotonicSeconds(),
      abort: new AbortController(),
      ended: Promise.withResolvers<void>(),
      isSlow: false,
    };
    this.#running.add(run);
    if (!this.#cancelSweep) this.#armSweep();
    void this.#work(run);
  }

  async #work(run: Run): Promise<void> {
    const result = await this.#reconcile(run.key, run.abort.signal);
    this.#running.remove(run);
    if (run.isSlow) this.#slow -= 1;
    this.#results.add({ controller: this.name, result: result.kind });
    this.#settle(run.key, result);
    this.queue.done(run.key);
    run.ended.resolve();
    if (this.#running.size === 0) this.#disarmSweep();
    this.#pump();
  }

  /** One timer watches over all runs: two of their own for each would cost more than a quick reconcile itself. */
  #armSweep(): void {
    let dueSeconds = Number.POSITIVE_INFINITY;
    for (const run of this.#running) dueSeconds = Math.min(dueSeconds, this.#dueSeconds(run));
    if (dueSeconds === Number.POSITIVE_INFINITY) return;
    const { clock } = this.#options;
    const seconds = Math.max(dueSeconds - clock.monotonicSeconds(), shortestSweepSeconds);
    this.#cancelSweep = startTimer(clock, seconds, () => this.#sweep());
  }

  #disarmSweep(): void {
    this.#cancelSweep?.();
    this.#cancelSweep = undefined;
  }

  /** When the run next needs attention. */
  #dueSeconds(run: Run): number {
    if (run.abort.signal.aborted) return Number.POSITIVE_INFINITY;
    return run.startSeconds + (run.isSlow ? this.#timeoutSeconds : this.#slowAfterSeconds);
  }

  /** Lends the slots of slow keys to others, and aborts the signal of a key at its time-out. */
  #sweep(): void {
    this.#cancelSweep = undefined;
    const nowSeconds = this.#options.clock.monotonicSeconds();
    for (const run of this.#running) {
      if (nowSeconds < this.#dueSeconds(run)) continue;
      if (run.isSlow) this.#timeOut(run);
      else this.#markSlow(run);
    }
    this.#pump();
    if (!this.#cancelSweep) this.#armSweep();
  }

  #markSlow(run: Run): void {
    run.isSlow = true;
    this.#slow += 1;
  }

  #timeOut({ abort, key }: Run): void {
    const timeoutSeconds = this.#timeoutSeconds;
    const { logger } = this.#options;
    logger.error("reconcile timed out", { controller: this.name, key, timeoutSeconds });
    abort.abort(new Error(`reconcile of ${key} took longer than ${timeoutSeconds} s`));
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
