/** pg-boss and graphile-worker doing the same: claim and complete, the same batches and connections. */
import { Logger, run as runWorkers, type Runner } from "graphile-worker";
import type { Pool } from "pg";
import { PgBoss } from "pg-boss";
import { type Cost, measureCost } from "./cpu.ts";
import type { QueueRun } from "./rota-queue.ts";

/** A peer whose queue is filled. */
export interface Peer {
  readonly measure: (run: QueueRun) => Promise<Cost>;
  readonly close: () => Promise<void>;
}

/** A line of log per job would be measured too. */
const silent = new Logger(() => () => undefined);
export const bossQueue = "bench";
const insertChunk = 10_000;
const empty = (): void => undefined;

/** What autovacuum does a minute after such a fill, and what Rota's queue gets as well. */
const settle = (pool: Pool) => pool.query("VACUUM ANALYZE");

/** pg-boss with so many jobs in its queue. */
export async function fillBoss(pool: Pool, url: string, pending: number): Promise<PgBoss> {
  const boss = new PgBoss({ connectionString: url, max: 4, supervise: false, schedule: false });
  boss.on("error", (error) => console.error(error));
  await boss.start();
  await boss.createQueue(bossQueue);
  for (let filled = 0; filled < pending; filled += insertChunk) {
    await boss.insert(
      bossQueue,
      Array.from({ length: Math.min(insertChunk, pending - filled) }, () => ({ data: {} })),
    );
  }
  await settle(pool);
  return boss;
}

async function runBoss(boss: PgBoss, { connections, batch, jobs }: QueueRun): Promise<number> {
  let done = 0;
  async function work(): Promise<void> {
    while (done < jobs) {
      const taken = await boss.fetch(bossQueue, { batchSize: batch });
      if (taken.length === 0) return;
      await boss.complete(
        bossQueue,
        taken.map(({ id }) => id),
      );
      done += taken.length;
    }
  }
  await Promise.all(Array.from({ length: connections }, work));
  return done;
}

export async function openPgBoss(pool: Pool, url: string, pending: number): Promise<Peer> {
  const boss = await fillBoss(pool, url, pending);
  return {
    measure: (run) => measureCost(pool, () => runBoss(boss, run)),
    close: () => boss.stop({ graceful: false }),
  };
}

/**
 * As many runners as connections, since a runner fetches through one local queue, a batch at a time. They begin with
 * their first batch at hand: as much as they have fetched ahead at the end.
 */
async function startGraphile(url: string, { connections, batch, jobs }: QueueRun) {
  const ready = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  const finished = Promise.withResolvers<void>();
  let begun = 0;
  let done = 0;
  const task = async (): Promise<void> => {
    begun += 1;
    if (begun === connections * batch) ready.resolve();
    await gate.promise;
    done += 1;
    if (done === jobs) finished.resolve();
  };
  const runner = (): Promise<Runner> =>
    runWorkers({
      connectionString: url,
      maxPoolSize: 2, // one of them listens
      noHandleSignals: true,
      logger: silent,
      concurrency: batch,
      taskList: { bench: task },
      preset: {
        worker: { localQueue: { size: batch }, completeJobBatchDelay: 0, failJobBatchDelay: 0 },
      },
    });
  const runners = await Promise.all(Array.from({ length: connections }, runner));
  await ready.promise;
  return {
    work: async (): Promise<number> => {
      gate.resolve();
      await finished.promise;
      return done;
    },
    stop: () => Promise.all(runners.map((one) => one.stop())),
  };
}

export async function openGraphile(pool: Pool, url: string, pending: number): Promise<Peer> {
  const first = await runWorkers({
    connectionString: url,
    noHandleSignals: true,
    logger: silent,
    taskList: { nothing: empty },
  });
  await first.stop();
  for (let filled = 0; filled < pending; filled += insertChunk) {
    await pool.query(
      `
      SELECT count(*) FROM graphile_worker.add_jobs(ARRAY(
        SELECT json_populate_record(NULL::graphile_worker.job_spec, '{"identifier": "bench"}')
        FROM generate_series(1, $1::int)
      ))
      `,
      [Math.min(insertChunk, pending - filled)],
    );
  }
  await settle(pool);
  return {
    measure: async (run) => {
      const { work, stop } = await startGraphile(url, run);
      const cost = await measureCost(pool, work);
      await stop();
      return cost;
    },
    close: () => Promise.resolve(),
  };
}
