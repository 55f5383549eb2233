/**
 * Created pods that the cache does not show yet, so that they are not created twice. Like the ReplicaSet controller's
 * expectations: a pod that does not appear in time may be created again.
 */
import type { Clock } from "../../runtime/clock.ts";

/** A pod that has not appeared in the cache by then was deleted before the cache saw it. */
export const maxLagSeconds = 10;

export class PodExpectations {
  readonly #clock: Clock;
  /** Oldest first, with the second at which each expectation expires. */
  readonly #until = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#until.size;
  }

  /** Call it before the request: the cache may show the pod before the response arrives. */
  asked(jobUid: string, podName: string): void {
    this.#giveUpOld();
    const key = keyOf(jobUid, podName);
    this.#until.delete(key);
    this.#until.set(key, this.#clock.monotonicSeconds() + maxLagSeconds);
  }

  /** Call it when the cache shows the pod or its deletion, or when the creation failed. */
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
