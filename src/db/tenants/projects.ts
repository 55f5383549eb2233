/** Projects as rows: create, update, move, delete. project-tree.ts reads ancestors and descendants. */
import { storableJson } from "../../domain/text.ts";
import type { Pool, PoolClient } from "pg";
import { RotaError } from "../../errors.ts";
import { mapDatabaseError } from "../client/constraint-errors.ts";
import { ensureOwners, type Owner } from "./owners.ts";
import { run, withTransaction } from "../client/connection-pool.ts";
import type { Queryable } from "../client/types.ts";

export type ProjectRole = "viewer" | "submitter" | "admin";

export interface Member extends Owner {
  readonly role: ProjectRole;
}

export interface ProjectStorage {
  readonly name: string;
  readonly sizeBytes: bigint;
  /** Absent: the cluster's default class. */
  readonly storageClass?: string | undefined;
  readonly accessMode: string;
  readonly affinity: object;
}

export interface ProjectInput {
  /** uid of the custom resource */
  readonly id: string;
  readonly name: string;
  readonly namespace: string;
  /** Name of the parent; absent for a root. */
  readonly parent?: string | undefined;
  readonly owner?: Owner | undefined;
  readonly borrowing?: "Allow" | "Deny" | undefined;
  readonly priorityClasses?: readonly string[] | undefined;
  readonly podSecurity: "restricted" | "baseline" | "privileged";
  readonly members: readonly Member[];
  readonly storages: readonly ProjectStorage[];
  /** Of the custom resource. */
  readonly generation?: number | undefined;
}

/** Stands for a named parent that does not exist: no uid is all zeros, so the foreign key refuses it. */
const nobody = "00000000-0000-0000-0000-000000000000";

interface ProjectState {
  readonly known: boolean;
  readonly moved: boolean;
}

/** Whether the project is stored, and whether its parent differs. */
async function stateOf(db: Queryable, project: ProjectInput): Promise<ProjectState> {
  const rows = await run<{ moved: boolean }>(
    db,
    `
    SELECT project.parent_id IS DISTINCT FROM (SELECT id FROM projects WHERE name = $2) AS moved
    FROM projects AS project
    WHERE project.id = $1
    `,
    [project.id, project.parent ?? null],
  );
  return { known: rows.length > 0, moved: rows[0]?.moved ?? false };
}

const parentExpression = `
  CASE WHEN $2::text IS NULL THEN NULL
  ELSE coalesce((SELECT id FROM projects WHERE name = $2), '${nobody}') END
`;

/**
 * Moves a project with its subtree; the database keeps every path. Throws RotaError: ProjectCycle, ParentNotFound. Use
 * it only under READ COMMITTED and preferably as the transaction's first write: it takes the tree's lock before any row
 * lock.
 */
export async function moveSubtree(
  db: Queryable,
  id: string,
  parent: string | undefined,
): Promise<void> {
  await run(db, `UPDATE projects SET parent_id = ${parentExpression} WHERE id = $1`, [
    id,
    parent ?? null,
  ]);
}

async function insertProject(db: Queryable, project: ProjectInput): Promise<void> {
  await run(
    db,
    `INSERT INTO projects (id, parent_id, name, namespace) VALUES ($1, ${parentExpression}, $3, $4)`,
    [project.id, project.parent ?? null, project.name, project.namespace],
  );
}

async function updateSettings(
  db: Queryable,
  project: ProjectInput,
  ownerId: number | null,
): Promise<void> {
  await run(
    db,
    `
    UPDATE projects
    SET namespace = $2, owner_id = $3, borrowing = $4, priority_classes = $5, pod_security = $6, generation = $7
    WHERE id = $1
      AND (namespace, owner_id, borrowing, priority_classes, pod_security, generation)
        IS DISTINCT FROM ($2, $3::bigint, $4::borrowing_policy, $5::text[], $6::pod_security_level, $7::bigint)
    `,
    [
      project.id,
      project.namespace,
      ownerId,
      project.borrowing ?? null,
      project.priorityClasses ?? null,
      project.podSecurity,
      project.generation ?? 0,
    ],
  );
}

async function replaceMembers(
  db: Queryable,
  projectId: string,
  members: readonly Member[],
  ownerIds: readonly number[],
): Promise<void> {
  await run(
    db,
    `
    WITH wanted AS (
      SELECT owner_id, max(role) AS role
      FROM unnest($2::bigint[], $3::project_role[]) AS member (owner_id, role)
      GROUP BY owner_id
    ), removed AS (
      DELETE FROM project_members
      WHERE project_id = $1 AND resource_owner_id NOT IN (SELECT owner_id FROM wanted)
    )
    INSERT INTO project_members (project_id, resource_owner_id, role)
    SELECT $1, owner_id, role FROM wanted
    ON CONFLICT (project_id, resource_owner_id) DO UPDATE SET role = excluded.role
    WHERE project_members.role <> excluded.role
    `,
    [projectId, ownerIds, members.map((member) => member.role)],
  );
}

async function replaceStorages(
  db: Queryable,
  projectId: string,
  storages: readonly ProjectStorage[],
): Promise<void> {
  await run(
    db,
    `
    WITH wanted AS (
      SELECT * FROM unnest($2::text[], $3::bigint[], $4::text[], $5::text[], $6::jsonb[])
        AS storage (name, size_bytes, storage_class, access_mode, affinity_config)
    ), removed AS (
      DELETE FROM storages WHERE project_id = $1 AND name NOT IN (SELECT name FROM wanted)
    )
    INSERT INTO storages (
      project_id, resource_owner_id, name, size_bytes, storage_class, access_mode, affinity_config
    )
    SELECT $1, (SELECT owner_id FROM project_settings WHERE project_id = $1), name, size_bytes, storage_class, access_mode, affinity_config
    FROM wanted
    ON CONFLICT (project_id, name) DO UPDATE
    SET resource_owner_id = excluded.resource_owner_id, size_bytes = excluded.size_bytes,
      storage_class = excluded.storage_class, access_mode = excluded.access_mode,
      affinity_config = excluded.affinity_config
    `,
    [
      projectId,
      storages.map((storage) => storage.name),
      storages.map((storage) => storage.sizeBytes),
      storages.map((storage) => storage.storageClass ?? null),
      storages.map((storage) => storage.accessMode),
      storages.map((storage) => storableJson(storage.affinity)),
    ],
  );
}

async function writeProject(client: PoolClient, project: ProjectInput): Promise<void> {
  const { known, moved } = await stateOf(client, project);
  if (moved) await moveSubtree(client, project.id, project.parent);
  if (!known) await insertProject(client, project);
  const owners = project.owner ? [project.owner] : [];
  const ids = await ensureOwners(client, [...owners, ...project.members]);
  await updateSettings(client, project, project.owner ? (ids[0] ?? null) : null);
  await replaceMembers(client, project.id, project.members, ids.slice(owners.length));
  await replaceStorages(client, project.id, project.storages);
}

/**
 * Creates or updates a project with its members and storages, and moves its subtree if the parent changed, in one
 * transaction. Throws RotaError: ParentNotFound, ProjectCycle, AlreadyExists (name or namespace of another project),
 * InvalidValue.
 */
export function upsertProject(pool: Pool, project: ProjectInput): Promise<void> {
  return withTransaction(pool, (client) => writeProject(client, project));
}

/**
 * Deletes a project with its members, storages and commits; ended jobs stay. False if there is none. Throws RotaError:
 * ProjectHasChildren, ProjectHasJobs.
 */
export async function deleteProject(db: Queryable, id: string): Promise<boolean> {
  try {
    const { rowCount } = await db.query("DELETE FROM projects WHERE id = $1", [id]);
    return rowCount === 1;
  } catch (error) {
    throw mapDatabaseError(error, true);
  }
}

/** A row whose Project is gone, and that has the name or namespace of one that was made again. */
export interface FormerProject {
  readonly id: string;
}

/**
 * Forgets projects that have the name or namespace of this one and are none of the present ones: their Project was made
 * again with another uid. Their children become roots until they are stored again. Returns those that are kept, because
 * jobs of theirs have not ended.
 */
export function forgetFormerProjects(
  pool: Pool,
  { id, name, namespace }: Pick<ProjectInput, "id" | "name" | "namespace">,
  presentIds: readonly string[],
): Promise<FormerProject[]> {
  return withTransaction(pool, async (client) => {
    const former = await run<FormerProject & { readonly busy: boolean }>(
      client,
      `
      SELECT id, EXISTS (SELECT FROM jobs WHERE active_project_id = project.id) AS busy
      FROM projects AS project
      WHERE (name = $2 OR namespace = $3) AND id <> $1 AND id <> ALL ($4::uuid[])
      `,
      [id, name, namespace, presentIds],
    );
    const free = former.filter(({ busy }) => !busy).map((project) => project.id);
    if (free.length > 0) {
      await run(client, "UPDATE projects SET parent_id = NULL WHERE parent_id = ANY ($1::uuid[])", [
        free,
      ]);
      await run(client, "DELETE FROM projects WHERE id = ANY ($1::uuid[])", [free]);
    }
    return former.filter(({ busy }) => busy);
  });
}

export interface Project {
  readonly id: string;
  readonly name: string;
  readonly namespace: string;
  readonly parentId: string | null;
  /** Labels from the root down. */
  readonly path: readonly string[];
}

/** Columns of a Project; `project` is the table's alias. */
export const projectColumns = `
  project.id, project.name, project.namespace, project.parent_id AS "parentId", project.path
`;

/** The project of this name. Throws RotaError ProjectNotFound. */
export async function readProject(db: Queryable, name: string): Promise<Project> {
  const rows = await run<Project>(
    db,
    `SELECT ${projectColumns} FROM projects AS project WHERE name = $1`,
    [name],
  );
  const [project] = rows;
  if (!project) throw new RotaError("ProjectNotFound", `no project ${name}`);
  return project;
}

/** The project that a namespace belongs to; undefined if it belongs to none. */
export async function projectOfNamespace(
  db: Queryable,
  namespace: string,
): Promise<Project | undefined> {
  const rows = await run<Project>(
    db,
    `SELECT ${projectColumns} FROM projects AS project WHERE namespace = $1`,
    [namespace],
  );
  return rows[0];
}
