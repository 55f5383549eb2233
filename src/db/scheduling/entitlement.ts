/**
 * Marks the jobs that occupy capacity as within quota or borrowing. SQL reads, in rank order, the jobs whose mark can
 * depend on others; the domain walks them (docs/design.md, "Quota").
 */
import { rankEntitlement } from "../../domain/scheduling/entitlement.ts";
import type { Entitlement, OverQuotaJob, RankedJob } from "../../domain/scheduling/entitlement.ts";
import type { ResourceType } from "../../domain/scheduling/snapshot.ts";
import { run } from "../client/connection-pool.ts";
import type { Queryable } from "../client/types.ts";

interface ExceededQuota {
  readonly quotaId: string;
  readonly resourceType: ResourceType;
  /** GPUs, or CPU millicores. */
  readonly limit: number;
}

interface Row extends Omit<OverQuotaJob, "admittedAtSeconds" | "overQuota"> {
  readonly admitted_at: number | null;
  readonly gpus: number;
  readonly cpu_millis: number;
  readonly unplanned: boolean;
  readonly marked: boolean;
  /** Quotas of the project's owners that are exceeded if all their jobs count; null when there are none. */
  readonly quotas: readonly ExceededQuota[] | null;
}

/** Requests a metered type ($3) that no plan of the project or its ancestors grants. */
const isUnplanned = `(
        job.gpus > 0 AND NOT planned.gpus AND 'GPU' = ANY ($3::resource_type[])
        OR job.cpu_millis > 0 AND NOT planned.cpus AND 'CPU' = ANY ($3::resource_type[])
      )`;

/**
 * All jobs under exceeded quotas, in rank order, and all other jobs with a wrong mark. Most owners use less than their
 * quota; their jobs are within it in any order, so they are not read. Reserved jobs count from their reservation;
 * evicted jobs do not count.
 */
const readRanked = (
  db: Queryable,
  pool: string,
  secondOfWeek: number,
  meteredTypes: readonly ResourceType[],
): Promise<Row[]> =>
  run<Row>(
    db,
    `
    WITH granted AS (
      SELECT resource_owner_id AS owner_id, resource_type,
        coalesce(sum(quantity) FILTER (WHERE time_window @> $2::int), 0)
          * CASE resource_type WHEN 'CPU' THEN 1000 ELSE 1 END AS limit_amount
      FROM resource_plans
      WHERE pool = $1
      GROUP BY resource_owner_id, resource_type
    ),
    occupying AS MATERIALIZED (
      SELECT id, project_id, namespace, name, attempt, status, priority, required_gpu::bigint AS gpus, cpu_millis, borrowing,
        admitted_at
      FROM jobs
      WHERE pool = $1 AND job_uses_quota(status)
    ),
    per_project AS MATERIALIZED (
      SELECT project_id, sum(gpus) AS gpus, sum(cpu_millis) AS cpu_millis FROM occupying GROUP BY project_id
    ),
    chains AS MATERIALIZED (
      SELECT DISTINCT project_id, owner_id
      FROM project_owners
      WHERE project_id IN (SELECT project_id FROM per_project)
    ),
    planned AS MATERIALIZED (
      SELECT used.project_id,
        coalesce(bool_or(granted.resource_type = 'GPU'), false) AS gpus,
        coalesce(bool_or(granted.resource_type = 'CPU'), false) AS cpus
      FROM per_project AS used
      LEFT JOIN chains USING (project_id)
      LEFT JOIN granted USING (owner_id)
      GROUP BY used.project_id
    ),
    exceeded AS MATERIALIZED (
      SELECT granted.owner_id, granted.resource_type, granted.limit_amount
      FROM granted
      JOIN chains USING (owner_id)
      JOIN per_project AS used USING (project_id)
      GROUP BY granted.owner_id, granted.resource_type, granted.limit_amount
      HAVING sum(CASE granted.resource_type WHEN 'GPU' THEN used.gpus ELSE used.cpu_millis END) > granted.limit_amount
    ),
    over_quota AS MATERIALIZED (
      SELECT chains.project_id,
        bool_or(exceeded.resource_type = 'GPU') AS gpus,
        bool_or(exceeded.resource_type = 'CPU') AS cpus,
        json_agg(json_build_object(
          'quotaId', exceeded.owner_id || '/' || exceeded.resource_type,
          'resourceType', exceeded.resource_type,
          'limit', exceeded.limit_amount
        )) AS quotas
      FROM exceeded
      JOIN chains USING (owner_id)
      GROUP BY chains.project_id
    )
    SELECT job.id, job.namespace || '/' || job.name AS key, job.attempt, job.status, job.gpus, job.cpu_millis,
      CASE WHEN job.status <> 'reserved' THEN extract(epoch FROM job.admitted_at)::float8 END AS admitted_at,
      job.borrowing AS marked, ${isUnplanned} AS unplanned, over_quota.quotas
    FROM occupying AS job
    JOIN planned USING (project_id)
    LEFT JOIN over_quota USING (project_id)
    WHERE over_quota.gpus AND job.gpus > 0
      OR over_quota.cpus AND job.cpu_millis > 0
      OR job.borrowing <> ${isUnplanned}
    ORDER BY job.priority DESC, job.admitted_at, job.id
    `,
    [pool, secondOfWeek, meteredTypes],
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

const rankedJob = ({ id, unplanned, gpus, cpu_millis, quotas }: Row): RankedJob => ({
  id,
  unplanned,
  claims: (quotas ?? [])
    .map(({ quotaId, resourceType, limit }) => ({
      quotaId,
      limit,
      amount: resourceType === "GPU" ? gpus : cpu_millis,
    }))
    .filter(({ amount }) => amount > 0),
});

const rankOf = (rows: readonly Row[]): ReadonlyMap<string, Entitlement> =>
  rankEntitlement(rows.map(rankedJob));

function overQuotaJobs(
  rows: readonly Row[],
  entitlements: ReadonlyMap<string, Entitlement>,
): OverQuotaJob[] {
  return rows.flatMap(({ id, key, attempt, status, admitted_at }) => {
    const overQuota = entitlements.get(id)?.overQuota ?? [];
    const admittedAtSeconds = admitted_at ?? undefined;
    return overQuota.length === 0
      ? []
      : [{ id, key, attempt, status, admittedAtSeconds, overQuota }];
  });
}

export interface Refreshed {
  /** Jobs (namespace/name) whose mark changed. */
  readonly changedKeys: readonly string[];
  /** Jobs over quota, in rank order. */
  readonly overQuota: readonly OverQuotaJob[];
}

/**
 * Marks every job of the pool that occupies capacity: within quota, or borrowing because it is over a quota or because
 * no plan grants a metered type that it requests. At most two statements.
 */
export async function refreshBorrowing(
  db: Queryable,
  pool: string,
  secondOfWeek: number,
  meteredTypes: readonly ResourceType[],
): Promise<Refreshed> {
  const rows = await readRanked(db, pool, secondOfWeek, meteredTypes);
  const entitlements = rankOf(rows);
  const marks = rows.flatMap(({ id, attempt, marked }): Mark[] => {
    const borrowing = entitlements.get(id)?.borrowing ?? marked;
    return borrowing === marked ? [] : [{ id, attempt, borrowing }];
  });
  const changedKeys = marks.length === 0 ? [] : await writeMarks(db, marks);
  return { changedKeys, overQuota: overQuotaJobs(rows, entitlements) };
}

/** The jobs of the pool that would be over quota at another second of the week, if none started or ended until then. */
export async function overQuotaAt(
  db: Queryable,
  pool: string,
  secondOfWeek: number,
): Promise<readonly OverQuotaJob[]> {
  const rows = await readRanked(db, pool, secondOfWeek, []);
  return overQuotaJobs(rows, rankOf(rows));
}
