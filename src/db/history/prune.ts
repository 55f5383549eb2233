/** Deletes rows whose object was removed from the cluster while no operator watched. */
import { run } from "../client/connection-pool.ts";
import type { Queryable } from "../client/types.ts";

/** Withdraws all plans except these. */
export async function prunePlans(db: Queryable, presentUids: readonly string[]): Promise<void> {
  await run(db, "DELETE FROM resource_plans WHERE plan_uid <> ALL ($1::uuid[])", [presentUids]);
}

/** Deletes all projects and subtrees except these, those with active jobs, and ancestors of either. */
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

/** Marks all commits except these as deleted; their content and history stay. */
export async function pruneCommits(db: Queryable, presentUids: readonly string[]): Promise<void> {
  await run(
    db,
    "UPDATE config_commits SET removed_at = now() WHERE removed_at IS NULL AND id <> ALL ($1::uuid[])",
    [presentUids],
  );
}

/** Nodes that the database believes to be present. The caller reconciles those that have left meanwhile. */
export async function presentNodeNames(db: Queryable): Promise<string[]> {
  const rows = await run<{ name: string }>(db, "SELECT name FROM nodes WHERE present");
  return rows.map((row) => row.name);
}

/** Deletes all classes except these; jobs keep the priority they were queued with. */
export async function prunePriorityClasses(
  db: Queryable,
  presentNames: readonly string[],
): Promise<void> {
  await run(db, "DELETE FROM priority_classes WHERE name <> ALL ($1::text[])", [presentNames]);
}

/**
 * Deletes history: jobs that ended before an instant, and settled preemptions decided before it, at most `limit` of
 * each. Returns how many. Jobs that still have a row keep their history. Throws RotaError HistoryImmutable for history
 * younger than a week.
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

/**
 * Deletes at most `limit` commits whose objects were deleted before an instant. Commits that follow them lose their
 * parent. Returns how many.
 */
export async function pruneRemovedCommits(
  db: Queryable,
  before: Temporal.Instant,
  limit: number,
): Promise<number> {
  const [row] = await run<{ pruned: number }>(db, "SELECT prune_commits($1, $2) AS pruned", [
    before.toString(),
    limit,
  ]);
  return row?.pruned ?? 0;
}

/** Deletes at most `limit` contents that were there before an instant and that no commit and no job needs. Returns how many. */
export async function pruneContents(
  db: Queryable,
  before: Temporal.Instant,
  limit: number,
): Promise<number> {
  const [row] = await run<{ pruned: number }>(db, "SELECT prune_contents($1, $2) AS pruned", [
    before.toString(),
    limit,
  ]);
  return row?.pruned ?? 0;
}
