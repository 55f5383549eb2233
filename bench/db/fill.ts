/** Queues and nodes for measuring, written in bulk and without triggers so that a million rows take seconds. */
import { randomUUID } from "node:crypto";
import type { Pool, PoolClient } from "pg";

async function withoutTriggers(
  pool: Pool,
  work: (client: PoolClient) => Promise<unknown>,
): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query("SET statement_timeout = 0; SET session_replication_role = replica");
    await work(client);
    await client.query("RESET statement_timeout; SET session_replication_role = origin");
  } finally {
    client.release();
  }
}

/** Nodes "node-0" and up, with room for anything. */
export function fillNodes(pool: Pool, count: number): Promise<void> {
  return withoutTriggers(pool, (client) =>
    client.query(
      `
      INSERT INTO nodes (
        name, uid, pool, schedulable, gpus_allocatable, cpu_millis_allocatable,
        memory_bytes_allocatable, pods_allocatable
      )
      SELECT 'node-' || place, gen_random_uuid(), 'bench', true, 1000000, 1e12, 1e15, 1000000
      FROM generate_series(0, $1::int - 1) AS place
      `,
      [count],
    ),
  );
}

/** A root project of this name; returns its id. */
export async function fillProject(pool: Pool, name: string): Promise<string> {
  const id = randomUUID();
  await pool.query("INSERT INTO projects (id, name, namespace) VALUES ($1, $2, $2)", [id, name]);
  return id;
}

/** Pending one-GPU jobs of a project, in pool "bench". */
export function fillJobs(
  pool: Pool,
  projectId: string,
  count: number,
  priority: number,
): Promise<void> {
  return withoutTriggers(pool, (client) =>
    client.query(
      `
      INSERT INTO jobs (
        id, project_id, namespace, name, pool, priority, priority_class, parallelism, pod_gpus,
        pod_cpu_millis, pod_memory_bytes, created_at, allows_borrowing, preempts, backoff_limit
      )
      SELECT gen_random_uuid(), $1, 'bench', 'job-' || place, 'bench', $3, 'bench', 1, 1, 1000, 1073741824,
        now() - interval '1 day' + place * interval '1 microsecond', true, false, 0
      FROM generate_series(1, $2::int) AS place
      `,
      [projectId, count, priority],
    ),
  );
}

/** The tables of the queue as after a new installation. */
export async function emptyQueue(pool: Pool): Promise<void> {
  await withoutTriggers(pool, async (client) => {
    await client.query(
      "ALTER TABLE allocations DISABLE TRIGGER USER; ALTER TABLE job_events DISABLE TRIGGER USER",
    );
    await client.query(
      "TRUNCATE jobs, job_specs, allocations, reservations, job_events, nodes CASCADE",
    );
    await client.query(
      "ALTER TABLE allocations ENABLE TRIGGER USER; ALTER TABLE job_events ENABLE TRIGGER USER",
    );
  });
}
