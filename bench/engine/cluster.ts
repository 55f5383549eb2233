/** Full clusters in the database, for measuring: written without triggers, so that it takes seconds. */
import type { Pool } from "pg";

export interface ClusterSize {
  readonly nodes: number;
  /** Pods per node; those beside the GPU pods have CPUs only. */
  readonly podsPerNode: number;
  /** One pod of a node belongs to a gang of this many pods on consecutive nodes. */
  readonly gang: number;
}

/**
 * The GPUs of a node. Alike: 4 pods of 2 GPUs each, one of a gang. Mixed: 8 pods of one GPU, 4 of 2, 2 of 4 or one
 * of 8, node by node, and gangs without GPUs.
 */
export type PodSizes = "alike" | "mixed";

/** SQL: the GPUs of a pod by its `slot` on its node and the number of that node, `first`. */
const gpusOfSlot: Readonly<Record<PodSizes, string>> = {
  alike: "CASE WHEN slot < 4 THEN 2 ELSE 0 END",
  mixed: "CASE WHEN slot < 8 >> (first % 4) THEN 1 << (first % 4) ELSE 0 END",
};

/** Statements that fill pool "bench": every GPU in use, six priorities, every fifth job borrowing. */
const statements = (
  { nodes, podsPerNode, gang }: ClusterSize,
  sizes: PodSizes,
  gangSlot = sizes === "alike" ? 0 : podsPerNode - 1,
): readonly string[] => [
  `SET session_replication_role = replica`,
  `INSERT INTO projects (id, name, namespace, path) VALUES (gen_random_uuid(), 'bench', 'bench', 'bench')
   ON CONFLICT DO NOTHING`,
  `INSERT INTO nodes (
     name, uid, pool, schedulable, gpus_allocatable, cpu_millis_allocatable, memory_bytes_allocatable,
     pods_allocatable, gpus_committed, cpu_millis_committed, memory_bytes_committed, pods_committed
   )
   SELECT 'node-' || lpad(n::text, 5, '0'), gen_random_uuid(), 'bench', true, 8, 128000, 1099511627776, 110,
     8, ${podsPerNode} * 2000, ${podsPerNode}::bigint * 1073741824, ${podsPerNode}
   FROM generate_series(0, ${nodes - 1}) AS n`,
  `CREATE TEMPORARY TABLE bench_jobs AS
   SELECT gen_random_uuid() AS id, slot, first, CASE WHEN slot = ${gangSlot} THEN ${gang} ELSE 1 END AS pods,
     ${gpusOfSlot[sizes]} AS gpus,
     hashint4(first * 31 + slot) & 1023 AS dice
   FROM generate_series(0, ${nodes - 1}) AS first, generate_series(0, ${podsPerNode - 1}) AS slot
   WHERE slot <> ${gangSlot} OR first % ${gang} = 0`,
  `INSERT INTO jobs (
     id, project_id, namespace, name, pool, priority, priority_class, status, attempt, parallelism, pod_gpus,
     pod_cpu_millis, pod_memory_bytes, created_at, borrowing, allows_borrowing, preempts, backoff_limit, started_at
   )
   SELECT job.id, project.id, 'bench', 'job-' || first || '-' || slot, 'bench', dice % 6, 'bench', 'running', 1, pods,
     gpus, 2000, 1073741824, now() - make_interval(secs => dice), dice % 5 = 0, true, true, 0,
     now() - make_interval(secs => dice)
   FROM bench_jobs AS job, projects AS project
   WHERE project.name = 'bench'`,
  `INSERT INTO allocations (
     job_id, attempt, node_name, pods, gpus, cpu_millis, memory_bytes,
     pool, gang_size, priority, borrowing, started_at, evictable
   )
   SELECT id, 1, 'node-' || lpad((first + part)::text, 5, '0'), 1, gpus, 2000, 1073741824,
     'bench', pods, dice % 6, dice % 5 = 0, now() - make_interval(secs => dice), true
   FROM bench_jobs, generate_series(0, pods - 1) AS part
   WHERE first + part < ${nodes}`,
  `DROP TABLE bench_jobs`,
  `SET session_replication_role = origin`,
  // As autovacuum leaves it: indexes can be read alone.
  `VACUUM ANALYZE`,
];

export async function fillCluster(
  pool: Pool,
  size: ClusterSize,
  sizes: PodSizes = "alike",
): Promise<void> {
  const client = await pool.connect();
  try {
    for (const statement of statements(size, sizes)) await client.query(statement);
  } finally {
    client.release();
  }
}
