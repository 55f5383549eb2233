/** How well the process itself keeps time: turns of its event loop, and its machine's clock. */
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { AnchoredClock } from "../runtime/clock.ts";
import { threadSeconds } from "../runtime/main-thread.ts";
import type { Metrics } from "../runtime/metrics.ts";

const resolutionMilliseconds = 20;
/** The present and the previous period are shown, so that every scrape sees each delay at least once. */
const periodMilliseconds = 60_000;

/** The most CPU between two ticks of a timer: of one turn of the event loop, and of the short ones beside it. */
class TurnCpu {
  #lastSeconds = threadSeconds();
  #longest = 0;

  tick(): void {
    const now = threadSeconds();
    this.#longest = Math.max(this.#longest, now - this.#lastSeconds);
    this.#lastSeconds = now;
  }

  longest(): number {
    return this.#longest;
  }

  reset(): void {
    this.#longest = 0;
  }
}

/**
 * Registers the longest delay of the event loop lately, by the clock and by CPU time. While the loop is blocked nothing is
 * answered and no Lease renewed.
 */
export function eventLoopMetrics(metrics: Metrics): void {
  const delays = monitorEventLoopDelay({ resolution: resolutionMilliseconds });
  const turns = new TurnCpu();
  let previous = 0;
  let previousCpu = 0;
  const longest = (): number => Math.max(0, delays.max / 1e9 - resolutionMilliseconds / 1000);
  delays.enable();
  setInterval(() => turns.tick(), resolutionMilliseconds).unref();
  setInterval(() => {
    previous = longest();
    previousCpu = turns.longest();
    delays.reset();
    turns.reset();
  }, periodMilliseconds).unref();
  metrics.gaugeFunction(
    {
      name: "event_loop_delay_max_seconds",
      help: "Longest delay of the event loop in the last one to two minutes",
      labelNames: [],
    },
    () => [{ labels: {}, value: Math.max(previous, longest()) }],
  );
  metrics.gaugeFunction(
    {
      name: "event_loop_turn_cpu_max_seconds",
      help: "Most CPU time of the main thread in a turn of the event loop, in the last one to two minutes, without scheduling decisions",
      labelNames: [],
    },
    () => [{ labels: {}, value: Math.max(previousCpu, turns.longest()) }],
  );
}

/** Registers how far the database's clock differs from the machine's. */
export function clockMetrics(metrics: Metrics, clock: Pick<AnchoredClock, "aheadSeconds">): void {
  metrics.gaugeFunction(
    {
      name: "database_clock_ahead_seconds",
      help: "How far the database's clock, which counts, is ahead of the operator's machine",
      labelNames: [],
    },
    () => [{ labels: {}, value: clock.aheadSeconds }],
  );
}
