/** Forgets rows whose object left the cluster while nobody watched. */
import { run } from "../client/connection-pool.ts";
import type { Queryable } from "../client/types.ts";

/** Withdraws the plans that are none of these. */
export async function prunePlans(db: Queryable, presentUids: readonly string[]): Promise<void> {
  await run(db, "DELETE FROM resource_plans WHERE plan_uid <> ALL ($1::uuid[])", [presentUids]);
}

/** Forgets projects that are none of these, with all below them; not those with active jobs, or with one of these below. */
export async function pruneProjects(db: Queryable, presentUids: readonly string[]): Promise<void> {
  await run(
    db,
    `
    DELETE FROM projects AS gone
    WHERE id <> ALL ($1::uuid[]) AND NOT EXISTS (
      SELECT FROM projects AS below
      WHERE below.path <@ gone.path AND (
        below.id = ANY ($1::uuid[]) OR EXISTS (SELECT FROM jobs WHERE active_project_id = below.id)
      )
    )
    `,
    [presentUids],
  );
}

/** Notes the commits that are none of these as deleted: their content and history stay. */
export async function pruneCommits(db: Queryable, presentUids: readonly string[]): Promise<void> {
  await run(
    db,
    "UPDATE config_commits SET removed_at = now() WHERE removed_at IS NULL AND id <> ALL ($1::uuid[])",
    [presentUids],
  );
}

/** The nodes that the database takes for present: those that left meanwhile are to be looked at too. */
export async function presentNodeNames(db: Queryable): Promise<string[]> {
  const rows = await run<{ name: string }>(db, "SELECT name FROM nodes WHERE present");
  return rows.map((row) => row.name);
}

export async function prunePriorityClasses(
  db: Queryable,
  presentNames: readonly string[],
): Promise<void> {
  await run(db, "DELETE FROM priority_classes WHERE name <> ALL ($1::text[])", [presentNames]);
}

/**
 * Deletes the history of jobs that ended before an instant, and settled preemptions decided before it, at most so
 * many of each; returns how many. Jobs whose rows are still there keep their history. What is younger than a week is
 * refused: RotaError HistoryImmutable.
 */
export async function pruneHistory(
  db: Queryable,
  before: Temporal.Instant,
  limit: number,
): Promise<number> {
  const [row] = await run<{ pruned: number }>(db, "SELECT prune_history($1, $2) AS pruned", [
    before.toString(),
    limit,
  ]);
  return row?.pruned ?? 0;
}
