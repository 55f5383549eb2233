/** A controller that works on each key by itself. */
import { startTimer } from "./clock.ts";
import { newRun, QueueWorker } from "./queue-worker.ts";
import type { Controller, QueueWorkerOptions, Run } from "./queue-worker.ts";
import { failed } from "./result.ts";
import type { ReconcileResult } from "./result.ts";

export type Reconcile = (key: string, signal: AbortSignal) => Promise<ReconcileResult>;

export interface ControllerOptions extends QueueWorkerOptions {
  /** Keys worked on at once, not counting slow ones. */
  readonly concurrency: number;
  readonly reconcile: Reconcile;
  /** A key that takes longer gives its slot to others while it goes on; default 5. */
  readonly slowAfterSeconds?: number;
  /** The key's signal is aborted after this; default 120. */
  readonly timeoutSeconds?: number;
}

const defaultSlowAfterSeconds = 5;
const defaultTimeoutSeconds = 120;
/** Slow keys beside the fast slots, per slot: bounds what a dead dependency can pile up. */
const slowPerSlot = 8;
/** Clocks and timers differ by parts of a millisecond; without a floor a timer that fires early would spin. */
const minSweepSeconds = 0.01;

export function createController(options: ControllerOptions): Controller {
  return new QueueController(options);
}

/** One key being worked on. */
interface KeyRun extends Run {
  readonly key: string;
  readonly startSeconds: number;
  isSlow: boolean;
}

class QueueController extends QueueWorker<KeyRun> {
  readonly #options: ControllerOptions;
  readonly #slowAfterSeconds: number;
  readonly #timeoutSeconds: number;
  #slow = 0;
  #cancelSweep: (() => void) | undefined;

  constructor(options: ControllerOptions) {
    super(options);
    this.#options = options;
    this.#slowAfterSeconds = options.slowAfterSeconds ?? defaultSlowAfterSeconds;
    this.#timeoutSeconds = options.timeoutSeconds ?? defaultTimeoutSeconds;
  }

  protected override pump(): void {
    while (this.isOpen && this.#hasFreeSlot()) {
      const key = this.queue.take();
      if (key === undefined) return;
      this.#begin(key);
    }
  }

  #hasFreeSlot(): boolean {
    const { concurrency } = this.#options;
    const fast = this.running.size - this.#slow;
    return fast < concurrency && this.running.size < concurrency * (1 + slowPerSlot);
  }

  #begin(key: string): void {
    const startSeconds = this.clock.monotonicSeconds();
    const run: KeyRun = { ...newRun(), key, startSeconds, isSlow: false };
    this.running.add(run);
    if (!this.#cancelSweep) this.#armSweep();
    void this.#work(run);
  }

  async #work(run: KeyRun): Promise<void> {
    const result = await this.#reconcile(run.key, run.abort.signal);
    this.running.remove(run);
    if (run.isSlow) this.#slow -= 1;
    this.settle(run.key, result);
    run.ended.resolve();
    if (this.running.size === 0) this.#disarmSweep();
    this.pump();
  }

  /** One timer watches over all runs: two of their own for each would cost more than a quick reconcile itself. */
  #armSweep(): void {
    let dueSeconds = Number.POSITIVE_INFINITY;
    for (const run of this.running) dueSeconds = Math.min(dueSeconds, this.#dueSeconds(run));
    if (dueSeconds === Number.POSITIVE_INFINITY) return;
    const seconds = Math.max(dueSeconds - this.clock.monotonicSeconds(), minSweepSeconds);
    this.#cancelSweep = startTimer(this.clock, seconds, () => this.#sweep());
  }

  #disarmSweep(): void {
    this.#cancelSweep?.();
    this.#cancelSweep = undefined;
  }

  /** When the run next needs attention. */
  #dueSeconds(run: KeyRun): number {
    if (run.abort.signal.aborted) return Number.POSITIVE_INFINITY;
    return run.startSeconds + (run.isSlow ? this.#timeoutSeconds : this.#slowAfterSeconds);
  }

  /** Lends the slots of slow keys to others, and aborts the signal of a key at its time-out. */
  #sweep(): void {
    this.#cancelSweep = undefined;
    const nowSeconds = this.clock.monotonicSeconds();
    for (const run of this.running) {
      if (nowSeconds < this.#dueSeconds(run)) continue;
      if (run.isSlow) this.#timeOut(run);
      else this.#markSlow(run);
    }
    this.pump();
    if (!this.#cancelSweep) this.#armSweep();
  }

  #markSlow(run: KeyRun): void {
    run.isSlow = true;
    this.#slow += 1;
  }

  #timeOut({ abort, key }: KeyRun): void {
    const timeoutSeconds = this.#timeoutSeconds;
    this.logger.error("reconcile timed out", { controller: this.name, key, timeoutSeconds });
    abort.abort(new Error(`reconcile of ${key} took longer than ${timeoutSeconds} s`));
  }

  async #reconcile(key: string, signal: AbortSignal): Promise<ReconcileResult> {
    try {
      return await this.#options.reconcile(key, signal);
    } catch (error) {
      return failed(error);
    }
  }
}
