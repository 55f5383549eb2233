/** Passes on what is worth a write, as fast as explanations allow and not before. */
import { sleepUnlessAborted } from "../../runtime/clock.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { WaitReasonPublisher } from "./publisher.ts";

/** Several are passed on together. */
const minPauseSeconds = 0.05;
/** New ones wake the loop. */
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
