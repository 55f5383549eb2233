/**
 * What the records cost that Rota keeps of each job (allocation, commitment of the node, two events), when plain SQL
 * writes them and no rule is checked: in Rota's own queue, and in the transactions of pg-boss.
 */
import { createPool, withTransaction } from "../../src/db/client/connection-pool.ts";
import { prepared } from "../../src/db/client/prepared.ts";
import { fetchNextJobs } from "../../src/db/jobs/queue.ts";
import type { Queryable } from "../../src/db/client/types.ts";
import type { Pool } from "pg";
import type { PgBoss } from "pg-boss";
import { type Cost, measureCost } from "./cpu.ts";
import { bossQueue } from "./peers.ts";
import { nodeOf, type QueueRun } from "./rota-queue.ts";

/** Connections on which no trigger fires and no foreign key is checked. */
export function withoutRules(url: string): Pool {
  const ruleless = new URL(url);
  ruleless.searchParams.set("options", "-c jit=off -c session_replication_role=replica");
  return createPool(ruleless.toString(), { maxConnections: 4 });
}

const columns = `job_id, from_status, to_status, attempt, reason, borrowing, pool, required_gpu, cpu_millis, memory_bytes,
  project_id, namespace, name`;

const copies = `job_id, attempt, node_name, pods, gpus, cpu_millis, memory_bytes,
  pool, gang_size, priority, borrowing, started_at, evictable`;

const admitPlainly = (db: Queryable, ids: readonly string[], nodes: readonly string[]) =>
  db.query(
    prepared("admit_plainly")`
    WITH admitted AS (
      UPDATE jobs
      SET status = 'starting', attempt = jobs.attempt + 1, borrowing = false, started_at = now(),
        admitted_at = now(), not_before = NULL, reason = 'Admitted', message = NULL
      FROM unnest($1::uuid[], $2::text[]) AS wanted (id, node)
      WHERE jobs.id = wanted.id AND (jobs.status IN ('pending', 'evicted')) IS TRUE
      RETURNING jobs.*, wanted.node
    ), placed AS (
      INSERT INTO allocations (${copies})
      SELECT id, attempt, node, 1, required_gpu, cpu_millis, memory_bytes,
        pool, parallelism, priority, borrowing, admitted_at, true
      FROM admitted
    ), event AS (
      INSERT INTO job_events (${columns})
      SELECT id, 'pending', status, attempt, reason, borrowing, pool, required_gpu, cpu_millis, memory_bytes, project_id,
        namespace, name
      FROM admitted
    ), committed AS (
      UPDATE nodes
      SET gpus_committed = gpus_committed + change.gpus,
        cpu_millis_committed = cpu_millis_committed + change.cpu_millis,
        memory_bytes_committed = memory_bytes_committed + change.memory_bytes,
        pods_committed = pods_committed + change.pods
      FROM (
        SELECT node, sum(required_gpu) AS gpus, sum(cpu_millis) AS cpu_millis, sum(memory_bytes) AS memory_bytes, count(*) AS pods
        FROM admitted GROUP BY node
      ) AS change
      WHERE nodes.name = change.node
    )
    SELECT id FROM admitted
    `,
    [ids, nodes],
  );

const endPlainly = (db: Queryable, ids: readonly string[]) =>
  db.query(
    prepared("end_plainly")`
    WITH ended AS (
      UPDATE jobs
      SET status = 'succeeded', finished_at = now(), borrowing = false, reason = 'Completed', message = NULL
      WHERE id = ANY ($1::uuid[]) AND (status IN ('starting', 'running')) IS TRUE
      RETURNING *
    ), freed AS (
      DELETE FROM allocations WHERE job_id = ANY ($1::uuid[]) RETURNING *
    ), event AS (
      INSERT INTO job_events (${columns})
      SELECT id, 'starting', status, attempt, reason, borrowing, pool, required_gpu, cpu_millis, memory_bytes, project_id,
        namespace, name
      FROM ended
    ), released AS (
      UPDATE nodes
      SET gpus_committed = gpus_committed - change.gpus,
        cpu_millis_committed = cpu_millis_committed - change.cpu_millis,
        memory_bytes_committed = memory_bytes_committed - change.memory_bytes,
        pods_committed = pods_committed - change.pods
      FROM (
        SELECT node_name, sum(gpus) AS gpus, sum(cpu_millis) AS cpu_millis, sum(memory_bytes) AS memory_bytes,
          sum(pods) AS pods
        FROM freed GROUP BY node_name
      ) AS change
      WHERE nodes.name = change.node_name
    )
    SELECT id FROM ended
    `,
    [ids],
  );

type Turn = (worker: number) => Promise<number>;

async function runTurns({ connections, jobs }: QueueRun, turn: Turn): Promise<number> {
  let done = 0;
  async function work(worker: number): Promise<void> {
    while (done < jobs) {
      const taken = await turn(worker);
      if (taken === 0) return;
      done += taken;
    }
  }
  await Promise.all(Array.from({ length: connections }, (_, worker) => work(worker)));
  return done;
}

const nodesOf = (worker: number, count: number): string[] =>
  Array.from({ length: count }, (_, index) => nodeOf(worker, index));

/** Rota's tables and writes, without one rule checked. */
export function measurePlain(pool: Pool, ruleless: Pool, run: QueueRun): Promise<Cost> {
  const turn: Turn = async (worker) => {
    const ids = await withTransaction(ruleless, async (client) => {
      const claimed = await fetchNextJobs(client, {
        pool: "bench",
        limit: run.batch,
        now: Temporal.Now.instant(),
      });
      const ids = claimed.map(({ id }) => id);
      await admitPlainly(client, ids, nodesOf(worker, ids.length));
      return ids;
    });
    await endPlainly(ruleless, ids);
    return ids.length;
  };
  return measureCost(pool, () => runTurns(run, turn));
}

const recordStart = (db: Queryable, ids: readonly string[], nodes: readonly string[]) =>
  db.query(
    prepared("record_start")`
    WITH taken AS MATERIALIZED (
      SELECT * FROM unnest($1::uuid[], $2::text[]) AS taken (id, node)
    ), placed AS (
      INSERT INTO allocations (${copies})
      SELECT id, 1, node, 1, 1, 1000, 1073741824, 'bench', 1, 0, false, now(), true FROM taken
    ), event AS (
      INSERT INTO job_events (${columns})
      SELECT id, 'pending', 'starting', 1, 'Admitted', false, 'bench', 1, 1000, 1073741824, id, 'bench', 'job' FROM taken
    )
    UPDATE nodes
    SET gpus_committed = gpus_committed + change.pods, cpu_millis_committed = cpu_millis_committed + 1000 * change.pods,
      memory_bytes_committed = memory_bytes_committed + 1073741824 * change.pods,
      pods_committed = pods_committed + change.pods
    FROM (SELECT node, count(*) AS pods FROM taken GROUP BY node) AS change
    WHERE nodes.name = change.node
    `,
    [ids, nodes],
  );

const recordEnd = (db: Queryable, ids: readonly string[]) =>
  db.query(
    prepared("record_end")`
    WITH freed AS (
      DELETE FROM allocations WHERE job_id = ANY ($1::uuid[]) RETURNING *
    ), event AS (
      INSERT INTO job_events (${columns})
      SELECT id, 'starting', 'succeeded', 1, 'Completed', false, 'bench', 1, 1000, 1073741824, id, 'bench', 'job'
      FROM unnest($1::uuid[]) AS id
    )
    UPDATE nodes
    SET gpus_committed = gpus_committed - change.gpus,
      cpu_millis_committed = cpu_millis_committed - change.cpu_millis,
      memory_bytes_committed = memory_bytes_committed - change.memory_bytes,
      pods_committed = pods_committed - change.pods
    FROM (
      SELECT node_name, sum(gpus) AS gpus, sum(cpu_millis) AS cpu_millis, sum(memory_bytes) AS memory_bytes,
        sum(pods) AS pods
      FROM freed GROUP BY node_name
    ) AS change
    WHERE nodes.name = change.node_name
    `,
    [ids],
  );

/** pg-boss, the same records in its transactions. */
export function measureBossWithRecords(
  pool: Pool,
  ruleless: Pool,
  boss: PgBoss,
  run: QueueRun,
): Promise<Cost> {
  const inside = (client: Queryable) => ({
    db: {
      executeSql: async (text: string, values?: unknown[]) => await client.query(text, values),
    },
  });
  const turn: Turn = async (worker) => {
    const ids = await withTransaction(ruleless, async (client) => {
      const taken = await boss.fetch(bossQueue, { batchSize: run.batch, ...inside(client) });
      const ids = taken.map(({ id }) => id);
      await recordStart(client, ids, nodesOf(worker, ids.length));
      return ids;
    });
    await withTransaction(ruleless, async (client) => {
      await boss.complete(bossQueue, ids, undefined, inside(client));
      await recordEnd(client, ids);
    });
    return ids.length;
  };
  return measureCost(pool, () => runTurns(run, turn));
}
