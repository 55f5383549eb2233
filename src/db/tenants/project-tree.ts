/** The tree around a project: each question is one statement, whatever the tree's depth or width. */
import { run } from "../client/connection-pool.ts";
import { projectColumns, type Member, type Project, type ProjectRole } from "./projects.ts";
import type { Owner } from "./owners.ts";
import type { Queryable } from "../client/types.ts";

/** The projects above, the root first. */
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

/** The projects below, parents before their children. */
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

/** Members of the project and of all its ancestors, with the greatest role of each. */
export function membersInEffect(db: Queryable, id: string): Promise<Member[]> {
  return run<Member>(
    db,
    `
    SELECT owner.kind, owner.name, max(member.role) AS role
    FROM project_roles AS member
    JOIN owners AS owner ON owner.id = member.resource_owner_id
    WHERE member.project_id = $1
    GROUP BY owner.kind, owner.name
    ORDER BY owner.kind, owner.name
    `,
    [id],
  );
}

export interface Subject {
  readonly user: string;
  readonly groups: readonly string[];
}

/** The subject's role in a project, by itself or through groups, here or inherited; undefined: none. */
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
  /** Of the nearest project that names one. */
  readonly owner: Owner | null;
  readonly borrowing: "Allow" | "Deny";
  /** Null: all. */
  readonly priorityClasses: readonly string[] | null;
}

/** What a project inherits from the nearest project above it that says so, itself first. */
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
  /** Names of child projects; the first twenty. */
  readonly children: readonly string[];
  /** namespace/name of jobs that have not ended; the first twenty. */
  readonly jobs: readonly string[];
}

/** What a project's deletion waits for. */
export async function blockersOfDeletion(db: Queryable, id: string): Promise<Blockers> {
  const rows = await run<Blockers>(
    db,
    `
    SELECT
      ARRAY(SELECT name FROM projects WHERE parent_id = $1 ORDER BY name LIMIT 20) AS children,
      ARRAY(
        SELECT namespace || '/' || name FROM jobs WHERE active_project_id = $1 ORDER BY created_at, id LIMIT 20
      ) AS jobs
    `,
    [id],
  );
  return rows[0] ?? { children: [], jobs: [] };
}

export interface SubtreeTotals {
  /** The project itself included. */
  readonly projects: number;
  readonly queuedJobs: number;
  /** Reserved, starting or running. */
  readonly liveJobs: number;
  /** Of reserved, starting and running jobs. */
  readonly gpus: number;
  readonly cpuMillis: number;
  readonly memoryBytes: number;
}

/** Sums over a project and all below it. */
export async function subtreeTotals(db: Queryable, id: string): Promise<SubtreeTotals | undefined> {
  const rows = await run<SubtreeTotals>(
    db,
    `
    WITH subtree AS (
      SELECT project.id
      FROM projects AS root
      JOIN projects AS project ON project.path <@ root.path
      WHERE root.id = $1
    ), totals AS (
      SELECT count(*) FILTER (WHERE job_is_waiting(job.status)) AS queued,
        count(*) FILTER (WHERE job_uses_quota(job.status)) AS live,
        sum(job.required_gpu) FILTER (WHERE job_uses_quota(job.status)) AS gpus,
        sum(job.cpu_millis) FILTER (WHERE job_uses_quota(job.status)) AS cpu_millis,
        sum(job.memory_bytes) FILTER (WHERE job_uses_quota(job.status)) AS memory_bytes
      FROM subtree
      JOIN jobs AS job ON job.active_project_id = subtree.id
    )
    SELECT (SELECT count(*) FROM subtree) AS projects, queued AS "queuedJobs", live AS "liveJobs",
      coalesce(gpus, 0)::bigint AS gpus, coalesce(cpu_millis, 0)::bigint AS "cpuMillis",
      coalesce(memory_bytes, 0)::bigint AS "memoryBytes"
    FROM totals
    WHERE EXISTS (SELECT FROM subtree)
    `,
    [id],
  );
  return rows[0];
}
