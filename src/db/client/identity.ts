/** Which database this is: told apart from another one, from one that was restored, and from itself before a restart. */
import { RotaError } from "../../errors.ts";
import { run } from "./connection-pool.ts";
import type { Queryable } from "./types.ts";

/** The server as it was started, the database and its history in it; a failover changes the first, a restore the others. */
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

/** Throws RotaError DatabaseReplaced. */
export async function expectSameDatabase(db: Queryable, identity: string): Promise<void> {
  if ((await readDatabaseIdentity(db)) === identity) return;
  throw new RotaError(
    "DatabaseReplaced",
    "the database was restarted, restored or replaced since it was last compared with the cluster",
  );
}
