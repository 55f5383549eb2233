/** A project's place in the tree: one statement per function, for any depth and width of the tree. */
import { run } from "../client/connection-pool.ts";
import { projectColumns, type Project, type ProjectRole } from "./projects.ts";
import type { Owner } from "./owners.ts";
import type { Queryable } from "../client/types.ts";

/** The ancestors of a project, root first. */
export function ancestors(db: Queryable, id: string): Promise<Project[]> {
  return run<Project>(
    db,
    `
    SELECT ${projectColumns}
    FROM projects AS child
    JOIN projects AS project ON project.path @> child.path AND project.id <> child.id
    WHERE child.id = $1
    ORDER BY nlevel(project.path)
    `,
    [id],
  );
}

/** The descendants of a project, parents before their children. */
export function descendants(db: Queryable, id: string): Promise<Project[]> {
  return run<Project>(
    db,
    `
    SELECT ${projectColumns}
    FROM projects AS root
    JOIN projects AS project ON project.path <@ root.path AND project.id <> root.id
    WHERE root.id = $1
    ORDER BY project.path
    `,
    [id],
  );
}

export interface Subject {
  readonly user: string;
  readonly groups: readonly string[];
}

/** The subject's role in a project, own or through groups, direct or inherited; undefined without one. */
export async function roleOf(
  db: Queryable,
  id: string,
  subject: Subject,
): Promise<ProjectRole | undefined> {
  const rows = await run<{ role: ProjectRole | null }>(
    db,
    `
    SELECT max(role) AS role
    FROM project_roles
    WHERE project_id = $1
      AND resource_owner_id IN (
        SELECT id FROM users WHERE name = $2
        UNION ALL
        SELECT id FROM groups WHERE name = ANY ($3)
      )
    `,
    [id, subject.user, subject.groups],
  );
  return rows[0]?.role ?? undefined;
}

export interface ProjectSettings {
  /** Its own, or that of the nearest ancestor that sets one. */
  readonly owner: Owner | null;
  readonly borrowing: "Allow" | "Deny";
  /** Null: all classes. */
  readonly priorityClasses: readonly string[] | null;
}

/** Settings of the project, each own or inherited from the nearest ancestor that sets it; undefined for an unknown id. */
export async function settingsInEffect(
  db: Queryable,
  id: string,
): Promise<ProjectSettings | undefined> {
  const rows = await run<ProjectSettings>(
    db,
    `
    SELECT CASE WHEN owner.id IS NOT NULL THEN jsonb_build_object('kind', owner.kind, 'name', owner.name) END AS owner,
      borrowing, priority_classes AS "priorityClasses"
    FROM project_settings
    LEFT JOIN owners AS owner ON owner.id = project_settings.owner_id
    WHERE project_id = $1
    `,
    [id],
  );
  return rows[0];
}

export interface Blockers {
  /** Names of the first twenty child projects. */
  readonly children: readonly string[];
  /** namespace/name of the first twenty unfinished jobs. */
  readonly jobs: readonly string[];
}

/** The children and jobs that block the deletion of a project. */
export async function blockersOfDeletion(db: Queryable, id: string): Promise<Blockers> {
  const rows = await run<Blockers>(
    db,
    `
    SELECT
      ARRAY(SELECT name FROM projects WHERE parent_id = $1 ORDER BY name LIMIT 20) AS children,
      ARRAY(
        SELECT namespace || '/' || name FROM jobs WHERE active_project_id = $1 ORDER BY created_at, arrival LIMIT 20
      ) AS jobs
    `,
    [id],
  );
  return rows[0] ?? { children: [], jobs: [] };
}
