/** Time as a dependency: the system clock, or a manual clock in tests. */
export interface Clock {
  /** Wall-clock time, for users and other processes. */
  now(): Temporal.Instant;
  /** Seconds since an arbitrary point; never steps back, keeps counting while the process is frozen. */
  monotonicSeconds(): number;
  /** Waits; rejects with the signal's reason if it is aborted first. */
  sleep(seconds: number, signal?: AbortSignal): Promise<void>;
}

/** Node clamps a longer timer to 1 ms, which would turn a wait into a busy loop. */
const maxTimerMilliseconds = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Temporal.Now.instant(),
  monotonicSeconds: () => performance.now() / 1000,
  // Not timers/promises: its AbortError, with a stack, costs more than the timer, and most timers are cancelled.
  sleep: (seconds, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const milliseconds = Math.min(Math.max(0, seconds * 1000), maxTimerMilliseconds);
      const abort = (): void => {
        clearTimeout(timer);
        reject(signal?.reason);
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener("abort", abort);
        resolve();
      }, milliseconds);
      signal?.addEventListener("abort", abort, { once: true });
    }),
};

/**
 * A clock that follows another time source, such as the database's: times are compared with those that it has written.
 * Between two readings it runs on the monotonic clock, so a step of the machine's own clock changes nothing. Until the
 * first reading it is the machine's clock.
 */
export class AnchoredClock implements Clock {
  readonly #local: Clock;
  #anchor: { readonly time: Temporal.Instant; readonly atSeconds: number } | undefined;

  constructor(local: Clock) {
    this.#local = local;
  }

  /** The source showed `time` when the monotonic clock showed `atSeconds`. */
  set(time: Temporal.Instant, atSeconds: number): void {
    this.#anchor = { time, atSeconds };
  }

  /** Seconds by which the source is ahead of the machine's clock; 0 before the first reading. */
  get aheadSeconds(): number {
    return this.now().since(this.#local.now()).total("seconds");
  }

  now(): Temporal.Instant {
    if (this.#anchor === undefined) return this.#local.now();
    const { time, atSeconds } = this.#anchor;
    const passedSeconds = this.#local.monotonicSeconds() - atSeconds;
    return time.add({ nanoseconds: Math.round(passedSeconds * 1e9) });
  }

  monotonicSeconds(): number {
    return this.#local.monotonicSeconds();
  }

  sleep(seconds: number, signal?: AbortSignal): Promise<void> {
    return this.#local.sleep(seconds, signal);
  }
}

/** Created once: the default reason is a DOMException with a stack for every cancelled timer. */
const cancelled = new Error("cancelled");

/** Calls back after `seconds` unless cancelled first. Returns the cancellation. */
export function startTimer(clock: Clock, seconds: number, onTime: () => void): () => void {
  const cancellation = new AbortController();
  void runTimer(clock, seconds, cancellation.signal, onTime);
  return () => cancellation.abort(cancelled);
}

async function runTimer(
  clock: Clock,
  seconds: number,
  signal: AbortSignal,
  onTime: () => void,
): Promise<void> {
  if (await sleepUnlessAborted(clock, seconds, signal)) onTime();
}

/** Waits; false if the signal was aborted first. */
export async function sleepUnlessAborted(
  clock: Clock,
  seconds: number,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    await clock.sleep(seconds, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  return !signal.aborted;
}

/** Resolves when the signal is aborted. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
