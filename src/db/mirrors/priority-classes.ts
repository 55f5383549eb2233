/** The mirror of the cluster's PriorityClasses. */
import { run } from "../client/connection-pool.ts";
import type { Queryable } from "../client/types.ts";

export interface PriorityClass {
  readonly name: string;
  readonly value: number;
  readonly preemptionPolicy: "PreemptLowerPriority" | "Never";
}

/** Creates or updates a class. */
export async function upsertPriorityClass(
  db: Queryable,
  priorityClass: PriorityClass,
): Promise<void> {
  await run(
    db,
    `
    INSERT INTO priority_classes (name, value, preemption_policy) VALUES ($1, $2, $3)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value, preemption_policy = excluded.preemption_policy
    WHERE (priority_classes.value, priority_classes.preemption_policy)
      IS DISTINCT FROM (excluded.value, excluded.preemption_policy)
    `,
    [priorityClass.name, priorityClass.value, priorityClass.preemptionPolicy],
  );
}

/** Maximum of jobs changed by one statement, so that a class with a million waiting jobs is updated in steps. */
const followedAtOnce = 5000;

/**
 * Copies the value and policy of a class to the waiting jobs that differ; users change a class by deleting and creating
 * it. Running jobs keep theirs until they wait again. Returns the keys, namespace/name, of the changed jobs; repeat
 * until none is left.
 */
export async function followPriorityClass(
  db: Queryable,
  { name, value, preemptionPolicy }: PriorityClass,
): Promise<string[]> {
  const rows = await run<{ key: string }>(
    db,
    `
    WITH changed AS (
      SELECT id FROM jobs
      WHERE priority_class = $1 AND (job_is_waiting(status) OR status = 'reserved')
        AND (priority, preempts) IS DISTINCT FROM ($2::integer, $3::boolean)
      ORDER BY id
      LIMIT $4
      FOR NO KEY UPDATE
    )
    UPDATE jobs
    SET priority = $2, preempts = $3
    FROM changed
    WHERE jobs.id = changed.id
    RETURNING jobs.namespace || '/' || jobs.name AS key
    `,
    [name, value, preemptionPolicy === "PreemptLowerPriority", followedAtOnce],
  );
  return rows.map(({ key }) => key);
}

/** Deletes a class; jobs keep the priority they were queued with. */
export async function deletePriorityClass(db: Queryable, name: string): Promise<void> {
  await run(db, "DELETE FROM priority_classes WHERE name = $1", [name]);
}
