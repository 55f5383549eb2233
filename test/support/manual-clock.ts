/** A clock that stands still until a test advances it. */
import type { Clock } from "../../src/runtime/clock.ts";

interface Sleeper {
  readonly dueSeconds: number;
  readonly wake: () => void;
}

export interface ManualClock extends Clock {
  /** Advances time, wakes sleepers in order, and lets their work settle. */
  advance(seconds: number): Promise<void>;
  /** Runs everything that is ready, without advancing time. */
  settle(): Promise<void>;
  readonly sleepers: number;
}

const epochMilliseconds = Date.parse("2026-01-05T00:00:00Z");
/** Enough turns of the event loop for chains of promises in a test. */
const turns = 20;

export function createManualClock(): ManualClock {
  let nowSeconds = 0;
  const sleepers = new Set<Sleeper>();

  const settle = async (): Promise<void> => {
    for (let turn = 0; turn < turns; turn += 1)
      await new Promise((resolve) => setImmediate(resolve));
  };

  const next = (untilSeconds: number): Sleeper | undefined =>
    [...sleepers]
      .filter(({ dueSeconds }) => dueSeconds <= untilSeconds)
      .sort((one, other) => one.dueSeconds - other.dueSeconds)[0];

  return {
    now: () =>
      Temporal.Instant.fromEpochMilliseconds(epochMilliseconds + Math.round(nowSeconds * 1000)),
    monotonicSeconds: () => nowSeconds,
    get sleepers() {
      return sleepers.size;
    },
    sleep: (seconds, signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted) {
          reject(signal.reason);
          return;
        }
        const abort = (): void => {
          sleepers.delete(sleeper);
          reject(signal?.reason);
        };
        const sleeper: Sleeper = {
          dueSeconds: nowSeconds + Math.max(0, seconds),
          wake: () => {
            sleepers.delete(sleeper);
            signal?.removeEventListener("abort", abort);
            resolve();
          },
        };
        sleepers.add(sleeper);
        signal?.addEventListener("abort", abort, { once: true });
      }),
    advance: async (seconds) => {
      const untilSeconds = nowSeconds + seconds;
      await settle();
      for (let sleeper = next(untilSeconds); sleeper; sleeper = next(untilSeconds)) {
        nowSeconds = Math.max(nowSeconds, sleeper.dueSeconds);
        sleeper.wake();
        await settle();
      }
      nowSeconds = untilSeconds;
      await settle();
    },
    settle,
  };
}
