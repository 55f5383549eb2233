/** Forgets rows whose object left the cluster while nobody watched. */
import { run } from "./pool.ts";
import type { Queryable } from "./types.ts";

/** Withdraws the plans that are none of these. */
export async function prunePlans(db: Queryable, presentUids: readonly string[]): Promise<void> {
  await run(db, "DELETE FROM resource_plans WHERE plan_uid <> ALL ($1::uuid[])", [presentUids]);
}

/** Nodes that are none of these left; the row stays as long as allocations do. */
export async function pruneNodes(db: Queryable, presentNames: readonly string[]): Promise<void> {
  await run(
    db,
    `
    WITH gone AS (
      UPDATE nodes SET present = false, schedulable = false
      WHERE name <> ALL ($1::text[]) AND present
      RETURNING name, pods_committed
    )
    SELECT count(*) FROM gone
    `,
    [presentNames],
  );
}

export async function prunePriorityClasses(
  db: Queryable,
  presentNames: readonly string[],
): Promise<void> {
  await run(db, "DELETE FROM priority_classes WHERE name <> ALL ($1::text[])", [presentNames]);
}
