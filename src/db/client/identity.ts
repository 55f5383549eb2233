/** The identity of a database: detects a different or restored database, and a restart of the server. */
import { RotaError } from "../../errors.ts";
import { run } from "./connection-pool.ts";
import type { Queryable } from "./types.ts";

/**
 * The server's start time, which a failover changes, with the oids of database and history, which a restore changes.
 */
export async function readDatabaseIdentity(db: Queryable): Promise<string> {
  const [row] = await run<{ identity: string }>(
    db,
    `
    SELECT concat_ws(' ', extract(epoch FROM pg_postmaster_start_time()), database.oid, to_regclass('job_events')::oid)
      AS identity
    FROM pg_database AS database
    WHERE database.datname = current_database()
    `,
  );
  return row?.identity ?? "";
}

/** Throws RotaError DatabaseReplaced if the database has another identity. */
export async function expectSameDatabase(db: Queryable, identity: string): Promise<void> {
  if ((await readDatabaseIdentity(db)) === identity) return;
  throw new RotaError(
    "DatabaseReplaced",
    "the database was restarted, restored or replaced since it was last compared with the cluster",
  );
}

/** Whose a database is. */
export interface DatabaseOwnership {
  readonly id: string;
  /** Its id before an administrator gave it to its cluster. */
  readonly formerId: string | undefined;
  /** Undefined: the database is empty. */
  readonly clusterUid: string | undefined;
  /** Restored from a dump, or cloned, since it was given to its cluster. */
  readonly isCopy: boolean;
  /** The extended resource that its columns count as GPUs; undefined: none yet. */
  readonly gpuResource: string | undefined;
  /** Jobs that have not ended were counted so. */
  readonly hasJobs: boolean;
}

/** Where the table is; `installation` is its name in the statement. */
const place = `
  SELECT concat_ws(' ', control.system_identifier::text, database.oid, to_regclass('public.installation')::oid)
  FROM pg_control_system() AS control, pg_database AS database
  WHERE database.datname = current_database()
`;

/** Whether the schema is there, or an earlier one that has this much. */
async function hasInstallation(db: Queryable): Promise<boolean> {
  const [row] = await run<{ known: boolean }>(
    db,
    "SELECT to_regclass('public.installation') IS NOT NULL AS known",
  );
  return row?.known ?? false;
}

/** Undefined where the schema, or the row of a database that was never led, is missing. */
export async function readOwnership(db: Queryable): Promise<DatabaseOwnership | undefined> {
  if (!(await hasInstallation(db))) return undefined;
  const [row] = await run<{
    id: string;
    former: string | null;
    cluster: string | null;
    is_copy: boolean;
    gpu_resource: string | null;
    has_jobs: boolean;
  }>(
    db,
    `
    SELECT database_id AS id, former_id AS former, cluster_uid AS cluster,
      coalesce(place <> (${place}), false) AS is_copy, gpu_resource,
      EXISTS (SELECT FROM public.jobs WHERE active_project_id IS NOT NULL) AS has_jobs
    FROM public.installation
    `,
  );
  return (
    row && {
      id: row.id,
      formerId: row.former ?? undefined,
      clusterUid: row.cluster ?? undefined,
      isCopy: row.is_copy,
      gpuResource: row.gpu_resource ?? undefined,
      hasJobs: row.has_jobs,
    }
  );
}

/** Gives a new database its id; one that has an id keeps it. */
export async function nameDatabase(db: Queryable): Promise<void> {
  await run(db, "INSERT INTO public.installation DEFAULT VALUES ON CONFLICT DO NOTHING");
}

/** Gives an empty database to a cluster, unless it is not empty any more, or has another id. */
export async function claimDatabase(db: Queryable, id: string, clusterUid: string): Promise<void> {
  await run(
    db,
    `
    UPDATE public.installation SET cluster_uid = $2, place = (${place})
    WHERE database_id = $1 AND cluster_uid IS NULL
    `,
    [id, clusterUid],
  );
}

/** What columns count as GPUs from now on, unless jobs that have not ended were counted otherwise. */
export async function countAsGpu(db: Queryable, id: string, gpuResource: string): Promise<void> {
  await run(
    db,
    `
    UPDATE public.installation SET gpu_resource = $2
    WHERE database_id = $1
      AND (gpu_resource IS NULL OR NOT EXISTS (SELECT FROM public.jobs WHERE active_project_id IS NOT NULL))
    `,
    [id, gpuResource],
  );
}

/**
 * Gives a database to a cluster whosever it was. Its id changes, so that nobody who knew it, or a copy of it, takes it for
 * theirs. Undefined when it has another id than the given one.
 */
export async function takeDatabase(
  db: Queryable,
  id: string,
  clusterUid: string,
): Promise<string | undefined> {
  const [row] = await run<{ id: string }>(
    db,
    `
    UPDATE public.installation
    SET database_id = gen_random_uuid(), former_id = database_id, cluster_uid = $2, place = (${place})
    WHERE database_id = $1
    RETURNING database_id AS id
    `,
    [id, clusterUid],
  );
  return row?.id;
}
