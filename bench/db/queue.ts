/** The queue beside its peers: jobs claimed and completed per second, and the CPU that each costs. */
import type { Pool } from "pg";
import type { Cost } from "./cpu.ts";
import { emptyQueue, fillJobs, fillNodes, fillProject } from "./fill.ts";
import { measureBossWithRecords, measurePlain, withoutRules } from "./like-for-like.ts";
import { fillBoss, openGraphile, openPgBoss, type Peer } from "./peers.ts";
import { nodesPerWorker, type QueueRun, runRota } from "./rota-queue.ts";

export interface QueueResult extends Cost {
  readonly what: string;
  readonly pending: number;
  readonly connections: number;
  readonly batch: number;
}

/** Batches and connections to measure. */
export interface Sizes {
  readonly connections: readonly number[];
  readonly batches: readonly number[];
}

const runsOf = ({ connections, batches }: Sizes): QueueRun[] =>
  connections.flatMap((connections) =>
    batches.map((batch) => ({
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
  await pool.query("VACUUM ANALYZE");
}

async function measureAll(
  what: string,
  pending: number,
  runs: readonly QueueRun[],
  measure: (run: QueueRun) => Promise<Cost>,
): Promise<QueueResult[]> {
  const results: QueueResult[] = [];
  for (const run of runs) {
    const { connections, batch } = run;
    results.push({ what, pending, connections, batch, ...(await measure(run)) });
  }
  return results;
}

export async function measureRota(
  pool: Pool,
  pending: number,
  sizes: Sizes,
): Promise<QueueResult[]> {
  await refill(pool, pending);
  return measureAll("Rota", pending, runsOf(sizes), (run) => runRota(pool, run));
}

/** The same claim with and without 50,000 jobs of higher priority at the head, of a project that may not start any. */
export async function measureBlocked(
  pool: Pool,
  pending: number,
  sizes: Sizes,
): Promise<QueueResult[]> {
  const results: QueueResult[] = [];
  for (const blocked of [0, blockedJobs]) {
    await refill(pool, pending);
    const project = await fillProject(pool, `blocked-${Date.now()}`);
    await fillJobs(pool, project, blocked, 10);
    await pool.query("VACUUM ANALYZE jobs");
    const what = `Rota, ${blocked} blocked at the head`;
    const runs = runsOf({ ...sizes, connections: [1] });
    results.push(
      ...(await measureAll(what, pending, runs, (run) =>
        runRota(pool, { ...run, perProject: run.batch, except: project }),
      )),
    );
  }
  return results;
}

async function measurePeer(
  what: string,
  pending: number,
  sizes: Sizes,
  peer: Peer,
): Promise<QueueResult[]> {
  const results = await measureAll(what, pending, runsOf(sizes), peer.measure);
  await peer.close();
  return results;
}

export async function measurePeers(
  pool: Pool,
  url: string,
  pending: number,
  sizes: Sizes,
): Promise<QueueResult[]> {
  return [
    ...(await measurePeer("pg-boss", pending, sizes, await openPgBoss(pool, url, pending))),
    ...(await measurePeer(
      "graphile-worker",
      pending,
      sizes,
      await openGraphile(pool, url, pending),
    )),
  ];
}

/** What the records cost without the rules, in Rota's queue and in pg-boss's. */
export async function measureLikeForLike(
  pool: Pool,
  url: string,
  pending: number,
  sizes: Sizes,
): Promise<QueueResult[]> {
  const runs = runsOf(sizes);
  const ruleless = withoutRules(url);
  await refill(pool, pending);
  const plain = await measureAll("Rota's writes, no rules", pending, runs, (run) =>
    measurePlain(pool, ruleless, run),
  );
  await refill(pool, 0);
  const boss = await fillBoss(pool, url, pending);
  const withRecords = await measureAll(
    "pg-boss and Rota's records, no rules",
    pending,
    runs,
    (run) => measureBossWithRecords(pool, ruleless, boss, run),
  );
  await boss.stop({ graceful: false });
  await ruleless.end();
  return [...plain, ...withRecords];
}
