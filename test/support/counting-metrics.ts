/** Metrics that a test can read: counters are summed over labels, gauge functions are called on reading. */
import type { Labels, Metrics } from "../../src/runtime/metrics.ts";

export interface CountingMetrics extends Metrics {
  /** A counter's sum over all label sets, or the sum of a gauge's last values. */
  total(name: string): number;
  /** The value of one label set. */
  value(name: string, labels: Labels): number | undefined;
  /** The observations of a histogram, in order. */
  observed(name: string): readonly number[];
}

const textOf = (labels: Labels): string =>
  Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .sort((one, other) => one.localeCompare(other))
    .join(",");

export function createCountingMetrics(): CountingMetrics {
  const values = new Map<string, Map<string, number>>();
  const observations = new Map<string, number[]>();
  const functions = new Map<string, (() => readonly { labels: Labels; value: number }[])[]>();
  const valuesOf = (name: string): Map<string, number> => {
    const known = values.get(name) ?? new Map<string, number>();
    values.set(name, known);
    return known;
  };
  const samples = (name: string): [string, number][] => [
    ...valuesOf(name),
    ...(functions.get(name) ?? []).flatMap((read) =>
      read().map(({ labels, value }): [string, number] => [textOf(labels), value]),
    ),
  ];
  return {
    counter: ({ name }) => ({
      add: (labels, amount = 1) => {
        const known = valuesOf(name);
        known.set(textOf(labels), (known.get(textOf(labels)) ?? 0) + amount);
      },
    }),
    gauge: ({ name }) => ({
      set: (labels, value) => {
        valuesOf(name).set(textOf(labels), value);
      },
    }),
    gaugeFunction: ({ name }, read) => {
      functions.set(name, [...(functions.get(name) ?? []), read]);
    },
    histogram: ({ name }) => ({
      observe: (_labels, value) => {
        const known = observations.get(name) ?? [];
        known.push(value);
        observations.set(name, known);
      },
    }),
    total: (name) => samples(name).reduce((sum, [, value]) => sum + value, 0),
    value: (name, labels) => new Map(samples(name)).get(textOf(labels)),
    observed: (name) => observations.get(name) ?? [],
  };
}
