/** The windows of an owner's plans, as the database has them. */
import type { Pool, PoolClient } from "pg";
import type { Owner } from "../../src/db/tenants/owners.ts";

export interface PlanWindow {
  readonly plan: string;
  readonly resourceType: "GPU" | "CPU";
  readonly pool: string;
  readonly quantity: number;
  readonly onWindowClose: "Finish" | "Evict";
  /** Seconds since Monday, 00:00; the end is exclusive. */
  readonly start: number;
  readonly end: number;
}

export async function weekOf(db: Pool | PoolClient, owner: Owner): Promise<PlanWindow[]> {
  const { rows } = await db.query<PlanWindow>(
    `
    SELECT plan.plan_name AS plan, plan.resource_type AS "resourceType", plan.pool, plan.quantity,
      plan.on_window_close AS "onWindowClose", lower(plan.time_window) AS start, upper(plan.time_window) AS "end"
    FROM resource_plans AS plan
    WHERE plan.resource_owner_id = (SELECT id FROM owners WHERE kind = $1 AND name = $2)
    ORDER BY plan.time_window, plan.resource_type, plan.pool
    `,
    [owner.kind, owner.name],
  );
  return rows;
}
