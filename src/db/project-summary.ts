/** What a Project's status says of its tree and its jobs, in one statement. */
import { secondOfWeek } from "../domain/windows.ts";
import { run } from "./pool.ts";
import { formatPath } from "./types.ts";
import type { Queryable } from "./types.ts";

export interface ProjectSummary {
  readonly path: string;
  readonly children: number;
  readonly gpusRunning: number;
  readonly gpusPending: number;
  readonly gpusPlanned: number;
}

interface Row extends Omit<ProjectSummary, "path"> {
  readonly path: readonly string[];
}

/** Jobs of the whole subtree count; the planned GPUs are those in effect for the nearest owner, over all pools. */
export async function projectSummary(
  db: Queryable,
  projectId: string,
  at: { readonly instant: Temporal.Instant; readonly timeZone: string },
): Promise<ProjectSummary> {
  const [row] = await run<Row>(
    db,
    `
    SELECT project.path,
      (SELECT count(*)::int FROM projects WHERE parent_id = project.id) AS children,
      jobs.running AS "gpusRunning", jobs.pending AS "gpusPending",
      (
        SELECT coalesce(sum(plan.quantity), 0)::int
        FROM resource_plans AS plan
        WHERE plan.resource_type = 'GPU' AND plan.time_window @> $2::int AND plan.resource_owner_id = (
          SELECT above.owner_id
          FROM projects AS above
          WHERE above.path @> project.path AND above.owner_id IS NOT NULL
          ORDER BY nlevel(above.path) DESC
          LIMIT 1
        )
      ) AS "gpusPlanned"
    FROM projects AS project
    CROSS JOIN LATERAL (
      SELECT
        coalesce(sum(job.gpus) FILTER (WHERE job.status IN ('starting', 'running', 'evicting')), 0)::int AS running,
        coalesce(sum(job.gpus) FILTER (WHERE job.status IN ('pending', 'held', 'evicted')), 0)::int AS pending
      FROM projects AS below
      JOIN jobs AS job ON job.active_project_id = below.id
      WHERE below.path <@ project.path
    ) AS jobs
    WHERE project.id = $1
    `,
    [projectId, secondOfWeek(at.instant, at.timeZone)],
  );
  if (!row) return { path: "", children: 0, gpusRunning: 0, gpusPending: 0, gpusPlanned: 0 };
  return { ...row, path: formatPath(row.path) };
}
