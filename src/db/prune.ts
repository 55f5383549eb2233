/** Forgets rows whose object left the cluster while nobody watched. */
import { run } from "./pool.ts";
import type { Queryable } from "./types.ts";

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
