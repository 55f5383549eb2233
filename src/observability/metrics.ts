/** Implements the runtime's metrics with prom-client, with the prefix rota_. */
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from "prom-client";
import type { HistogramDescription, MetricDescription, Metrics } from "../runtime/metrics.ts";

export const metricPrefix = "rota_";

/** Gauges with the suffix of a counter: Prometheus' linter rejects them. */
const misnamedDefaults = [
  "nodejs_active_handles_total",
  "nodejs_active_requests_total",
  "nodejs_active_resources_total",
];

function described(description: MetricDescription, registry: Registry) {
  return {
    name: metricPrefix + description.name,
    help: description.help,
    labelNames: [...description.labelNames],
    registers: [registry],
  };
}

/** Creates metrics in one registry. The same name returns the same metric. */
export class PrometheusMetrics implements Metrics {
  readonly registry = new Registry();
  readonly #made = new Map<string, unknown>();

  constructor() {
    collectDefaultMetrics({ register: this.registry });
    for (const name of misnamedDefaults) this.registry.removeSingleMetric(name);
  }

  counter(description: MetricDescription) {
    const counter = this.#once(
      description,
      () => new Counter(described(description, this.registry)),
    );
    return {
      add: (labels: Readonly<Record<string, string>>, amount = 1) =>
        counter.inc({ ...labels }, amount),
    };
  }

  gauge(description: MetricDescription) {
    const gauge = this.#once(description, () => new Gauge(described(description, this.registry)));
    return {
      set: (labels: Readonly<Record<string, string>>, value: number) =>
        gauge.set({ ...labels }, value),
    };
  }

  gaugeFunction(
    description: MetricDescription,
    read: () => readonly {
      readonly labels: Readonly<Record<string, string>>;
      readonly value: number;
    }[],
  ): void {
    const readers = this.#once(description, () => {
      const all: (typeof read)[] = [];
      const gauge = new Gauge({
        ...described(description, this.registry),
        collect: () => {
          gauge.reset();
          for (const { labels, value } of all.flatMap((reader) => reader())) {
            gauge.set({ ...labels }, value);
          }
        },
      });
      return all;
    });
    readers.push(read);
  }

  histogram(description: HistogramDescription) {
    const histogram = this.#once(
      description,
      () =>
        new Histogram({
          ...described(description, this.registry),
          buckets: [...description.buckets],
        }),
    );
    return {
      observe: (labels: Readonly<Record<string, string>>, value: number) =>
        histogram.observe({ ...labels }, value),
    };
  }

  #once<Made>(description: MetricDescription, make: () => Made): Made {
    const made = (this.#made.get(description.name) as Made | undefined) ?? make();
    this.#made.set(description.name, made);
    return made;
  }
}
