/** Capacity and usage of pools and nodes. */
import type { Resources } from "../../domain/scheduling/snapshot.ts";
import type { Queryable } from "../client/types.ts";
import { readPage, type Page, type PageRequest } from "./page.ts";

/** Arrays of numeric, in the order GPUs, millicores, bytes, pods. */
type Amounts = readonly (string | number)[];

interface UsageColumns {
  readonly allocatable: Amounts;
  readonly committed: Amounts;
  readonly otherUsage: Amounts;
  readonly reserved: Amounts;
}

export type Usage = Readonly<Record<keyof UsageColumns, Resources>>;

function resources(amounts: Amounts): Resources {
  const [gpus = 0, cpuMillis = 0, memoryBytes = 0, pods = 0] = amounts.map(Number);
  return { gpus, cpuMillis, memoryBytes, pods };
}

const usageOf = ({ allocatable, committed, otherUsage, reserved }: UsageColumns): Usage => ({
  allocatable: resources(allocatable),
  committed: resources(committed),
  otherUsage: resources(otherUsage),
  reserved: resources(reserved),
});

interface PoolCounts {
  readonly pool: string;
  readonly nodes: number;
  readonly schedulable: number;
  readonly jobsRunning: number;
  readonly jobsPending: number;
  readonly gpusBorrowed: number;
  readonly gpusPending: number;
}

export interface PoolRow extends PoolCounts {
  readonly usage: Usage;
}

/** A page of pools, by name: those with nodes or unfinished jobs. */
export function poolPage(
  db: Queryable,
  { limit, after }: PageRequest<string>,
): Promise<Page<PoolRow, string>> {
  return readPage<PoolCounts & UsageColumns, PoolRow, string>(db, {
    text: `
    WITH capacity AS (
      SELECT pool, count(*) AS nodes, count(*) FILTER (WHERE schedulable) AS schedulable,
        ARRAY[sum(gpus_allocatable), sum(cpu_millis_allocatable), sum(memory_bytes_allocatable),
          sum(pods_allocatable)]::numeric[] AS allocatable,
        ARRAY[sum(gpus_committed), sum(cpu_millis_committed), sum(memory_bytes_committed),
          sum(pods_committed)]::numeric[] AS committed,
        ARRAY[sum(gpus_other), sum(cpu_millis_other), sum(memory_bytes_other),
          sum(pods_other)]::numeric[] AS other_usage
      FROM nodes
      WHERE present
      GROUP BY pool
    ), demand AS (
      SELECT pool,
        count(*) FILTER (WHERE job_is_live(status)) AS running,
        count(*) FILTER (WHERE NOT job_is_live(status)) AS pending,
        sum(required_gpu) FILTER (WHERE job_may_be_evicted(status) AND borrowing) AS borrowed,
        sum(required_gpu) FILTER (WHERE NOT job_is_live(status)) AS pending_gpus
      FROM jobs
      WHERE active_project_id IS NOT NULL
      GROUP BY pool
    ), kept AS (
      SELECT job.pool,
        ARRAY[sum(reservation.gpus), sum(reservation.cpu_millis), sum(reservation.memory_bytes),
          sum(reservation.pods)]::numeric[] AS reserved
      FROM reservations AS reservation
      JOIN jobs AS job ON job.id = reservation.job_id
      GROUP BY job.pool
    )
    SELECT coalesce(capacity.pool, demand.pool) AS pool, coalesce(nodes, 0) AS nodes,
      coalesce(schedulable, 0) AS schedulable, coalesce(running, 0) AS "jobsRunning",
      coalesce(pending, 0) AS "jobsPending", coalesce(borrowed, 0)::bigint AS "gpusBorrowed",
      coalesce(pending_gpus, 0)::bigint AS "gpusPending",
      coalesce(allocatable, '{0,0,0,0}') AS allocatable, coalesce(committed, '{0,0,0,0}') AS committed,
      coalesce(other_usage, '{0,0,0,0}') AS "otherUsage", coalesce(kept.reserved, '{0,0,0,0}') AS reserved
    FROM capacity
    FULL JOIN demand ON demand.pool = capacity.pool
    LEFT JOIN kept ON kept.pool = coalesce(capacity.pool, demand.pool)
    WHERE $1::text IS NULL OR coalesce(capacity.pool, demand.pool) > $1
    ORDER BY 1
    LIMIT $2
    `,
    values: [after ?? null],
    limit,
    keyOf: ({ pool }) => pool,
    show: ({ allocatable, committed, otherUsage, reserved, ...row }) => ({
      ...row,
      usage: usageOf({ allocatable, committed, otherUsage, reserved }),
    }),
  });
}

interface NodeCounts {
  readonly node: string;
  readonly pool: string;
  readonly schedulable: boolean;
  readonly jobs: number;
}

export interface NodeRow extends NodeCounts {
  readonly usage: Usage;
}

/** A page of present nodes, by name; of one pool if it is given. */
export function nodePage(
  db: Queryable,
  { pool, limit, after }: PageRequest<string> & { readonly pool?: string | undefined },
): Promise<Page<NodeRow, string>> {
  return readPage<NodeCounts & UsageColumns, NodeRow, string>(db, {
    text: `
    WITH shown AS MATERIALIZED (
      SELECT *
      FROM nodes
      WHERE present AND ($1::text IS NULL OR pool = $1) AND ($2::text IS NULL OR name > $2)
      ORDER BY name
      LIMIT $3
    )
    SELECT node.name AS node, node.pool, node.schedulable,
      (SELECT count(DISTINCT job_id) FROM allocations WHERE node_name = node.name) AS jobs,
      ARRAY[gpus_allocatable, cpu_millis_allocatable, memory_bytes_allocatable, pods_allocatable]::numeric[]
        AS allocatable,
      ARRAY[gpus_committed, cpu_millis_committed, memory_bytes_committed, pods_committed]::numeric[] AS committed,
      ARRAY[gpus_other, cpu_millis_other, memory_bytes_other, pods_other]::numeric[] AS "otherUsage",
      kept.reserved
    FROM shown AS node
    CROSS JOIN LATERAL (
      SELECT ARRAY[coalesce(sum(gpus), 0), coalesce(sum(cpu_millis), 0), coalesce(sum(memory_bytes), 0),
        coalesce(sum(pods), 0)]::numeric[] AS reserved
      FROM reservations
      WHERE node_name = node.name
    ) AS kept
    ORDER BY node.name
    `,
    values: [pool ?? null, after ?? null],
    limit,
    keyOf: ({ node }) => node,
    show: ({ allocatable, committed, otherUsage, reserved, ...row }) => ({
      ...row,
      usage: usageOf({ allocatable, committed, otherUsage, reserved }),
    }),
  });
}
