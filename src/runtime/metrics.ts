/** Metrics as the runtime needs them, independent of the library that collects them. */
export type Labels = Readonly<Record<string, string>>;

export interface Counter {
  add(labels: Labels, amount?: number): void;
}

export interface Gauge {
  set(labels: Labels, value: number): void;
}

export interface Histogram {
  observe(labels: Labels, value: number): void;
}

export interface MetricDescription {
  readonly name: string;
  readonly help: string;
  readonly labelNames: readonly string[];
}

export interface HistogramDescription extends MetricDescription {
  /** Upper bounds, ascending. */
  readonly buckets: readonly number[];
}

/** Creates metrics. The same name must return the same metric. */
export interface Metrics {
  counter(description: MetricDescription): Counter;
  gauge(description: MetricDescription): Gauge;
  /**
   * A gauge computed on collection, with one sample per returned label set. Further calls with the same name add readers.
   */
  gaugeFunction(
    description: MetricDescription,
    read: () => readonly { readonly labels: Labels; readonly value: number }[],
  ): void;
  histogram(description: HistogramDescription): Histogram;
}

const ignore = (): void => {};

export const noMetrics: Metrics = {
  counter: () => ({ add: ignore }),
  gauge: () => ({ set: ignore }),
  gaugeFunction: ignore,
  histogram: () => ({ observe: ignore }),
};

/** Seconds from 1 ms to 17 minutes in powers of four: a usable distribution with few series. */
export const durationBuckets: readonly number[] = [
  0.001, 0.004, 0.016, 0.064, 0.256, 1, 4, 16, 64, 256, 1024,
];
