/** Marks which jobs that occupy capacity are inside what the plans grant and which borrow (design section 4). */
import { rankEntitlement } from "../../domain/scheduling/entitlement.ts";
import type { QuotaClaim, OverQuotaJob, Entitlement } from "../../domain/scheduling/entitlement.ts";
import type { ResourceType } from "../../domain/scheduling/snapshot.ts";
import { run } from "../client/connection-pool.ts";
import type { Queryable } from "../client/types.ts";

interface Row extends Omit<OverQuotaJob, "admittedAtSeconds" | "overQuota"> {
  readonly admitted_at: number | null;
  readonly unplanned: boolean;
  readonly marked: boolean;
  /** Null when the answer does not depend on other jobs'. */
  readonly claims: readonly QuotaClaim[] | null;
}

/** Asks for a metered type ($3) that no plan on the way up grants. */
const isUnplanned = (job: string): string => `(
        ${job}.gpus > 0 AND NOT planned.gpus AND 'GPU' = ANY ($3::resource_type[])
        OR ${job}.cpu_millis > 0 AND NOT planned.cpus AND 'CPU' = ANY ($3::resource_type[])
      )`;

/**
 * Jobs that are within the quantities even when all that rank before them count are inside, whatever those are: the
 * sums of a window function tell, and they are most. Read are only the others, in the order of their rank, and those
 * whose mark is wrong. Reserved jobs count from their reservation; those that are leaving count no more.
 */
const readDoubtful = (
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
    -- Most owners use no more than they may: their jobs need no rank.
    exceeded AS MATERIALIZED (
      SELECT granted.owner_id, granted.resource_type, granted.limit_amount
      FROM granted
      JOIN chains USING (owner_id)
      JOIN per_project AS used USING (project_id)
      GROUP BY granted.owner_id, granted.resource_type, granted.limit_amount
      HAVING sum(CASE granted.resource_type WHEN 'GPU' THEN used.gpus ELSE used.cpu_millis END) > granted.limit_amount
    ),
    claims AS MATERIALIZED (
      SELECT claim.*, sum(amount) OVER (
        PARTITION BY owner_id, resource_type ORDER BY priority DESC, admitted_at, id
      ) > limit_amount AS may_be_past
      FROM (
        SELECT job.id, job.project_id, job.gpus, job.cpu_millis, job.priority, job.admitted_at, exceeded.owner_id,
          exceeded.resource_type, exceeded.limit_amount,
          CASE exceeded.resource_type WHEN 'GPU' THEN job.gpus ELSE job.cpu_millis END AS amount
        FROM exceeded
        JOIN chains USING (owner_id)
        JOIN occupying AS job USING (project_id)
      ) AS claim
      WHERE amount > 0
    ),
    contested AS (
      SELECT claims.id, claims.owner_id, claims.resource_type, claims.amount, claims.limit_amount, doubtful.is_doubtful,
        coalesce(sum(claims.amount) FILTER (WHERE NOT doubtful.is_doubtful AND NOT ${isUnplanned("claims")}) OVER (
          PARTITION BY claims.owner_id, claims.resource_type ORDER BY claims.priority DESC, claims.admitted_at, claims.id
        ), 0) AS ahead
      FROM claims
      JOIN (SELECT id, bool_or(may_be_past) AS is_doubtful FROM claims GROUP BY id) AS doubtful USING (id)
      JOIN planned USING (project_id)
    ),
    details AS (
      SELECT id, json_agg(json_build_object(
        'quotaId', owner_id || '/' || resource_type, 'amount', amount, 'limit', limit_amount, 'ahead', ahead
      )) AS claims
      FROM contested
      WHERE is_doubtful
      GROUP BY id
    )
    SELECT job.id, job.namespace || '/' || job.name AS key, job.attempt, job.status,
      CASE WHEN job.status <> 'reserved' THEN extract(epoch FROM job.admitted_at)::float8 END AS admitted_at,
      job.borrowing AS marked, ${isUnplanned("job")} AS unplanned, details.claims
    FROM occupying AS job
    JOIN planned USING (project_id)
    LEFT JOIN details USING (id)
    WHERE details.claims IS NOT NULL OR job.borrowing <> ${isUnplanned("job")}
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

const rankOf = (rows: readonly Row[]): ReadonlyMap<string, Entitlement> =>
  rankEntitlement(
    rows.map(({ id, unplanned, claims }) => ({ id, unplanned, claims: claims ?? [] })),
  );

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
  /** Jobs past the quantity of quotas, in the order of their rank. */
  readonly overQuota: readonly OverQuotaJob[];
}

/**
 * Jobs keep their entitlement in order of priority, then start; those that do not fit into the quantity of each
 * quota borrow, and so does a job that asks for a metered type which no plan on its way up grants. At most two
 * statements for the pool.
 */
export async function refreshBorrowing(
  db: Queryable,
  pool: string,
  secondOfWeek: number,
  meteredTypes: readonly ResourceType[],
): Promise<Refreshed> {
  const rows = await readDoubtful(db, pool, secondOfWeek, meteredTypes);
  const entitlements = rankOf(rows);
  const marks = rows.flatMap(({ id, attempt, marked }): Mark[] => {
    const borrowing = entitlements.get(id)?.borrowing ?? marked;
    return borrowing === marked ? [] : [{ id, attempt, borrowing }];
  });
  const changedKeys = marks.length === 0 ? [] : await writeMarks(db, marks);
  return { changedKeys, overQuota: overQuotaJobs(rows, entitlements) };
}

/** The jobs that would be past the quantity of quotas at another second of the week, as things are now. */
export async function overQuotaAt(
  db: Queryable,
  pool: string,
  secondOfWeek: number,
): Promise<readonly OverQuotaJob[]> {
  const rows = await readDoubtful(db, pool, secondOfWeek, []);
  return overQuotaJobs(rows, rankOf(rows));
}
