import { setTimeout as delay } from "node:timers/promises";

/** Time as an argument: the real one in production, one that tests move by hand. */
export interface Clock {
  /** Wall-clock time, for what people and other processes read. */
  now(): Temporal.Instant;
  /** Seconds since an arbitrary point; never steps back, keeps counting while the process is frozen. */
  monotonicSeconds(): number;
  /** Waits; rejects with the signal's reason when it is aborted first. */
  sleep(seconds: number, signal?: AbortSignal): Promise<void>;
}

/** Node clamps a longer timer to 1 ms, which would turn a wait into a busy loop. */
const longestTimerMilliseconds = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Temporal.Now.instant(),
  monotonicSeconds: () => performance.now() / 1000,
  sleep: async (seconds, signal) => {
    const milliseconds = Math.min(Math.max(0, seconds * 1000), longestTimerMilliseconds);
    try {
      await delay(milliseconds, undefined, signal ? { signal } : {});
    } catch (error) {
      throw signal?.aborted ? signal.reason : error;
    }
  },
};

/** Calls back after `seconds` unless cancelled first. Returns the cancellation. */
export function startTimer(clock: Clock, seconds: number, callback: () => void): () => void {
  const cancellation = new AbortController();
  clock.sleep(seconds, cancellation.signal).then(
    () => {
      if (!cancellation.signal.aborted) callback();
    },
    () => {
      // Cancelled: the only way a sleep ends early.
    },
  );
  return () => cancellation.abort();
}
