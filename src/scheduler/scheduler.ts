/** The loops of all pools: one each, started when the pool is first heard of. */
import type { Clock } from "../runtime/clock.ts";
import { sleepUnlessAborted } from "../runtime/clock.ts";
import { errorText } from "../runtime/logger.ts";
import type { Logger } from "../runtime/logger.ts";
import { PoolLoop } from "./pool-loop.ts";
import type { CycleReport } from "./pool-loop.ts";

export interface SchedulerOptions {
  readonly cycle: (pool: string, signal: AbortSignal) => Promise<CycleReport>;
  /** The pools that nodes and jobs name now. */
  readonly pools: () => Promise<readonly string[]>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Pools that nobody told of are looked for at this pace. */
const poolSearchSeconds = 30;

export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #loops = new Map<string, PoolLoop>();
  readonly #running = new Set<Promise<void>>();
  #signal: AbortSignal | undefined;

  constructor(options: SchedulerOptions) {
    this.#options = options;
  }

  /** Something changed in the pool; undefined: in any. Before the start it is remembered by the first look. */
  wake(pool: string | undefined): void {
    if (pool === undefined) {
      for (const loop of this.#loops.values()) loop.wake();
      return;
    }
    const loop = this.#loops.get(pool);
    if (loop) loop.wake();
    else this.#startLoop(pool);
  }

  /** Runs until the signal is aborted and every cycle under way has ended. */
  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    while (!signal.aborted) {
      await this.#findPools();
      await sleepUnlessAborted(this.#options.clock, poolSearchSeconds, signal);
    }
    await Promise.all(this.#running);
  }

  async #findPools(): Promise<void> {
    try {
      for (const pool of await this.#options.pools()) {
        if (!this.#loops.has(pool)) this.#startLoop(pool);
      }
    } catch (error) {
      this.#options.logger.warn("could not read the pools", { error: errorText(error) });
    }
  }

  #startLoop(pool: string): void {
    const signal = this.#signal;
    if (signal === undefined || signal.aborted) return;
    const { clock, logger } = this.#options;
    const cycle = (inner: AbortSignal) => this.#options.cycle(pool, inner);
    const loop = new PoolLoop({ pool, cycle, clock, logger });
    this.#loops.set(pool, loop);
    const running = loop.run(signal).finally(() => this.#running.delete(running));
    this.#running.add(running);
  }
}
