import { durationBuckets } from "./metrics.ts";
import type { Metrics } from "./metrics.ts";

/** Values of the gauges, read on collection. */
export interface QueueView {
  depth(): number;
  workingSinceSeconds(): readonly number[];
  nowSeconds(): number;
}

export interface QueueMetrics {
  added(): void;
  retried(): void;
  taken(waitedSeconds: number): void;
  worked(seconds: number): void;
}

const describe = (metric: string, help: string) => ({
  name: `workqueue_${metric}`,
  help,
  labelNames: ["name"],
});

/** Named as client-go's work queues, so that existing dashboards and alerts work. */
export function createQueueMetrics(metrics: Metrics, name: string, view: QueueView): QueueMetrics {
  const labels = { name };
  const adds = metrics.counter(describe("adds_total", "Keys added"));
  const retries = metrics.counter(describe("retries_total", "Keys added again after a failure"));
  const latency = metrics.histogram({
    ...describe("queue_duration_seconds", "Time that keys wait in the queue"),
    buckets: durationBuckets,
  });
  const work = metrics.histogram({
    ...describe("work_duration_seconds", "Duration of work on a key"),
    buckets: durationBuckets,
  });
  const gauge = (metric: string, help: string, read: () => number): void =>
    metrics.gaugeFunction(describe(metric, help), () => [{ labels, value: read() }]);
  const ages = (): number[] =>
    view.workingSinceSeconds().map((sinceSeconds) => view.nowSeconds() - sinceSeconds);

  gauge("depth", "Keys waiting", () => view.depth());
  gauge("unfinished_work_seconds", "Total time spent so far on keys in progress", () =>
    ages().reduce((sum, age) => sum + age, 0),
  );
  gauge(
    "longest_running_processor_seconds",
    "Time spent so far on the slowest key in progress",
    () => ages().reduce((longest, age) => Math.max(longest, age), 0),
  );

  return {
    added: () => adds.add(labels),
    retried: () => retries.add(labels),
    taken: (waitedSeconds) => latency.observe(labels, waitedSeconds),
    worked: (seconds) => work.observe(labels, seconds),
  };
}
