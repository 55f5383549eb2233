import { sleepUnlessAborted } from "./clock.ts";
import type { Clock } from "./clock.ts";
import type { AddOptions } from "./work-queue.ts";

export interface ResyncOptions {
  /** The keys at the start of a round. */
  readonly keys: () => Iterable<string>;
  readonly enqueue: (key: string, options: AddOptions) => void;
  /** Every key is enqueued once per period. */
  readonly periodSeconds: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

const tickSeconds = 1;

/** Enqueues every key once per period with priority `resync`, evenly spread. Runs until the signal is aborted. */
export async function resync(options: ResyncOptions): Promise<void> {
  const { clock, signal } = options;
  while (!signal.aborted) {
    const keys = [...options.keys()];
    const ticks = Math.max(1, Math.floor(options.periodSeconds / tickSeconds));
    for (let tick = 0; tick < ticks; tick += 1) {
      const slept = await sleepUnlessAborted(clock, options.periodSeconds / ticks, signal);
      if (!slept) return;
      enqueueSlice(options, keys, tick, ticks);
    }
  }
}

function enqueueSlice(
  options: ResyncOptions,
  keys: readonly string[],
  tick: number,
  ticks: number,
) {
  const from = Math.floor((keys.length * tick) / ticks);
  const to = Math.floor((keys.length * (tick + 1)) / ticks);
  for (const key of keys.slice(from, to)) options.enqueue(key, { priority: "resync" });
}
