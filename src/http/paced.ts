/** Expensive work of all callers: one at a time, with pauses as long as the work. */
import type { Clock } from "../runtime/clock.ts";
import { HttpProblem } from "./problem.ts";

const maxWaiting = 8;
const maxPauseSeconds = 1;

export class Paced {
  readonly #clock: Clock;
  #free: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Throws HttpProblem Overloaded if too many wait, and what the work throws. */
  async run<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#waiting >= maxWaiting) {
      throw new HttpProblem("Overloaded", "server busy, retry later", { retryAfterSeconds: 2 });
    }
    this.#waiting += 1;
    let pauseSeconds = 0;
    const result = this.#free.then(async () => {
      this.#waiting -= 1;
      const startSeconds = this.#clock.monotonicSeconds();
      try {
        return await work();
      } finally {
        pauseSeconds = Math.min(this.#clock.monotonicSeconds() - startSeconds, maxPauseSeconds);
      }
    });
    this.#free = result.catch(() => undefined).then(() => this.#clock.sleep(pauseSeconds));
    return result;
  }
}
