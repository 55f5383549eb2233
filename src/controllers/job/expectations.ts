/**
 * Pods that were asked for and that the cache has not shown yet, so that nobody asks for them again meanwhile. The idea
 * is that of the ReplicaSet controller's expectations: what is not seen in time is asked for again.
 */
import type { Clock } from "../../runtime/clock.ts";

/** A pod that the cache has not shown by then was gone before the cache saw it. */
export const maxLagSeconds = 10;

export class PodExpectations {
  readonly #clock: Clock;
  /** Oldest first, with the second at which each is given up. */
  readonly #until = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#until.size;
  }

  /** Say it before the request: the cache may be quicker than the answer. */
  asked(jobUid: string, podName: string): void {
    this.#giveUpOld();
    const key = keyOf(jobUid, podName);
    this.#until.delete(key);
    this.#until.set(key, this.#clock.monotonicSeconds() + maxLagSeconds);
  }

  /** The cache shows the pod, or showed that it went; or it was not made. */
  forget(jobUid: string, podName: string): void {
    this.#until.delete(keyOf(jobUid, podName));
  }

  has(jobUid: string, podName: string): boolean {
    const until = this.#until.get(keyOf(jobUid, podName));
    return until !== undefined && until > this.#clock.monotonicSeconds();
  }

  #giveUpOld(): void {
    const now = this.#clock.monotonicSeconds();
    for (const [key, until] of this.#until) {
      if (until > now) return;
      this.#until.delete(key);
    }
  }
}

const keyOf = (jobUid: string, podName: string): string => `${jobUid}/${podName}`;
