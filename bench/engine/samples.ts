/** Prometheus text as samples, and what two readings differ by. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export type Samples = readonly Sample[];

const linePattern = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const labelPattern = /(\w+)="((?:[^"\\]|\\.)*)"/g;

export function readSamples(text: string): Samples {
  return text.split("\n").flatMap((line) => {
    const [, name, labels = "", value] = linePattern.exec(line) ?? [];
    if (name === undefined || value === undefined) return [];
    const pairs = [...labels.matchAll(labelPattern)].map(([, key = "", text = ""]) => [key, text]);
    return [{ name, labels: Object.fromEntries(pairs), value: Number(value) }];
  });
}

const idOf = ({ name, labels }: Sample): string => name + JSON.stringify(labels);

/** Of counters: how much each has grown. */
export function difference(before: Samples, after: Samples): Samples {
  const former = new Map(before.map((sample) => [idOf(sample), sample.value]));
  return after.map((sample) => ({
    ...sample,
    value: sample.value - (former.get(idOf(sample)) ?? 0),
  }));
}

export const total = (samples: Samples, name: string): number =>
  samples.filter((sample) => sample.name === name).reduce((sum, { value }) => sum + value, 0);
