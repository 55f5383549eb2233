/** How often in a row the API server has refused a job's pods for a reason that may pass: the pauses grow. */
import { backoffSeconds } from "../../runtime/backoff.ts";
import { remember } from "../../runtime/bounded-map.ts";

const backoff = { baseSeconds: 20, maxSeconds: 1800 };
/** The oldest are forgotten: their next pause is the first again. */
const maxJobs = 10_000;

export class StartRefusals {
  /** By the job's uid. */
  readonly #counts = new Map<string, number>();

  /** Counts another refusal; returns the seconds until the next start. */
  pauseSeconds(uid: string): number {
    const count = (this.#counts.get(uid) ?? 0) + 1;
    remember(this.#counts, uid, count, maxJobs);
    return backoffSeconds(count, backoff);
  }

  /** Its pods were made. True if they had been refused before. */
  forget(uid: string): boolean {
    return this.#counts.delete(uid);
  }
}
