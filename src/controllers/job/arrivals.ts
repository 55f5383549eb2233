/** Delays the rejection of new jobs that refer to a missing object: `kubectl apply` of several may create it next. */
import type { JobReason } from "../../api/reasons.ts";
import type { Clock } from "../../runtime/clock.ts";

/**
 * Counted from the first reconcile of a job; well below the ten seconds within which every object must have a status.
 */
export const arrivalSeconds = 5;

const missingObject: ReadonlySet<JobReason> = new Set<JobReason>([
  "ConfigNotFound",
  "NoProject",
  "PoolNotFound",
  "PriorityClassNotFound",
  "ProjectNotFound",
  "StorageNotFound",
]);

export class Arrivals {
  readonly #clock: Clock;
  /** Monotonic seconds of the first reconcile, by job uid; oldest first. */
  readonly #firstSeen = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Seconds to wait before reporting the rejection; 0 to report it now. */
  secondsLeft(jobUid: string, reason: JobReason): number {
    if (!missingObject.has(reason)) return 0;
    const now = this.#clock.monotonicSeconds();
    const since = this.#firstSeen.get(jobUid) ?? now;
    if (since === now) this.#remember(jobUid, now);
    return Math.max(0, since + arrivalSeconds - now);
  }

  #remember(jobUid: string, now: number): void {
    for (const [uid, since] of this.#firstSeen) {
      if (since + 2 * arrivalSeconds > now) break;
      this.#firstSeen.delete(uid);
    }
    this.#firstSeen.set(jobUid, now);
  }
}
