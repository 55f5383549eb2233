import type { Metrics } from "../runtime/metrics.ts";
import type { ResourceName } from "./resource.ts";

export interface ReflectorView {
  objects(): number;
  lastEventSeconds(): number;
}

export interface ReflectorMetrics {
  listed(): void;
  changed(): void;
  failed(reason: string): void;
  skipped(): void;
}

/** Registers the metrics of one resource; the gauges read `view` on collection. */
export function createReflectorMetrics(
  metrics: Metrics,
  type: ResourceName,
  view: ReflectorView,
): ReflectorMetrics {
  const labels = { resource: type.plural };
  const labelNames = ["resource"];
  const lists = metrics.counter({
    name: "reflector_lists_total",
    help: "Full lists of the collection; more than one is a relist",
    labelNames,
  });
  const changes = metrics.counter({
    name: "reflector_changes_total",
    help: "Object changes applied to the store",
    labelNames,
  });
  const failures = metrics.counter({
    name: "reflector_failures_total",
    help: "Failed lists and watches, by reason",
    labelNames: ["resource", "reason"],
  });
  const skipped = metrics.counter({
    name: "reflector_skipped_total",
    help: "Versions of objects that could not be understood and were left out; the log names them",
    labelNames,
  });
  // Starts at 0, so that the first skipped object is an increase.
  skipped.add(labels, 0);
  metrics.gaugeFunction(
    { name: "reflector_objects", help: "Objects held in the store", labelNames },
    () => [{ labels, value: view.objects() }],
  );
  metrics.gaugeFunction(
    {
      name: "reflector_last_event_age_seconds",
      help: "Time since data of the server was last applied, including bookmarks",
      labelNames,
    },
    () => [{ labels, value: view.lastEventSeconds() }],
  );
  return {
    listed: () => lists.add(labels),
    changed: () => changes.add(labels),
    failed: (reason) => failures.add({ ...labels, reason }),
    skipped: () => skipped.add(labels),
  };
}
