/** Waiting for a condition, with a bound. */
import { setTimeout as delay } from "node:timers/promises";

export interface WaitOptions {
  /** What is waited for, as it reads after "gave up waiting for". */
  readonly what: string;
  readonly timeoutMs: number;
  readonly intervalMs?: number;
}

/** Calls the probe until it gives something other than undefined or false; its errors count as "not yet". */
export async function waitFor<T>(
  probe: () => Promise<T | undefined | false> | T | undefined | false,
  { what, timeoutMs, intervalMs = 50 }: WaitOptions,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const outcome = await attempt(probe);
    if (outcome.value !== undefined && outcome.value !== false) return outcome.value;
    if (performance.now() > deadline) {
      const { error } = outcome;
      const last = error instanceof Error ? `: ${error.message}` : "";
      throw new Error(`gave up waiting for ${what} after ${timeoutMs / 1000} s${last}`, {
        cause: error,
      });
    }
    await delay(intervalMs);
  }
}

async function attempt<T>(probe: () => Promise<T> | T): Promise<{ value?: T; error?: unknown }> {
  try {
    return { value: await probe() };
  } catch (error) {
    return { error };
  }
}
