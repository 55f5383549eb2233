/**
 * `npm run bench -- engine [finder|cycle|decide|e2e]`: the victim finder, the whole cycle and the decision alone, over 5,000 nodes; 500 jobs on
 * a real control plane. Prints tables and writes .local/bench/engine.json. ROUNDS sets the number of measured rounds;
 * SUBMIT=client submits the 500 jobs eight at once instead of by one kubectl.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { join } from "node:path";
import Table from "cli-table3";
import { measureCycles } from "./cycle.ts";
import { measureDecisions } from "./decide.ts";
import { measureFinder } from "./finder.ts";
import { type ClusterRun, measureJobsOnCluster } from "./jobs-on-cluster.ts";
import type { Measurement } from "./measure.ts";

const rounds = Number(process.env["ROUNDS"] ?? 50);
const size = { nodes: 5000, podsPerNode: 20, gang: 8 };

const parts: Readonly<Record<string, () => Promise<Measurement[]>>> = {
  finder: () => measureFinder(size, rounds),
  cycle: () => measureCycles(size, Math.ceil(rounds / 5)),
  decide: () => measureDecisions(Math.ceil(rounds / 10)),
};

const clusterPart = "e2e";
const jobs = 500;
const clusterNodes = 100;

function printRun(run: ClusterRun): void {
  const table = new Table({ style: { head: [], border: [] } });
  const { operatorRequests, apiWrites, ...figures } = run;
  for (const [what, value] of Object.entries(figures))
    table.push([what, String(Math.round(value * 100) / 100)]);
  for (const [which, count] of Object.entries(operatorRequests))
    table.push([`operator: ${which}`, String(count)]);
  for (const [which, count] of Object.entries(apiWrites))
    table.push([`all: ${which}`, String(count)]);
  console.log(table.toString());
}

function print(measurements: readonly Measurement[]): void {
  const head = ["what", "rounds", "p50 ms", "p99 ms", "worst ms"];
  const table = new Table({ head, style: { head: [], border: [] } });
  for (const one of measurements) {
    const { name, p50Milliseconds, p99Milliseconds, worstMilliseconds } = one;
    table.push([name, one.rounds, p50Milliseconds, p99Milliseconds, worstMilliseconds]);
  }
  console.log(table.toString());
}

function write(measurements: readonly Measurement[], cluster: ClusterRun | undefined): void {
  const folder = join(import.meta.dirname, "..", "..", ".local", "bench");
  mkdirSync(folder, { recursive: true });
  const machine = { cpus: cpus().length, model: cpus()[0]?.model, loadAverage: loadavg() };
  const file = join(folder, "engine.json");
  writeFileSync(
    file,
    `${JSON.stringify({ machine, size, measurements, cluster }, undefined, 2)}\n`,
  );
  console.log(`written to ${file}`);
}

const asked = process.argv.slice(2);
const known = [...Object.keys(parts), clusterPart];
const unknown = asked.filter((name) => !known.includes(name));
const isAsked = (name: string): boolean => asked.length === 0 || asked.includes(name);
if (unknown.length > 0) {
  console.error(`no such part: ${unknown.join(", ")}; there are ${known.join(", ")}`);
  process.exitCode = 2;
} else {
  const measurements: Measurement[] = [];
  for (const [name, part] of Object.entries(parts)) {
    if (isAsked(name)) measurements.push(...(await part()));
  }
  if (measurements.length > 0) print(measurements);
  const cluster = isAsked(clusterPart) ? await measureJobsOnCluster(jobs, clusterNodes) : undefined;
  if (cluster) printRun(cluster);
  write(measurements, cluster);
}
