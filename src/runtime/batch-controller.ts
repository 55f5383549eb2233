/** A controller that reconciles keys in batches, for work that costs about the same for one key and a thousand. */
import { startTimer } from "./clock.ts";
import { newRun, QueueWorker } from "./queue-worker.ts";
import type { Controller, QueueWorkerOptions, Run } from "./queue-worker.ts";
import { done, failed } from "./result.ts";
import type { ReconcileResult } from "./result.ts";

/** Returns one result per key; a key without one counts as done. Throwing fails all keys. */
export type ReconcileBatch = (
  keys: readonly string[],
  signal: AbortSignal,
) => Promise<ReadonlyMap<string, ReconcileResult>>;

export interface BatchControllerOptions extends QueueWorkerOptions {
  readonly reconcile: ReconcileBatch;
  /** How long keys are collected before a batch starts; default 0.05. */
  readonly gatherSeconds?: number;
  /** Maximum keys per batch; default 5,000. */
  readonly maxKeys?: number;
  /** Maximum concurrent batches, so that one slow call does not delay all keys; default 4. */
  readonly batchesAtOnce?: number;
  /** The batch's signal is aborted after this; default 120. */
  readonly timeoutSeconds?: number;
}

/** Reconciles keys in batches; each key has its own result and back-off. */
export function createBatchController(options: BatchControllerOptions): Controller {
  return new BatchController(options);
}

class BatchController extends QueueWorker<Run> {
  readonly #options: BatchControllerOptions;
  #isGathering = false;

  constructor(options: BatchControllerOptions) {
    super(options);
    this.#options = options;
  }

  protected override pump(): void {
    const { batchesAtOnce = 4, gatherSeconds = 0.05 } = this.#options;
    if (!this.isOpen || this.#isGathering) return;
    if (this.queue.depth === 0 || this.running.size >= batchesAtOnce) return;
    this.#isGathering = true;
    startTimer(this.clock, gatherSeconds, () => {
      this.#isGathering = false;
      if (this.isOpen) this.#begin();
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
    const run = newRun();
    this.running.add(run);
    void this.#work(keys, run);
    this.pump();
  }

  /** Never rejects. */
  async #work(keys: readonly string[], run: Run): Promise<void> {
    const { timeoutSeconds = 120 } = this.#options;
    const cancel = startTimer(this.clock, timeoutSeconds, () =>
      run.abort.abort(new Error(`a batch of ${this.name} took longer than ${timeoutSeconds} s`)),
    );
    const results = await this.#reconcile(keys, run.abort.signal);
    cancel();
    for (const key of keys) this.settle(key, results.get(key) ?? done());
    this.running.remove(run);
    run.ended.resolve();
    this.pump();
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
}
