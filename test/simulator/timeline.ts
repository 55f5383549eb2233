/** What happens when, in virtual time. */
import type { Random } from "./random.ts";

export interface Happening {
  readonly atSeconds: number;
  /** Order among those of one second. */
  readonly number: number;
  readonly what: string;
  readonly act: () => Promise<void>;
}

/** In Berlin 18:00, two hours before the windows of the day close; the clocks go back in the night after. */
export const start = Temporal.Instant.from("2026-10-24T16:00:00Z");

export class Timeline {
  readonly #random: Random;
  readonly #happenings: Happening[] = [];
  #nowSeconds = 0;
  #number = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  get nowSeconds(): number {
    return this.#nowSeconds;
  }

  now(): Temporal.Instant {
    return start.add({ seconds: this.#nowSeconds });
  }

  moveTo(seconds: number): void {
    this.#nowSeconds = seconds;
  }

  plan(afterSeconds: number, what: string, act: () => Promise<void>): void {
    this.#number += 1;
    const atSeconds = this.#nowSeconds + Math.max(0, Math.round(afterSeconds));
    this.#happenings.push({ atSeconds, number: this.#number, what, act });
  }

  /** Again and again by chance, on average so many seconds apart. */
  often(what: string, meanSeconds: number, act: () => Promise<void>): void {
    this.plan(this.#random.seconds(meanSeconds), what, async () => {
      await act();
      this.often(what, meanSeconds, act);
    });
  }

  next(): Happening | undefined {
    this.#happenings.sort((a, b) => a.atSeconds - b.atSeconds || a.number - b.number);
    return this.#happenings.shift();
  }

  forget(isForgotten: (what: string) => boolean): void {
    const kept = this.#happenings.filter(({ what }) => !isForgotten(what));
    this.#happenings.splice(0, this.#happenings.length, ...kept);
  }
}
