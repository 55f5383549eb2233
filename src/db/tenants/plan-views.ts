/** The controller's view of plans: the windows in force and their usage. */
import { run } from "../client/connection-pool.ts";
import type { ResourceType } from "../../domain/resource-types.ts";
import type { WeekRange } from "../../domain/windows.ts";
import type { IntegerRange, Queryable } from "../client/types.ts";
import { sumsByType } from "../jobs/resources.ts";

export interface PlanView {
  readonly uid: string;
  /** Generation of the custom resource whose windows were accepted. */
  readonly generation: number;
  readonly quantity: number;
  readonly resourceType: ResourceType;
  readonly pool: string;
  /** In force, in order. */
  readonly windows: readonly WeekRange[];
  /** By jobs with pods under the plan's owner in its pool, in whole units of the quantity. */
  readonly used: number;
  /** Number of projects with this owner. */
  readonly projects: number;
}

interface Row extends Omit<PlanView, "windows"> {
  readonly ranges: readonly IntegerRange[];
}

const rangeOf = (range: IntegerRange): WeekRange[] =>
  range.empty || range.lower === null || range.upper === null
    ? []
    : [{ start: range.lower, end: range.upper }];

/**
 * The given plans that have windows in force, by uid. One statement, whatever their number. A job counts once under an
 * owner, however many of its ancestors have that owner.
 */
export async function readPlanViews(
  db: Queryable,
  uids: readonly string[],
): Promise<Map<string, PlanView>> {
  const rows = await run<Row>(
    db,
    `
    WITH wanted AS MATERIALIZED (
      SELECT plan_uid AS uid, resource_owner_id AS owner_id, resource_type, pool,
        min(generation) AS generation, min(quantity) AS quantity,
        array_agg(time_window ORDER BY time_window) AS ranges
      FROM resource_plans
      WHERE plan_uid = ANY ($1::uuid[])
      GROUP BY plan_uid, resource_owner_id, resource_type, pool
    ), live AS MATERIALIZED (
      SELECT id, active_project_id AS project_id, pool, parallelism, required_gpu, cpu_millis, memory_bytes
      FROM jobs
      WHERE active_project_id IS NOT NULL AND job_is_live(status)
    ), usage AS MATERIALIZED (${sumsByType("live", "project_id, pool")}
    ), chains AS (
      SELECT DISTINCT project_id, owner_id
      FROM project_owners
      WHERE project_id IN (SELECT project_id FROM usage) AND owner_id IN (SELECT owner_id FROM wanted)
    ), used AS (
      SELECT chains.owner_id, usage.pool, usage.resource_type,
        ceil(sum(usage.amount) / plan_unit(usage.resource_type)) AS quantity
      FROM chains
      JOIN usage USING (project_id)
      GROUP BY chains.owner_id, usage.pool, usage.resource_type
    )
    SELECT wanted.uid, wanted.generation, wanted.quantity, wanted.resource_type AS "resourceType",
      wanted.pool, wanted.ranges,
      coalesce(used.quantity, 0)::float8 AS used,
      (SELECT count(*) FROM projects WHERE projects.owner_id = wanted.owner_id)::int AS projects
    FROM wanted
    LEFT JOIN used USING (owner_id, pool, resource_type)
    `,
    [uids],
  );
  return new Map(
    rows.map(({ ranges, ...rest }) => [rest.uid, { ...rest, windows: ranges.flatMap(rangeOf) }]),
  );
}

export interface Withdrawn {
  readonly pool: string;
  readonly owner: { readonly kind: "User" | "Group"; readonly name: string };
}

/**
 * Withdraws the windows of plans with these names, except those of `presentUids`. Returns the affected pools and
 * owners.
 */
export function withdrawPlans(
  db: Queryable,
  names: readonly string[],
  presentUids: readonly string[],
): Promise<Withdrawn[]> {
  return run<Withdrawn>(
    db,
    `
    WITH removed AS (
      DELETE FROM resource_plans
      WHERE plan_name = ANY ($1::text[]) AND plan_uid <> ALL ($2::uuid[])
      RETURNING resource_owner_id, pool
    )
    SELECT DISTINCT removed.pool, jsonb_build_object('kind', owner.kind, 'name', owner.name) AS owner
    FROM removed
    JOIN owners AS owner ON owner.id = removed.resource_owner_id
    `,
    [names, presentUids],
  );
}
