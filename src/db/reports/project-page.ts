/** The project tree, for the HTTP API: quota, usage and waiting jobs of each subtree. */
import { run } from "../client/connection-pool.ts";
import type { Owner } from "../tenants/owners.ts";
import { formatPath, type Queryable } from "../client/types.ts";
import { readPage, type Page, type PageRequest, type VisibleNamespaces } from "./page.ts";

interface Row {
  readonly name: string;
  readonly parent: string | null;
  readonly path: readonly string[];
  readonly namespace: string;
  readonly owner: Owner | null;
  readonly gpusPlanned: number | null;
  readonly gpusRunning: number;
  readonly gpusPending: number;
  readonly gpusBorrowed: number;
  readonly jobsRunning: number;
  readonly jobsPending: number;
}

export interface ProjectRow extends Omit<Row, "path"> {
  readonly path: string;
  readonly depth: number;
}

export interface ProjectFilter extends PageRequest<string> {
  readonly namespaces: VisibleNamespaces;
  /** Name of the project to start from. */
  readonly root?: string | undefined;
  readonly secondOfWeek: number;
}

/** A page of the tree, in path order. Jobs are summed once per project, whatever the depth. */
export function projectPage(
  db: Queryable,
  { namespaces, root, limit, after, secondOfWeek }: ProjectFilter,
): Promise<Page<ProjectRow, string>> {
  return readPage<Row, ProjectRow, string>(db, {
    text: `
    WITH shown AS MATERIALIZED (
      SELECT project.*, project_owner_in_effect(project.path) AS effective_owner_id
      FROM projects AS project
      WHERE ($1::text[] IS NULL OR project.namespace = ANY ($1))
        AND ($2::text IS NULL OR project.path <@ (SELECT path FROM projects WHERE name = $2))
        AND ($3::text IS NULL OR project.path > $3::ltree)
      ORDER BY project.path
      LIMIT $5
    ), used AS MATERIALIZED (
      SELECT project.path, jobs.*
      FROM (
        SELECT active_project_id,
          sum(required_gpu) FILTER (WHERE job_is_live(status)) AS running,
          sum(required_gpu) FILTER (WHERE NOT job_is_live(status)) AS pending,
          sum(required_gpu) FILTER (WHERE job_may_be_evicted(status) AND borrowing) AS borrowed,
          count(*) FILTER (WHERE job_is_live(status)) AS running_jobs,
          count(*) FILTER (WHERE NOT job_is_live(status)) AS pending_jobs
        FROM jobs
        WHERE active_project_id IS NOT NULL
        GROUP BY active_project_id
      ) AS jobs
      JOIN projects AS project ON project.id = jobs.active_project_id
    )
    SELECT shown.name, parent.name AS parent, shown.path, shown.namespace,
      CASE WHEN owner.id IS NOT NULL THEN jsonb_build_object('kind', owner.kind, 'name', owner.name) END AS owner,
      (
        SELECT coalesce(sum(quantity) FILTER (WHERE time_window @> $4::int), 0)::float8
        FROM resource_plans
        WHERE resource_type = 'GPU' AND resource_owner_id = owner.id
        HAVING count(*) > 0
      ) AS "gpusPlanned",
      totals.*
    FROM shown
    LEFT JOIN projects AS parent ON parent.id = shown.parent_id
    LEFT JOIN owners AS owner ON owner.id = shown.effective_owner_id
    CROSS JOIN LATERAL (
      SELECT coalesce(sum(running), 0)::bigint AS "gpusRunning", coalesce(sum(pending), 0)::bigint AS "gpusPending",
        coalesce(sum(borrowed), 0)::bigint AS "gpusBorrowed",
        coalesce(sum(running_jobs), 0)::bigint AS "jobsRunning",
        coalesce(sum(pending_jobs), 0)::bigint AS "jobsPending"
      FROM used
      WHERE used.path <@ shown.path
    ) AS totals
    ORDER BY shown.path
    `,
    values: [namespaces, root ?? null, after ?? null, secondOfWeek],
    limit,
    keyOf: ({ path }) => formatPath(path),
    show: (row) => ({ ...row, path: formatPath(row.path), depth: row.path.length - 1 }),
  });
}

/** Namespaces of at most `limit` projects, in order. */
export async function projectNamespaces(db: Queryable, limit: number): Promise<string[]> {
  const rows = await run<{ namespace: string }>(
    db,
    "SELECT namespace FROM projects ORDER BY namespace LIMIT $1",
    [limit],
  );
  return rows.map(({ namespace }) => namespace);
}

/** Owners whose plans apply to jobs in these namespaces: those of the projects and of all their ancestors. */
export async function ownersAbove(db: Queryable, namespaces: readonly string[]): Promise<Owner[]> {
  return run<Owner>(
    db,
    `
    SELECT DISTINCT owner.kind, owner.name
    FROM projects AS project
    JOIN project_owners AS above ON above.project_id = project.id
    JOIN owners AS owner ON owner.id = above.owner_id
    WHERE project.namespace = ANY ($1)
    `,
    [namespaces],
  );
}
