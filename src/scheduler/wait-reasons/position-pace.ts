/** How often the whole queue of a pool is looked at for positions. */
import type { Clock } from "../../runtime/clock.ts";

const paceSeconds = 10;

export class PositionPace {
  readonly #clock: Clock;
  readonly #lastSeconds = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** True when it is time; the next time counts from then. */
  isDue(pool: string): boolean {
    const now = this.#clock.monotonicSeconds();
    const last = this.#lastSeconds.get(pool);
    if (last !== undefined && now - last < paceSeconds) return false;
    this.#lastSeconds.set(pool, now);
    return true;
  }
}
