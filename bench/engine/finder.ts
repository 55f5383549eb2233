/** The victim finder over 5,000 nodes and 100,000 running pods in a PostgreSQL of its own. */
import { createPool, type DatabasePool } from "../../src/db/client/connection-pool.ts";
import { findVictims } from "../../src/db/scheduling/victims.ts";
import type { VictimRequest } from "../../src/domain/scheduling/decision.ts";
import { type ClusterSize, fillCluster, type PodSizes } from "./cluster.ts";
import { withDatabase } from "./database.ts";
import { measure, type Measurement } from "./measure.ts";

const gibibyte = 1024 ** 3;

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
  readonly requests: readonly VictimRequest[];
  readonly found: boolean;
}

const several = Array.from({ length: 16 }, (_, index) =>
  request({ priority: 1 + (index % 8), parallelism: 1 + (index % 3) }, 2 ** (index % 4)),
);

const one = (changes: Partial<VictimRequest>, gpus: number): VictimRequest[] => [
  request(changes, gpus),
];

const alike: readonly Case[] = [
  { name: "positive: 2 GPUs, every job may go", requests: one({}, 2), found: true },
  { name: "positive: 8 GPUs, every job may go", requests: one({}, 8), found: true },
  { name: "positive: 4 GPUs, half of them", requests: one({ priority: 3 }, 4), found: true },
  { name: "positive: gang of 16 x 8 GPUs", requests: one({ parallelism: 16 }, 8), found: true },
  { name: "negative: 9 GPUs, no node has them", requests: one({}, 9), found: false },
  {
    name: "negative: a borrower of lowest priority",
    requests: one({ priority: 0, inside: false, borrows: true }, 8),
    found: false,
  },
  { name: "positive: 16 jobs in one statement", requests: several, found: true },
];

const nodeName = (index: number): string => `node-${String(index).padStart(5, "0")}`;

/** Nodes whose pods have one GPU each, while pods of 8 are elsewhere: no bound helps, all nodes are looked at. */
const withSmallPods = (nodes: number): string[] =>
  Array.from({ length: nodes / 4 }, (_, index) => nodeName(4 * index));

const mixed = ({ nodes }: ClusterSize): readonly Case[] => [
  { name: "mixed, positive: 8 GPUs, every job may go", requests: one({}, 8), found: true },
  { name: "mixed, positive: 8 GPUs, half of them", requests: one({ priority: 3 }, 8), found: true },
  {
    name: "mixed, positive: 8 GPUs, on a quarter of the nodes",
    requests: one({ nodes: withSmallPods(nodes) }, 8),
    found: true,
  },
  {
    name: "mixed, positive: 100 cores, CPUs are short",
    requests: one({ perPod: { gpus: 0, cpuMillis: 100_000, memoryBytes: 0, pods: 1 } }, 0),
    found: true,
  },
];

const scratch = "ephemeral-storage";

/** Every job uses scratch space, and none is left on the nodes that the decision names. */
const byName: readonly Case[] = [32, 256].map((count) => {
  const amounts = { [scratch]: 10 * gibibyte };
  const perPod = { gpus: 0, cpuMillis: 1000, memoryBytes: gibibyte, pods: 1, byName: amounts };
  const room = { gpus: 0, cpuMillis: 0, memoryBytes: 0, pods: 10, byName: { [scratch]: 0 } };
  const rooms = Array.from({ length: count }, (_, index) => ({ node: nodeName(index), room }));
  return {
    name: `by name, positive: scratch space, on ${count} nodes`,
    requests: one({ perPod, rooms, nodes: [] }, 0),
    found: true,
  };
});

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
async function measureCases(
  pool: DatabasePool,
  cases: readonly Case[],
  rounds: number,
): Promise<Measurement[]> {
  const measurements: Measurement[] = [];
  for (const { name, requests, found } of cases) {
    measurements.push(
      await measure(`finder, ${name}`, rounds, async () => {
        const victims = await findVictims(pool, "bench", requests);
        if (victims.length > 0 !== found) throw new Error(`${name}: ${victims.length}`);
      }),
    );
  }
  return measurements;
}

const measureCluster = (
  size: ClusterSize,
  sizes: PodSizes,
  cases: readonly Case[],
  rounds: number,
): Promise<Measurement[]> =>
  inDatabase(async (pool) => {
    await fillCluster(pool, size, sizes);
    return measureCases(pool, cases, rounds);
  });

/** The finder reads what jobs use; what nodes have is in the request. */
const measureByName = (size: ClusterSize, rounds: number): Promise<Measurement[]> =>
  inDatabase(async (pool) => {
    await fillCluster(pool, size, "alike");
    await pool.query(
      "INSERT INTO job_resources SELECT id, $1, $2 FROM jobs WHERE status = 'running'",
      [scratch, 5 * gibibyte],
    );
    await pool.query("ANALYZE job_resources");
    return measureCases(pool, byName, rounds);
  });

export async function measureFinder(size: ClusterSize, rounds: number): Promise<Measurement[]> {
  return [
    ...(await measureCluster(size, "alike", alike, rounds)),
    ...(await measureCluster(size, "mixed", mixed(size), rounds)),
    ...(await measureByName(size, rounds)),
  ];
}
