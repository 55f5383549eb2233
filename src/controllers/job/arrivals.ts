/** Patience with new jobs that refer to an object which may be on its way, as in one `kubectl apply` of several. */
import type { JobReason } from "../../api/reasons.ts";
import type { Clock } from "../../runtime/clock.ts";

/** From the first look at a job: well under the ten seconds within which every object has a status. */
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
  /** Monotonic seconds of the first look, by the job's uid; oldest first. */
  readonly #firstSeen = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Seconds for which a job that is refused for this reason is left alone; 0 when it is to be told. */
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
