/** Marks which jobs that occupy capacity are inside what the plans grant and which borrow (design section 4). */
import { rankEntitlement } from "../../domain/scheduling/entitlement.ts";
import type { CeilingClaim, PastJob, Standing } from "../../domain/scheduling/entitlement.ts";
import type { ResourceType } from "../../domain/scheduling/types.ts";
import { run } from "../pool.ts";
import type { Queryable } from "../types.ts";

interface Row extends Omit<PastJob, "admittedAtSeconds" | "past"> {
  readonly admitted_at: number | null;
  readonly unplanned: boolean;
  readonly marked: boolean;
  /** Null when the answer does not depend on other jobs'. */
  readonly claims: readonly CeilingClaim[] | null;
}

/**
 * Jobs that are within the quantities even when all that rank before them count are inside, whatever those are: the
 * sums of a window function tell, and they are most. Read are only the others, in the order of their rank, and those
 * whose mark is wrong. Held jobs start last; those that are leaving count no more.
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
    occupying AS (
      SELECT job.*, row_number() OVER (
        ORDER BY job.priority DESC, CASE WHEN job.status = 'held' THEN 'infinity' ELSE job.admitted_at END, job.id
      ) AS rank
      FROM jobs AS job
      WHERE job.pool = $1 AND job.status IN ('held', 'starting', 'running')
    ),
    asked AS (
      SELECT job.id, job.project_id, job.rank, ask.resource_type, ask.amount
      FROM occupying AS job
      CROSS JOIN LATERAL (VALUES
        ('GPU'::resource_type, job.gpus::bigint),
        ('CPU'::resource_type, job.cpu_millis)
      ) AS ask (resource_type, amount)
      WHERE ask.amount > 0
    ),
    chains AS (
      SELECT DISTINCT project.id AS project_id, ancestor.owner_id
      FROM projects AS project
      JOIN projects AS ancestor ON ancestor.path @> project.path AND ancestor.owner_id IS NOT NULL
      WHERE project.id IN (SELECT project_id FROM asked)
    ),
    claims AS MATERIALIZED (
      SELECT asked.id, asked.rank, granted.owner_id, asked.resource_type, asked.amount, granted.limit_amount,
        sum(asked.amount) OVER (
          PARTITION BY granted.owner_id, asked.resource_type ORDER BY asked.rank
        ) > granted.limit_amount AS may_be_past
      FROM asked
      JOIN chains USING (project_id)
      JOIN granted ON granted.owner_id = chains.owner_id AND granted.resource_type = asked.resource_type
    ),
    judged AS MATERIALIZED (
      SELECT asked.id,
        bool_or(claims.id IS NULL AND asked.resource_type = ANY ($3::resource_type[])) AS unplanned,
        coalesce(bool_or(claims.may_be_past), false) AS doubtful
      FROM asked
      LEFT JOIN claims USING (id, resource_type)
      GROUP BY asked.id
    ),
    contested AS (
      SELECT claims.*, judged.doubtful,
        coalesce(sum(claims.amount) FILTER (WHERE NOT judged.doubtful AND NOT judged.unplanned) OVER (
          PARTITION BY claims.owner_id, claims.resource_type ORDER BY claims.rank
        ), 0) AS ahead
      FROM claims
      JOIN judged USING (id)
      WHERE (claims.owner_id, claims.resource_type) IN (
        SELECT owner_id, resource_type FROM claims WHERE may_be_past
      )
    ),
    details AS (
      SELECT id, json_agg(json_build_object(
        'ceilingId', owner_id || '/' || resource_type, 'amount', amount, 'limit', limit_amount, 'ahead', ahead
      )) AS claims
      FROM contested
      WHERE doubtful
      GROUP BY id
    )
    SELECT job.id, job.namespace || '/' || job.name AS key, job.attempt, job.status,
      CASE WHEN job.status <> 'held' THEN extract(epoch FROM job.admitted_at)::float8 END AS admitted_at,
      job.borrowing AS marked, coalesce(judged.unplanned, false) AS unplanned, details.claims
    FROM occupying AS job
    LEFT JOIN judged USING (id)
    LEFT JOIN details USING (id)
    WHERE details.claims IS NOT NULL OR job.borrowing <> coalesce(judged.unplanned, false)
    ORDER BY job.rank
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
    WHERE job.id = mark.id AND job.attempt = mark.attempt AND job.status IN ('held', 'starting', 'running')
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

const rankOf = (rows: readonly Row[]): ReadonlyMap<string, Standing> =>
  rankEntitlement(
    rows.map(({ id, unplanned, claims }) => ({ id, unplanned, claims: claims ?? [] })),
  );

function pastJobs(rows: readonly Row[], standings: ReadonlyMap<string, Standing>): PastJob[] {
  return rows.flatMap(({ id, key, attempt, status, admitted_at }) => {
    const past = standings.get(id)?.past ?? [];
    const admittedAtSeconds = admitted_at ?? undefined;
    return past.length === 0 ? [] : [{ id, key, attempt, status, admittedAtSeconds, past }];
  });
}

export interface Refreshed {
  /** Jobs (namespace/name) whose mark changed. */
  readonly changedKeys: readonly string[];
  /** Jobs past the quantity of ceilings, in the order of their rank. */
  readonly past: readonly PastJob[];
}

/**
 * Jobs keep their entitlement in order of priority, then start; those that do not fit into the quantity of each
 * ceiling borrow, and so does a job that asks for a metered type which no plan on its way up grants. At most two
 * statements for the pool.
 */
export async function refreshBorrowing(
  db: Queryable,
  pool: string,
  secondOfWeek: number,
  meteredTypes: readonly ResourceType[],
): Promise<Refreshed> {
  const rows = await readDoubtful(db, pool, secondOfWeek, meteredTypes);
  const standings = rankOf(rows);
  const marks = rows.flatMap(({ id, attempt, marked }): Mark[] => {
    const borrowing = standings.get(id)?.borrowing ?? marked;
    return borrowing === marked ? [] : [{ id, attempt, borrowing }];
  });
  const changedKeys = marks.length === 0 ? [] : await writeMarks(db, marks);
  return { changedKeys, past: pastJobs(rows, standings) };
}

/** The jobs that would be past the quantity of ceilings at another second of the week, as things are now. */
export async function pastAt(
  db: Queryable,
  pool: string,
  secondOfWeek: number,
): Promise<readonly PastJob[]> {
  const rows = await readDoubtful(db, pool, secondOfWeek, []);
  return pastJobs(rows, rankOf(rows));
}
