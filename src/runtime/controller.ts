/** A controller that reconciles one key at a time. */
import { startTimer } from "./clock.ts";
import { newRun, QueueWorker } from "./queue-worker.ts";
import type { Controller, QueueWorkerOptions, Run } from "./queue-worker.ts";
import { failed } from "./result.ts";
import type { ReconcileResult } from "./result.ts";

export type Reconcile = (key: string, signal: AbortSignal) => Promise<ReconcileResult>;

export interface ControllerOptions extends QueueWorkerOptions {
  /** Maximum number of concurrent keys, without slow ones. */
  readonly concurrency: number;
  readonly reconcile: Reconcile;
  /** A key that takes longer releases its slot and continues; default 5. */
  readonly slowAfterSeconds?: number;
  /** The key's signal is aborted after this; default 120. */
  readonly timeoutSeconds?: number;
}

const defaultSlowAfterSeconds = 5;
const defaultTimeoutSeconds = 120;
/** Maximum number of slow keys per slot: bounds concurrency when a dependency hangs. */
const slowPerSlot = 8;
/** Clocks and timers differ by fractions of a millisecond; without a minimum an early timer would spin. */
const minSweepSeconds = 0.01;

/** Reconciles one key per call, several keys at a time; a thrown error counts as failed. */
export function createController(options: ControllerOptions): Controller {
  return new QueueController(options);
}

/** A running reconcile. */
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

  /** One timer for all runs: two timers per run would cost more than a quick reconcile. */
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

  /** Time of the next check of the run. */
  #dueSeconds(run: KeyRun): number {
    if (run.abort.signal.aborted) return Number.POSITIVE_INFINITY;
    return run.startSeconds + (run.isSlow ? this.#timeoutSeconds : this.#slowAfterSeconds);
  }

  /** Releases the slots of slow keys and aborts keys at their time-out. */
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
