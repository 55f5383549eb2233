/** The mirror of the cluster's PriorityClasses. */
import { run } from "./pool.ts";
import type { Queryable } from "./types.ts";

export interface PriorityClass {
  readonly name: string;
  readonly value: number;
  readonly preemptionPolicy: "PreemptLowerPriority" | "Never";
}

/** Stores a class as the cluster has it. */
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

/** Forgets a class; jobs keep the priority they were queued with. */
export async function deletePriorityClass(db: Queryable, name: string): Promise<void> {
  await run(db, "DELETE FROM priority_classes WHERE name = $1", [name]);
}

/** The class of this name; undefined when the cluster has none. */
export async function readPriorityClass(
  db: Queryable,
  name: string,
): Promise<PriorityClass | undefined> {
  const rows = await run<PriorityClass>(
    db,
    `SELECT name, value, preemption_policy AS "preemptionPolicy" FROM priority_classes WHERE name = $1`,
    [name],
  );
  return rows[0];
}
