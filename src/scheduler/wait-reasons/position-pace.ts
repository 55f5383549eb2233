/** Limits how often the whole queue of a pool is scanned for positions. */
import type { Clock } from "../../runtime/clock.ts";

const paceSeconds = 10;

export class PositionPace {
  readonly #clock: Clock;
  readonly #lastSeconds = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** True if a scan is due; it then counts as done. */
  isDue(pool: string): boolean {
    const now = this.#clock.monotonicSeconds();
    const last = this.#lastSeconds.get(pool);
    if (last !== undefined && now - last < paceSeconds) return false;
    this.#lastSeconds.set(pool, now);
    return true;
  }
}
