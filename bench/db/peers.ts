/** pg-boss and graphile-worker doing the same: claim and complete, the same batches and connections. */
import { Logger, run as runWorkers } from "graphile-worker";
import { Pool } from "pg";
import { PgBoss } from "pg-boss";

export interface PeerRun {
  readonly url: string;
  readonly connections: number;
  readonly batch: number;
  readonly jobs: number;
}

/** A line of log per job would be measured too. */
const silent = new Logger(() => () => undefined);
const queue = "bench";
const insertChunk = 10_000;

/** Fills pg-boss's queue and returns a way to measure it, and to stop. */
export async function openPgBoss(url: string, pending: number, connections: number) {
  const boss = new PgBoss({
    connectionString: url,
    max: connections,
    supervise: false,
    schedule: false,
  });
  boss.on("error", (error) => console.error(error));
  await boss.start();
  await boss.createQueue(queue);
  for (let filled = 0; filled < pending; filled += insertChunk) {
    await boss.insert(
      queue,
      Array.from({ length: Math.min(insertChunk, pending - filled) }, () => ({ data: {} })),
    );
  }
  const measure = async ({ connections, batch, jobs }: Omit<PeerRun, "url">): Promise<number> => {
    const began = performance.now();
    let done = 0;
    async function work(): Promise<void> {
      while (done < jobs) {
        const taken = await boss.fetch(queue, { batchSize: batch });
        if (taken.length === 0) return;
        await boss.complete(
          queue,
          taken.map(({ id }) => id),
        );
        done += taken.length;
      }
    }
    await Promise.all(Array.from({ length: connections }, work));
    return done / ((performance.now() - began) / 1000);
  };
  return { measure, close: () => boss.stop({ graceful: false }) };
}

/** Fills graphile-worker's queue with so many jobs and runs it until all are done; jobs per second. */
export async function runGraphile({ url, connections, batch, jobs }: PeerRun): Promise<number> {
  const pgPool = new Pool({ connectionString: url, max: connections + 1 });
  pgPool.on("error", (error) => console.error(error));
  const finished = Promise.withResolvers<void>();
  let done = 0;
  let began = 0;
  const task = (): void => {
    if (done === 0) began = performance.now();
    done += 1;
    if (done === jobs) finished.resolve();
  };
  const options = {
    pgPool,
    noHandleSignals: true,
    logger: silent,
    concurrency: Math.max(connections, batch),
    taskList: { bench: task },
    preset: {
      worker: {
        localQueue: { size: batch * connections },
        completeJobBatchDelay: 0,
        failJobBatchDelay: 0,
      },
    },
  };
  const empty = await runWorkers({ ...options, taskList: { nothing: () => undefined } });
  await empty.stop();
  await pgPool.query(
    `
    SELECT count(*) FROM graphile_worker.add_jobs(ARRAY(
      SELECT json_populate_record(NULL::graphile_worker.job_spec, '{"identifier": "bench"}')
      FROM generate_series(1, $1::int)
    ))
    `,
    [jobs],
  );
  const runner = await runWorkers(options);
  await finished.promise;
  const rate = jobs / ((performance.now() - began) / 1000);
  await runner.stop();
  await pgPool.end();
  return rate;
}
