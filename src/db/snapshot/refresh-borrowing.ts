/** Marks which live jobs are inside what the plans grant and which borrow (design section 4). */
import type { ResourceType } from "../../domain/scheduling/types.ts";
import { run } from "../pool.ts";
import type { Queryable } from "../types.ts";

/**
 * Live jobs keep their entitlement in order of priority, then start; those past the quantity of any ceiling borrow,
 * and so does a job that asks for a metered type which no plan on its way up grants. One statement for the pool.
 * Returns the jobs (namespace/name) whose mark changed.
 */
export async function refreshBorrowing(
  db: Queryable,
  pool: string,
  secondOfWeek: number,
  meteredTypes: readonly ResourceType[],
): Promise<string[]> {
  const rows = await run<{ key: string }>(
    db,
    `
    WITH granted AS (
      SELECT resource_owner_id AS owner_id, resource_type,
        coalesce(sum(quantity) FILTER (WHERE time_window @> $2::int), 0) AS quantity
      FROM resource_plans
      WHERE pool = $1
      GROUP BY resource_owner_id, resource_type
    ),
    asked AS (
      SELECT job.id, job.project_id, job.priority, job.started_at, ask.resource_type, ask.amount
      FROM jobs AS job
      CROSS JOIN LATERAL (VALUES
        ('GPU'::resource_type, job.gpus::numeric),
        ('CPU'::resource_type, job.cpu_millis / 1000.0)
      ) AS ask (resource_type, amount)
      WHERE job.pool = $1 AND job.status IN ('starting', 'running') AND ask.amount > 0
    ),
    chains AS (
      SELECT DISTINCT project.id AS project_id, ancestor.owner_id
      FROM projects AS project
      JOIN projects AS ancestor ON ancestor.path @> project.path AND ancestor.owner_id IS NOT NULL
      WHERE project.id IN (SELECT project_id FROM asked)
    ),
    ranked AS (
      SELECT asked.id, asked.resource_type,
        sum(asked.amount) OVER (
          PARTITION BY granted.owner_id, asked.resource_type
          ORDER BY asked.priority DESC, asked.started_at, asked.id
        ) > granted.quantity AS is_past
      FROM asked
      JOIN chains USING (project_id)
      JOIN granted ON granted.owner_id = chains.owner_id AND granted.resource_type = asked.resource_type
    ),
    judged AS (
      SELECT asked.id,
        bool_or(coalesce(ranked.is_past, asked.resource_type = ANY ($3::resource_type[]))) AS borrowing
      FROM asked
      LEFT JOIN ranked USING (id, resource_type)
      GROUP BY asked.id
    )
    UPDATE jobs AS job
    SET borrowing = judged.borrowing
    FROM judged
    WHERE job.id = judged.id AND job.borrowing <> judged.borrowing AND job.status IN ('starting', 'running')
    RETURNING job.namespace || '/' || job.name AS key
    `,
    [pool, secondOfWeek, meteredTypes],
  );
  return rows.map((row) => row.key);
}
