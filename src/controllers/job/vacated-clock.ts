/** When the nodes of each leaving gang may be looked at again. */
import { remember } from "../../runtime/bounded-map.ts";
import type { Clock } from "../../runtime/clock.ts";

/** Most gangs are gone by then, which saves a read of the API server. */
export const pauseSeconds = 2;
/** The oldest are forgotten. */
const maxJobs = 10_000;

export class VacatedClock {
  readonly #clock: Clock;
  readonly #lookAtSeconds = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Seconds until the next look; 0: now, and the following one is a pause later. */
  secondsToLook(uid: string): number {
    const now = this.#clock.monotonicSeconds();
    const known = this.#lookAtSeconds.get(uid);
    if (known !== undefined && known > now) return known - now;
    remember(this.#lookAtSeconds, uid, now + pauseSeconds, maxJobs);
    // Long past: of an earlier attempt.
    return known === undefined || now - known > pauseSeconds ? pauseSeconds : 0;
  }
}
