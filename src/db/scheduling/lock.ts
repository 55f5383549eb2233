import { run } from "../client/connection-pool.ts";
import type { Queryable } from "../client/types.ts";

/** Serialises the scheduling of a pool across all operators; the lock ends with the transaction. */
export async function lockPool(db: Queryable, pool: string): Promise<void> {
  await run(db, "SELECT pg_advisory_xact_lock(7100, hashtext($1))", [pool]);
}

/** The pools named by jobs or nodes. */
export async function readPools(db: Queryable): Promise<string[]> {
  const rows = await run<{ pool: string }>(
    db,
    "SELECT pool FROM nodes WHERE present UNION SELECT pool FROM jobs WHERE active_project_id IS NOT NULL",
  );
  return rows.map((row) => row.pool);
}
