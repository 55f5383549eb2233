/** Repeats an operation and tells its median and worst times. */
export interface Measurement {
  readonly name: string;
  readonly rounds: number;
  readonly p50Milliseconds: number;
  readonly p99Milliseconds: number;
  readonly worstMilliseconds: number;
}

export const percentile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;

const rounded = (milliseconds: number): number => Math.round(milliseconds * 10) / 10;

/** Warming up does not count: PostgreSQL plans a prepared statement anew for its first five executions. */
const warmUpRounds = 6;

export async function measure(
  name: string,
  rounds: number,
  operation: () => unknown,
): Promise<Measurement> {
  const times: number[] = [];
  for (let round = -warmUpRounds; round < rounds; round += 1) {
    const started = performance.now();
    await operation();
    if (round >= 0) times.push(performance.now() - started);
  }
  times.sort((a, b) => a - b);
  return {
    name,
    rounds,
    p50Milliseconds: rounded(percentile(times, 0.5)),
    p99Milliseconds: rounded(percentile(times, 0.99)),
    worstMilliseconds: rounded(times.at(-1) ?? 0),
  };
}
