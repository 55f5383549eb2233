/**
 * `npm run bench -- db [queue] [peers] [alike] [blocked] [domain] [--pending N] [--projects N] [--batch N]
 * [--connections N]`: the database's work on a PostgreSQL of its own, or in a new database of DATABASE_URL's
 * server. Prints tables and writes .local/bench/db.json. Without names all parts run; --pending 1000000 is
 * the large queue; --batch and --connections measure these sizes only.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import Table from "cli-table3";
import { createTestDatabase } from "../../test/support/database.ts";
import type { Measurement } from "../engine/measure.ts";
import { measureConfigs, measurePlans, measureTree } from "./domain.ts";
import { fillProject } from "./fill.ts";
import {
  measureBlocked,
  measureLikeForLike,
  measurePeers,
  measureRota,
  type QueueResult,
} from "./queue.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    pending: { type: "string", default: "100000" },
    projects: { type: "string", default: "100000" },
    batch: { type: "string", multiple: true, default: ["1", "10", "100", "500"] },
    connections: { type: "string", multiple: true, default: ["1", "4"] },
  },
});
const pending = Number(values.pending);
const projects = Number(values.projects);
const sizes = { batches: values.batch.map(Number), connections: values.connections.map(Number) };
const wants = (part: string): boolean => positionals.length === 0 || positionals.includes(part);

const noBorders = { style: { head: [], border: [] } };

function printQueue(results: readonly QueueResult[]): void {
  const table = new Table({
    head: ["what", "pending", "connections", "batch", "jobs/s", "server µs", "client µs"],
    ...noBorders,
  });
  for (const result of results) {
    const { what, pending, connections, batch, jobsPerSecond } = result;
    const { serverCpuMicros, clientCpuMicros } = result;
    const cpu = [serverCpuMicros ?? NaN, clientCpuMicros].map((micros) => Math.round(micros));
    table.push([what, pending, connections, batch, Math.round(jobsPerSecond), ...cpu]);
  }
  console.log(table.toString());
}

function printTimes(measurements: readonly Measurement[]): void {
  const table = new Table({ head: ["what", "p50 ms", "p99 ms"], ...noBorders });
  for (const { name, p50Milliseconds, p99Milliseconds } of measurements) {
    table.push([name, p50Milliseconds, p99Milliseconds]);
  }
  console.log(table.toString());
}

const database = await createTestDatabase({ maxConnections: 8, statementTimeoutSeconds: 300 });
const { pool, url } = database;
const queue: QueueResult[] = [];
const times: Measurement[] = [];
if (wants("queue")) queue.push(...(await measureRota(pool, pending, sizes)));
if (wants("blocked")) queue.push(...(await measureBlocked(pool, pending, sizes)));
if (wants("peers")) queue.push(...(await measurePeers(pool, url, pending, sizes)));
if (wants("alike")) queue.push(...(await measureLikeForLike(pool, url, pending, sizes)));
if (wants("domain")) {
  times.push(...(await measureConfigs(pool, await fillProject(pool, "configs"))));
  times.push(...(await measurePlans(pool, projects)));
  times.push(...(await measureTree(pool, projects)));
}
await database.drop();

if (queue.length > 0) printQueue(queue);
if (times.length > 0) printTimes(times);
const folder = join(import.meta.dirname, "..", "..", ".local", "bench");
mkdirSync(folder, { recursive: true });
const machine = { cpus: cpus().length, model: cpus()[0]?.model, loadAverage: loadavg() };
writeFileSync(
  join(folder, "db.json"),
  `${JSON.stringify({ machine, queue, times }, undefined, 2)}\n`,
);
