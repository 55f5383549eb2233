import { run } from "../client/connection-pool.ts";
import type { Queryable } from "../client/types.ts";

/** Serialises the scheduling of a pool across all operators; the lock ends with the transaction. */
export async function lockPool(db: Queryable, pool: string): Promise<void> {
  await run(db, "SELECT pg_advisory_xact_lock(7100, hashtext($1))", [pool]);
}

/** So many locks at most for all namespaces, since the locks of a transaction are limited. */
const namespaceLocks = 64;

/**
 * Serialises decisions of several pools about the same namespaces, whose ResourceQuotas they share. Call it at most
 * once in a transaction: in one statement the locks are taken in order, so that no two transactions wait for each
 * other.
 */
export async function lockNamespaces(db: Queryable, namespaces: readonly string[]): Promise<void> {
  await run(
    db,
    `
    SELECT pg_advisory_xact_lock(7101, number)
    FROM (
      SELECT DISTINCT hashtext(namespace) & ($2::int - 1) AS number
      FROM unnest($1::text[]) AS namespace
      ORDER BY number
    ) AS locks
    `,
    [namespaces, namespaceLocks],
  );
}

/** The pools named by jobs or nodes. */
export async function readPools(db: Queryable): Promise<string[]> {
  const rows = await run<{ pool: string }>(
    db,
    "SELECT pool FROM nodes WHERE present UNION SELECT pool FROM jobs WHERE active_project_id IS NOT NULL",
  );
  return rows.map((row) => row.pool);
}
