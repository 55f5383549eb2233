/** Passes on jobs whose status needs a write, at the rates of the publisher. */
import { sleepUnlessAborted } from "../../runtime/clock.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { WaitReasonPublisher } from "./publisher.ts";

/** Combines several jobs into one call. */
const minPauseSeconds = 0.05;
/** New explanations wake the loop earlier. */
const maxPauseSeconds = 3600;

export class PublishLoop {
  readonly #explanations: WaitReasonPublisher;
  readonly #clock: Clock;
  readonly #onDue: (keys: readonly string[]) => void;
  #wakeUp: () => void = () => {};

  constructor(
    explanations: WaitReasonPublisher,
    clock: Clock,
    onDue: (keys: readonly string[]) => void,
  ) {
    this.#explanations = explanations;
    this.#clock = clock;
    this.#onDue = onDue;
  }

  wake(): void {
    this.#wakeUp();
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const keys = this.#explanations.take(this.#clock.monotonicSeconds());
      if (keys.length > 0) this.#onDue(keys);
      await this.#rest(signal);
    }
  }

  async #rest(signal: AbortSignal): Promise<void> {
    const next = this.#explanations.secondsToNext(this.#clock.monotonicSeconds());
    const woken = new AbortController();
    this.#wakeUp = () => woken.abort();
    const pause = Math.max(next ?? maxPauseSeconds, minPauseSeconds);
    await sleepUnlessAborted(this.#clock, pause, AbortSignal.any([signal, woken.signal]));
    this.#wakeUp = () => {};
  }
}
