/** An operator's own counters, read from its /metrics. */
import type { Operator } from "../../dev/local/operator.ts";

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const line = /^(\w+)(?:\{(.*)\})? (\S+)$/;
const label = /(\w+)="([^"]*)"/g;

export async function samplesOf({ url }: Operator, metric: string): Promise<Sample[]> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return text.split("\n").flatMap((row) => {
    const [, name = "", labels = "", value] = line.exec(row) ?? [];
    if (name !== metric) return [];
    const pairs = [...labels.matchAll(label)].map(([, key = "", word = ""]) => [key, word]);
    return [{ name, labels: Object.fromEntries(pairs), value: Number(value) }];
  });
}

const total = (samples: readonly Sample[]): number =>
  samples.reduce((sum, { value }) => sum + value, 0);

/** Statements sent to the database so far. */
export const statementsOf = async (operator: Operator): Promise<number> =>
  total(await samplesOf(operator, "rota_db_statement_duration_seconds_count"));

/** Writes that the API server took so far, by "verb resource"; one that met a conflict and was tried again counts once. */
export async function writesOf(operator: Operator): Promise<Map<string, number>> {
  const samples = await samplesOf(operator, "rota_rest_client_requests_total");
  const writes = new Map<string, number>();
  for (const { labels, value } of samples) {
    const { code = "", verb = "", resource = "" } = labels;
    if (!code.startsWith("2")) continue;
    if (!["create", "update", "apply", "patch", "delete", "evict"].includes(verb)) continue;
    const kind = `${verb} ${resource}`;
    writes.set(kind, (writes.get(kind) ?? 0) + value);
  }
  return writes;
}
