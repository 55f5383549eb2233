/**
 * Runs the cycle of one pool after changes and at the next known instant. Changes during a cycle or shortly before it
 * are combined into one cycle.
 */
import { backoffSeconds } from "../runtime/backoff.ts";
import { sleepUnlessAborted } from "../runtime/clock.ts";
import type { Clock } from "../runtime/clock.ts";
import { errorText } from "../runtime/logger.ts";
import type { Logger } from "../runtime/logger.ts";

export interface CycleReport {
  /** Run another cycle immediately: dry runs have new answers, or more jobs wait to be claimed. */
  readonly isUnfinished: boolean;
  /** Seconds until the next instant at which the decision may differ without a change. */
  readonly nextInstantSeconds: number;
}

export interface PoolLoopOptions {
  readonly pool: string;
  readonly cycle: (signal: AbortSignal) => Promise<CycleReport>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Changes within this time are combined into one cycle. */
const coalesceSeconds = 0.02;
const failureBackoff = { baseSeconds: 0.5, maxSeconds: 30 };

export class PoolLoop {
  readonly #options: PoolLoopOptions;
  #isDirty = true;
  #wakeUp: () => void = () => {};
  #failures = 0;

  constructor(options: PoolLoopOptions) {
    this.#options = options;
  }

  wake(): void {
    this.#isDirty = true;
    this.#wakeUp();
  }

  /** Runs until the signal is aborted; never throws. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    while (!signal.aborted) {
      await sleepUnlessAborted(clock, coalesceSeconds, signal);
      if (signal.aborted) return;
      this.#isDirty = false;
      const pauseSeconds = await this.#runOnce(signal);
      await this.#rest(pauseSeconds, signal);
    }
  }

  /** Returns how long to wait for a change. */
  async #runOnce(signal: AbortSignal): Promise<number> {
    const { pool, cycle, logger } = this.#options;
    try {
      const report = await cycle(signal);
      this.#failures = 0;
      return report.isUnfinished ? 0 : report.nextInstantSeconds;
    } catch (error) {
      if (signal.aborted) return 0;
      this.#failures += 1;
      const pause = backoffSeconds(this.#failures, failureBackoff);
      logger.error("scheduling cycle failed", {
        pool,
        error: errorText(error),
        retryInSeconds: pause,
      });
      await sleepUnlessAborted(this.#options.clock, pause, signal);
      return 0;
    }
  }

  async #rest(seconds: number, signal: AbortSignal): Promise<void> {
    if (this.#isDirty || seconds <= 0) return;
    const woken = new AbortController();
    this.#wakeUp = () => woken.abort();
    await sleepUnlessAborted(this.#options.clock, seconds, AbortSignal.any([signal, woken.signal]));
    this.#wakeUp = () => {};
  }
}
