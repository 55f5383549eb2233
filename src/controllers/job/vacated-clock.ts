/** When the nodes of each leaving gang may be looked at again. */
import { remember } from "../../runtime/bounded-map.ts";
import type { Clock } from "../../runtime/clock.ts";

/** Most gangs are gone by then, which saves a read of the API server. */
export const pauseSeconds = 2;
/** The oldest are forgotten. */
const maxJobs = 10_000;

export class VacatedClock {
  readonly #clock: Clock;
  /** By job and attempt. */
  readonly #lookAtSeconds = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Seconds until the next look, the first a pause from now; 0: now, and the following one is a pause later. */
  secondsToLook(uid: string, attempt: number): number {
    const key = `${uid}/${attempt}`;
    const now = this.#clock.monotonicSeconds();
    const known = this.#lookAtSeconds.get(key);
    const left = known === undefined ? pauseSeconds : Math.max(0, known - now);
    if (known === undefined || left === 0)
      remember(this.#lookAtSeconds, key, now + pauseSeconds, maxJobs);
    return left;
  }
}
