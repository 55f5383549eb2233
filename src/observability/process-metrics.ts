/** How well the process itself keeps time: turns of its event loop, and its machine's clock. */
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { AnchoredClock } from "../runtime/clock.ts";
import type { Metrics } from "../runtime/metrics.ts";

const resolutionMilliseconds = 20;
/** The present and the previous period are shown, so that every scrape sees each delay at least once. */
const periodMilliseconds = 60_000;

/** Registers the longest delay of the event loop lately. While the loop is blocked nothing is answered and no Lease renewed. */
export function eventLoopMetrics(metrics: Metrics): void {
  const delays = monitorEventLoopDelay({ resolution: resolutionMilliseconds });
  let previous = 0;
  const longest = (): number => Math.max(0, delays.max / 1e9 - resolutionMilliseconds / 1000);
  delays.enable();
  setInterval(() => {
    previous = longest();
    delays.reset();
  }, periodMilliseconds).unref();
  metrics.gaugeFunction(
    {
      name: "event_loop_delay_max_seconds",
      help: "Longest delay of the event loop in the last one to two minutes",
      labelNames: [],
    },
    () => [{ labels: {}, value: Math.max(previous, longest()) }],
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
