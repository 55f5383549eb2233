/**
 * `npm run bench -- engine [finder|decide]`: the decision and the victim finder, each over 5,000 nodes.
 * Prints a table and writes .local/bench/engine.json. ROUNDS sets the number of measured rounds.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { join } from "node:path";
import Table from "cli-table3";
import { measureDecisions } from "./decide.ts";
import { measureFinder } from "./finder.ts";
import type { Measurement } from "./measure.ts";

const rounds = Number(process.env["ROUNDS"] ?? 50);
const size = { nodes: 5000, podsPerNode: 20, gang: 8 };

const parts: Readonly<Record<string, () => Promise<Measurement[]>>> = {
  finder: () => measureFinder(size, rounds),
  decide: () => measureDecisions(Math.ceil(rounds / 10)),
};

function print(measurements: readonly Measurement[]): void {
  const head = ["what", "rounds", "p50 ms", "p99 ms", "worst ms"];
  const table = new Table({ head, style: { head: [], border: [] } });
  for (const one of measurements) {
    const { name, p50Milliseconds, p99Milliseconds, worstMilliseconds } = one;
    table.push([name, one.rounds, p50Milliseconds, p99Milliseconds, worstMilliseconds]);
  }
  console.log(table.toString());
}

function write(measurements: readonly Measurement[]): void {
  const folder = join(import.meta.dirname, "..", "..", ".local", "bench");
  mkdirSync(folder, { recursive: true });
  const machine = { cpus: cpus().length, model: cpus()[0]?.model, loadAverage: loadavg() };
  const file = join(folder, "engine.json");
  writeFileSync(file, `${JSON.stringify({ machine, size, measurements }, undefined, 2)}\n`);
  console.log(`written to ${file}`);
}

const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !(name in parts));
if (unknown.length > 0) {
  console.error(`no such part: ${unknown.join(", ")}; there are ${Object.keys(parts).join(", ")}`);
  process.exitCode = 2;
} else {
  const measurements: Measurement[] = [];
  for (const [name, part] of Object.entries(parts)) {
    if (asked.length === 0 || asked.includes(name)) measurements.push(...(await part()));
  }
  print(measurements);
  write(measurements);
}
