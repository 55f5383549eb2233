/** The victim finder over 5,000 nodes and 100,000 running pods in a PostgreSQL of its own. */
import { createPool, type DatabasePool } from "../../src/db/pool.ts";
import { findVictims } from "../../src/db/victim-finder.ts";
import type { VictimRequest } from "../../src/domain/scheduling/types.ts";
import { type ClusterSize, fillCluster } from "./cluster.ts";
import { withDatabase } from "./database.ts";
import { measure, type Measurement } from "./measure.ts";

const request = (changes: Partial<VictimRequest>, gpus: number): VictimRequest => ({
  jobId: "00000000-0000-0000-0000-000000000001",
  priority: 10,
  perPod: { gpus, cpuMillis: 4000, memoryBytes: 1024 ** 3, pods: 1 },
  parallelism: 1,
  inside: true,
  over: [],
  borrows: false,
  changed: [],
  ...changes,
});

interface Case {
  readonly name: string;
  readonly request: VictimRequest;
  readonly found: boolean;
}

const cases: readonly Case[] = [
  { name: "positive: 2 GPUs, every job may go", request: request({}, 2), found: true },
  { name: "positive: 8 GPUs, every job may go", request: request({}, 8), found: true },
  { name: "positive: 4 GPUs, half of them", request: request({ priority: 3 }, 4), found: true },
  { name: "positive: gang of 16 x 8 GPUs", request: request({ parallelism: 16 }, 8), found: true },
  { name: "negative: 9 GPUs, no node has them", request: request({}, 9), found: false },
  {
    name: "negative: a borrower of lowest priority",
    request: request({ priority: 0, inside: false, borrows: true }, 8),
    found: false,
  },
];

function inDatabase<T>(work: (pool: DatabasePool) => Promise<T>): Promise<T> {
  return withDatabase(async (url) => {
    const pool = createPool(url, { statementTimeoutSeconds: 120 });
    await pool.learnTypes();
    try {
      return await work(pool);
    } finally {
      await pool.end();
    }
  });
}

/** Throws when a case finds what it should not, or nothing where it should: a fast wrong answer is no result. */
export function measureFinder(size: ClusterSize, rounds: number): Promise<Measurement[]> {
  return inDatabase(async (pool) => {
    await fillCluster(pool, size);
    const measurements: Measurement[] = [];
    for (const one of cases) {
      measurements.push(
        await measure(`finder, ${one.name}`, rounds, async () => {
          const victims = await findVictims(pool, "bench", [one.request]);
          if (victims.length > 0 !== one.found) throw new Error(`${one.name}: ${victims.length}`);
        }),
      );
    }
    return measurements;
  });
}
