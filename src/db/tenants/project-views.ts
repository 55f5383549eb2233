/** The controller's view of projects: their place in the tree, members and usage. */
import { secondOfWeek } from "../../domain/windows.ts";
import { run } from "../client/connection-pool.ts";
import type { Member } from "./projects.ts";
import { formatPath } from "../client/types.ts";
import type { Queryable } from "../client/types.ts";

export interface ProjectView {
  readonly id: string;
  /** Generation of the custom resource that the row was written from. */
  readonly generation: number;
  readonly path: string;
  /** Name of the parent; null for a root. */
  readonly parent: string | null;
  readonly children: number;
  /** Of the project and all its ancestors, each with the highest role; sorted. */
  readonly members: readonly Member[];
  /** Of the whole subtree. */
  readonly gpusRunning: number;
  readonly gpusPending: number;
  /** Granted now by the plans of the nearest owner, over all pools. */
  readonly gpusPlanned: number;
}

interface Row extends Omit<ProjectView, "path"> {
  readonly path: readonly string[];
}

/**
 * The given projects that are stored, by id. One statement, whatever their number: usage is summed once per project
 * with active jobs and added to its ancestors; members are passed to descendants.
 */
export async function readProjectViews(
  db: Queryable,
  ids: readonly string[],
  at: { readonly instant: Temporal.Instant; readonly timeZone: string },
): Promise<Map<string, ProjectView>> {
  const rows = await run<Row>(
    db,
    `
    WITH wanted AS MATERIALIZED (
      SELECT id, generation, path, parent_id FROM projects WHERE id = ANY ($1::uuid[])
    ), usage AS MATERIALIZED (
      SELECT active_project_id AS project_id,
        coalesce(sum(required_gpu) FILTER (WHERE job_is_live(status)), 0) AS running,
        coalesce(sum(required_gpu) FILTER (WHERE NOT job_is_live(status)), 0) AS pending
      FROM jobs
      WHERE active_project_id IS NOT NULL
      GROUP BY active_project_id
    ), totals AS (
      SELECT above.id, sum(usage.running) AS running, sum(usage.pending) AS pending
      FROM usage
      JOIN projects AS project ON project.id = usage.project_id
      JOIN projects AS above ON above.path @> project.path
      WHERE above.id = ANY ($1::uuid[])
      GROUP BY above.id
    ), children AS (
      SELECT parent_id, count(*) AS count
      FROM projects
      WHERE parent_id = ANY ($1::uuid[])
      GROUP BY parent_id
    ), roles AS (
      SELECT project_id AS id, resource_owner_id, max(role) AS role
      FROM project_roles
      WHERE project_id = ANY ($1::uuid[])
      GROUP BY project_id, resource_owner_id
    ), members AS (
      SELECT roles.id, jsonb_agg(
        jsonb_build_object('kind', owner.kind, 'name', owner.name, 'role', roles.role)
        ORDER BY owner.kind, owner.name
      ) AS list
      FROM roles
      JOIN owners AS owner ON owner.id = roles.resource_owner_id
      GROUP BY roles.id
    ), granted AS (
      SELECT resource_owner_id, sum(quantity) AS quantity
      FROM resource_plans
      WHERE resource_type = 'GPU' AND time_window @> $2::int
      GROUP BY resource_owner_id
    )
    SELECT wanted.id, wanted.generation, wanted.path, parent.name AS parent,
      coalesce(children.count, 0)::int AS children,
      coalesce(members.list, '[]') AS members,
      coalesce(totals.running, 0)::float8 AS "gpusRunning",
      coalesce(totals.pending, 0)::float8 AS "gpusPending",
      coalesce(granted.quantity, 0)::float8 AS "gpusPlanned"
    FROM wanted
    LEFT JOIN projects AS parent ON parent.id = wanted.parent_id
    LEFT JOIN children ON children.parent_id = wanted.id
    LEFT JOIN members ON members.id = wanted.id
    LEFT JOIN totals ON totals.id = wanted.id
    LEFT JOIN granted ON granted.resource_owner_id = project_owner_in_effect(wanted.path)
    `,
    [ids, secondOfWeek(at.instant, at.timeZone)],
  );
  return new Map(rows.map((row) => [row.id, { ...row, path: formatPath(row.path) }]));
}
