/** The queue beside its peers: jobs claimed and completed per second. */
import type { Pool } from "pg";
import { emptyQueue, fillJobs, fillNodes, fillProject } from "./fill.ts";
import { openPgBoss, runGraphile } from "./peers.ts";
import { nodesPerWorker, runRota } from "./rota-queue.ts";

export interface QueueResult {
  readonly what: string;
  readonly pending: number;
  readonly connections: number;
  readonly batch: number;
  readonly jobsPerSecond: number;
}

const combinations = [1, 4].flatMap((connections) =>
  [1, 10, 100, 500].map((batch) => ({
    connections,
    batch,
    jobs: Math.min(150 * batch, 10_000) * Math.sqrt(connections),
  })),
);
const blockedJobs = 50_000;

async function refill(pool: Pool, pending: number): Promise<void> {
  await emptyQueue(pool);
  await fillNodes(pool, nodesPerWorker * 4);
  await fillJobs(pool, await fillProject(pool, `bench-${Date.now()}`), pending, 0);
  await pool.query("VACUUM ANALYZE jobs");
}

export async function measureRota(pool: Pool, pending: number): Promise<QueueResult[]> {
  await refill(pool, pending);
  const results: QueueResult[] = [];
  for (const run of combinations) {
    const jobsPerSecond = await runRota(pool, run);
    results.push({ what: "Rota", pending, ...run, jobsPerSecond });
  }
  return results;
}

/** The same claim with and without 50,000 jobs of higher priority at the head, of a project that may not start any. */
export async function measureBlocked(pool: Pool, pending: number): Promise<QueueResult[]> {
  const results: QueueResult[] = [];
  const run = { connections: 1, batch: 100, jobs: 8_000, perProject: 100 };
  for (const blocked of [0, blockedJobs]) {
    await refill(pool, pending);
    const project = await fillProject(pool, `blocked-${Date.now()}`);
    await fillJobs(pool, project, blocked, 10);
    await pool.query("VACUUM ANALYZE jobs");
    const jobsPerSecond = await runRota(pool, { ...run, except: project });
    results.push({ what: `Rota, ${blocked} blocked at the head`, pending, ...run, jobsPerSecond });
  }
  return results;
}

export async function measurePeers(url: string, pending: number): Promise<QueueResult[]> {
  const results: QueueResult[] = [];
  const boss = await openPgBoss(url, pending, 4);
  for (const run of combinations) {
    results.push({ what: "pg-boss", pending, ...run, jobsPerSecond: await boss.measure(run) });
  }
  await boss.close();
  for (const run of combinations) {
    results.push({
      what: "graphile-worker",
      pending: run.jobs,
      ...run,
      jobsPerSecond: await runGraphile({ url, ...run }),
    });
  }
  return results;
}
