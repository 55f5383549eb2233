/**
 * Marks the jobs that occupy capacity as within quota or borrowing. SQL reads, in rank order, the jobs whose mark can
 * depend on others; the domain walks them (docs/design.md, "Quota").
 */
import { rankEntitlement } from "../../domain/scheduling/entitlement.ts";
import type { Entitlement, OverQuotaJob, RankedJob } from "../../domain/scheduling/entitlement.ts";
import type { ResourceType } from "../../domain/resource-types.ts";
import { run } from "../client/connection-pool.ts";
import type { Queryable } from "../client/types.ts";
import { sumsByType } from "../jobs/resources.ts";
import { standingJoins, standingOf, standingTables } from "./standing.ts";

interface ExceededQuota {
  readonly quotaId: string;
  readonly resourceType: ResourceType;
  /** In the type's unit of demand. */
  readonly limit: number;
}

interface Row extends Omit<OverQuotaJob, "admittedAtSeconds" | "overQuota"> {
  readonly admitted_at: number | null;
  readonly gpus: number;
  readonly cpu_millis: number;
  readonly memory_bytes: number;
  /** Of extended resources, for the gang; null: none. */
  readonly devices: Readonly<Record<ResourceType, number>> | null;
  readonly unplanned: boolean;
  readonly marked: boolean;
  /** It ends already: its pods have been asked to leave. */
  readonly is_ending: boolean;
  /** Quotas of the project's owners that are exceeded if all their jobs count; null when there are none. */
  readonly quotas: readonly ExceededQuota[] | null;
}

const { isUnplanned } = standingOf("job");

/**
 * All jobs under exceeded quotas, in rank order, and all other jobs with a wrong mark. Most owners use less than their
 * quota; their jobs are within it in any order, so they are not read. Reserved jobs count from their reservation;
 * evicted jobs do not count.
 */
const readRanked = (
  db: Queryable,
  pool: string,
  secondOfWeek: number,
  unmetered: readonly string[],
): Promise<Row[]> =>
  run<Row>(
    db,
    `
    WITH occupying AS MATERIALIZED (
      SELECT id, project_id, namespace, name, attempt, status, priority, parallelism, required_gpu, cpu_millis, memory_bytes,
        borrowing, admitted_at, ending
      FROM jobs
      WHERE pool = $1 AND job_uses_quota(status)
    ),
    ${standingTables("occupying", { pool: "$1", unmetered: "$3::text[]" })},
    granted AS (
      SELECT resource_owner_id AS owner_id, resource_type,
        coalesce(sum(quantity) FILTER (WHERE time_window @> $2::int), 0) * plan_unit(resource_type) AS limit_amount
      FROM resource_plans
      WHERE pool = $1
      GROUP BY resource_owner_id, resource_type
    ),
    used AS MATERIALIZED (${sumsByType("occupying", "project_id")}
    ),
    exceeded AS MATERIALIZED (
      SELECT granted.owner_id, granted.resource_type, granted.limit_amount
      FROM granted
      JOIN chains USING (owner_id)
      JOIN used USING (project_id, resource_type)
      GROUP BY granted.owner_id, granted.resource_type, granted.limit_amount
      HAVING sum(used.amount) > granted.limit_amount
    ),
    over_quota AS MATERIALIZED (
      SELECT chains.project_id, array_agg(exceeded.resource_type) AS types,
        bool_or(exceeded.resource_type = 'GPU') AS gpus,
        bool_or(exceeded.resource_type = 'CPU') AS cpus,
        bool_or(exceeded.resource_type = 'memory') AS memory,
        json_agg(json_build_object(
          'quotaId', exceeded.owner_id || '/' || exceeded.resource_type,
          'resourceType', exceeded.resource_type,
          'limit', exceeded.limit_amount
        )) AS quotas
      FROM exceeded
      JOIN chains USING (owner_id)
      GROUP BY chains.project_id
    )
    SELECT job.id, job.namespace || '/' || job.name AS key, job.attempt, job.status, job.required_gpu AS gpus,
      job.cpu_millis, job.memory_bytes,
      CASE WHEN over_quota.types && devices.types THEN (
        SELECT json_object_agg(resource_type, amount_per_pod * job.parallelism)
        FROM job_resources
        WHERE job_id = job.id AND resource_type = ANY (devices.types)
      ) END AS devices,
      CASE WHEN job.status <> 'reserved' THEN extract(epoch FROM job.admitted_at)::float8 END AS admitted_at,
      job.borrowing AS marked, job.ending IS NOT NULL AS is_ending, ${isUnplanned} AS unplanned, over_quota.quotas
    FROM occupying AS job${standingJoins("job")}
    LEFT JOIN over_quota ON over_quota.project_id = job.project_id
    WHERE over_quota.gpus AND job.required_gpu > 0
      OR over_quota.cpus AND job.cpu_millis > 0
      OR over_quota.memory AND job.memory_bytes > 0
      OR over_quota.types && devices.types
      OR job.borrowing <> ${isUnplanned}
    ORDER BY job.priority DESC, job.admitted_at, job.id
    `,
    [pool, secondOfWeek, unmetered],
  );

interface Mark {
  readonly id: string;
  readonly attempt: number;
  readonly borrowing: boolean;
}

async function writeMarks(db: Queryable, marks: readonly Mark[]): Promise<string[]> {
  const rows = await run<{ key: string }>(
    db,
    `
    UPDATE jobs AS job
    SET borrowing = mark.borrowing
    FROM unnest($1::uuid[], $2::int[], $3::boolean[]) AS mark (id, attempt, borrowing)
    WHERE job.id = mark.id AND job.attempt = mark.attempt AND job_uses_quota(job.status)
    RETURNING job.namespace || '/' || job.name AS key
    `,
    [
      marks.map(({ id }) => id),
      marks.map(({ attempt }) => attempt),
      marks.map(({ borrowing }) => borrowing),
    ],
  );
  return rows.map((row) => row.key);
}

function demandOf({ gpus, cpu_millis, memory_bytes, devices }: Row, type: ResourceType): number {
  if (type === "GPU") return gpus;
  if (type === "CPU") return cpu_millis;
  return type === "memory" ? memory_bytes : (devices?.[type] ?? 0);
}

const rankedJob = (row: Row): RankedJob => ({
  id: row.id,
  unplanned: row.unplanned,
  claims: (row.quotas ?? [])
    .map(({ quotaId, resourceType, limit }) => ({
      quotaId,
      limit,
      amount: demandOf(row, resourceType),
    }))
    .filter(({ amount }) => amount > 0),
});

const rankOf = (rows: readonly Row[]): ReadonlyMap<string, Entitlement> =>
  rankEntitlement(rows.map(rankedJob));

function overQuotaJobs(
  rows: readonly Row[],
  entitlements: ReadonlyMap<string, Entitlement>,
): OverQuotaJob[] {
  return rows.flatMap(({ id, key, attempt, status, admitted_at, is_ending }) => {
    const overQuota = entitlements.get(id)?.overQuota ?? [];
    const admittedAtSeconds = admitted_at ?? undefined;
    return overQuota.length === 0 || is_ending
      ? []
      : [{ id, key, attempt, status, admittedAtSeconds, overQuota }];
  });
}

export interface Refreshed {
  /** Jobs (namespace/name) whose mark changed. */
  readonly changedKeys: readonly string[];
  /** Jobs over quota that do not end already, in rank order. */
  readonly overQuota: readonly OverQuotaJob[];
}

/**
 * Marks every job of the pool that occupies capacity: within quota, or borrowing because it is over a quota or because
 * of what no plan grants. At most two statements.
 * @param unmetered patterns of LIKE for extended resources that are not metered
 */
export async function refreshBorrowing(
  db: Queryable,
  pool: string,
  secondOfWeek: number,
  unmetered: readonly string[],
): Promise<Refreshed> {
  const rows = await readRanked(db, pool, secondOfWeek, unmetered);
  const entitlements = rankOf(rows);
  const marks = rows.flatMap(({ id, attempt, marked }): Mark[] => {
    const borrowing = entitlements.get(id)?.borrowing ?? marked;
    return borrowing === marked ? [] : [{ id, attempt, borrowing }];
  });
  const changedKeys = marks.length === 0 ? [] : await writeMarks(db, marks);
  return { changedKeys, overQuota: overQuotaJobs(rows, entitlements) };
}

/**
 * The jobs of the pool that would be over quota at another second of the week, if none started or ended until then.
 * @param unmetered as for refreshBorrowing
 */
export async function overQuotaAt(
  db: Queryable,
  pool: string,
  secondOfWeek: number,
  unmetered: readonly string[],
): Promise<readonly OverQuotaJob[]> {
  const rows = await readRanked(db, pool, secondOfWeek, unmetered);
  return overQuotaJobs(rows, rankOf(rows));
}
