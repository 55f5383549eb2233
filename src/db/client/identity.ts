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
