/** Metrics of the database's state: sums over few labels, one statement each, whatever the number of rows. */
import type { ResourceType } from "../../domain/resource-types.ts";
import { run } from "../client/connection-pool.ts";
import type { Queryable } from "../client/types.ts";

export interface JobCount {
  readonly pool: string;
  readonly status: string;
  readonly priorityClass: string;
  readonly jobs: number;
  readonly gpus: number;
  /** Queue time of the oldest, in seconds since 1970. */
  readonly oldestQueuedAtSeconds: number;
}

/** Unfinished jobs, by pool, status and priority class. */
export function countActiveJobs(db: Queryable): Promise<JobCount[]> {
  return run<JobCount>(
    db,
    `
    SELECT pool, status::text, priority_class AS "priorityClass", count(*)::int AS jobs,
      coalesce(sum(required_gpu), 0)::float8 AS gpus, extract(epoch FROM min(created_at))::float8 AS "oldestQueuedAtSeconds"
    FROM jobs
    WHERE active_project_id IS NOT NULL
    GROUP BY pool, status, priority_class
    `,
  );
}

export interface PoolCapacity {
  readonly pool: string;
  readonly nodes: number;
  readonly schedulableNodes: number;
  /** GPUs, CPU cores, bytes of memory, pods. */
  readonly allocatable: readonly number[];
  readonly committed: readonly number[];
  readonly otherUsage: readonly number[];
  readonly reserved: readonly number[];
}

/** Capacity and usage of the nodes, by pool. */
export function readPoolCapacities(db: Queryable): Promise<PoolCapacity[]> {
  return run<PoolCapacity>(
    db,
    `
    WITH reserved AS (
      SELECT node.pool, sum(reservation.gpus) AS gpus, sum(reservation.cpu_millis) AS cpu_millis,
        sum(reservation.memory_bytes) AS memory_bytes, sum(reservation.pods) AS pods
      FROM reservations AS reservation
      JOIN nodes AS node ON node.name = reservation.node_name
      GROUP BY node.pool
    ),
    pools AS (
      SELECT pool, count(*)::int AS nodes, count(*) FILTER (WHERE schedulable)::int AS schedulable,
        ARRAY[sum(gpus_allocatable), sum(cpu_millis_allocatable) / 1000.0,
          sum(memory_bytes_allocatable), sum(pods_allocatable)]::float8[] AS allocatable,
        ARRAY[sum(gpus_committed), sum(cpu_millis_committed) / 1000.0,
          sum(memory_bytes_committed), sum(pods_committed)]::float8[] AS committed,
        ARRAY[sum(gpus_other), sum(cpu_millis_other) / 1000.0,
          sum(memory_bytes_other), sum(pods_other)]::float8[] AS other_usage
      FROM nodes
      WHERE present
      GROUP BY pool
    )
    SELECT pools.pool, nodes, schedulable AS "schedulableNodes", allocatable, committed, other_usage AS "otherUsage",
      ARRAY[coalesce(reserved.gpus, 0), coalesce(reserved.cpu_millis, 0) / 1000.0,
        coalesce(reserved.memory_bytes, 0), coalesce(reserved.pods, 0)]::float8[] AS reserved
    FROM pools
    LEFT JOIN reserved USING (pool)
    `,
  );
}

export interface ReservationAge {
  readonly pool: string;
  readonly reservations: number;
  /** Age of the oldest reservation. */
  readonly oldestAgeSeconds: number;
}

/** Reserved jobs by pool, and the age of the oldest reservation. */
export function readReservationAges(db: Queryable): Promise<ReservationAge[]> {
  return run<ReservationAge>(
    db,
    `
    SELECT job.pool, count(*)::int AS reservations,
      coalesce(max(extract(epoch FROM now() - decided.at)), 0)::float8 AS "oldestAgeSeconds"
    FROM jobs AS job
    CROSS JOIN LATERAL (
      SELECT max(preemption.decided_at) AS at
      FROM preemptions AS preemption
      WHERE preemption.preemptor_job_id = job.id
    ) AS decided
    WHERE job.status = 'reserved'
    GROUP BY job.pool
    `,
  );
}

export interface ProjectUsage {
  readonly pool: string;
  /** Label of the root project, as in projects.path; "_other" for all beyond the largest. */
  readonly project: string;
  readonly borrowing: boolean;
  readonly gpus: number;
  readonly cpuCores: number;
}

/** Usage of live jobs, by pool and root project: the `largest` by name, the rest together. */
export function readProjectUsage(db: Queryable, largest: number): Promise<ProjectUsage[]> {
  return run<ProjectUsage>(
    db,
    `
    WITH used AS (
      SELECT job.pool, subpath(project.path, 0, 1)::text AS project, job.borrowing,
        sum(job.required_gpu) AS gpus, sum(job.cpu_millis) AS cpu_millis
      FROM jobs AS job
      JOIN projects AS project ON project.id = job.project_id
      WHERE job_is_live(job.status)
      GROUP BY job.pool, subpath(project.path, 0, 1), job.borrowing
    ),
    ranked AS (
      SELECT project, row_number() OVER (ORDER BY sum(gpus) DESC, sum(cpu_millis) DESC, project) AS place
      FROM used
      GROUP BY project
    )
    SELECT used.pool, CASE WHEN ranked.place <= $1 THEN used.project ELSE '_other' END AS project, used.borrowing,
      sum(used.gpus)::float8 AS gpus, (sum(used.cpu_millis) / 1000.0)::float8 AS "cpuCores"
    FROM used
    JOIN ranked USING (project)
    GROUP BY 1, 2, 3
    `,
    [largest],
  );
}

export interface PlanState {
  readonly pool: string;
  readonly resourceType: ResourceType;
  /** What open windows grant together, in units of a plan's quantity. */
  readonly granted: number;
  readonly openWindows: number;
  readonly closedWindows: number;
  /** Seconds until the first open window with onWindowClose Evict closes; null if none is open. */
  readonly evictCloseSeconds: number | null;
}

/** Plans in effect at a second of the week. A window that continues over Sunday midnight does not close there. */
export function readPlanState(db: Queryable, secondOfWeek: number): Promise<PlanState[]> {
  return run<PlanState>(
    db,
    `
    SELECT plan.pool, plan.resource_type AS "resourceType",
      coalesce(sum(plan.quantity) FILTER (WHERE open.yes), 0)::float8 AS granted,
      count(*) FILTER (WHERE open.yes)::int AS "openWindows",
      count(*) FILTER (WHERE NOT open.yes)::int AS "closedWindows",
      min(upper(plan.time_window) - $1::int + coalesce(upper(monday.time_window), 0))
        FILTER (WHERE open.yes AND plan.on_window_close = 'Evict' AND plan.time_window <> int4range(0, 604800))::int
        AS "evictCloseSeconds"
    FROM resource_plans AS plan
    CROSS JOIN LATERAL (SELECT plan.time_window @> $1::int AS yes) AS open
    LEFT JOIN resource_plans AS monday ON open.yes AND upper(plan.time_window) = 604800
      AND monday.plan_uid = plan.plan_uid AND lower(monday.time_window) = 0 AND monday.id <> plan.id
    GROUP BY plan.pool, plan.resource_type
    `,
    [secondOfWeek],
  );
}

export interface DatabaseState {
  readonly oldestTransactionSeconds: number;
  readonly deadRows: readonly { readonly table: string; readonly rows: number }[];
}

/** Database health: transactions that keep dead rows alive, and the dead rows of busy tables. */
export async function readDatabaseState(db: Queryable): Promise<DatabaseState> {
  const [row] = await run<DatabaseState>(
    db,
    `
    SELECT (
        SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8
        FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
      ) AS "oldestTransactionSeconds",
      (
        SELECT coalesce(jsonb_agg(jsonb_build_object('table', relname, 'rows', n_dead_tup) ORDER BY relname), '[]')
        FROM pg_stat_user_tables
        WHERE relid IN ('jobs'::regclass, 'allocations'::regclass, 'nodes'::regclass, 'reservations'::regclass)
      ) AS "deadRows"
    `,
  );
  return row ?? { oldestTransactionSeconds: 0, deadRows: [] };
}
