/** Resource plans: windows as rows. PostgreSQL merges the windows of one plan and refuses overlapping plans. */
import type { Pool, PoolClient } from "pg";
import { PlanOverlapError, RotaError } from "../../errors.ts";
import {
  rangeText,
  rangesOfWindows,
  type TimeWindow,
  type WeekRange,
} from "../../domain/windows.ts";
import type { ResourceType } from "../../domain/resource-types.ts";
import { ensureOwner, type Owner } from "./owners.ts";
import { run, withTransaction } from "../client/connection-pool.ts";

export interface PlanInput {
  /** uid of the custom resource */
  readonly uid: string;
  readonly name: string;
  readonly owner: Owner;
  readonly resourceType: ResourceType;
  readonly pool: string;
  /** GPUs, cores, GiB of memory, or devices */
  readonly quantity: number;
  /** Absent: the whole week. */
  readonly windows?: readonly TimeWindow[] | undefined;
  readonly onWindowClose: "Finish" | "Evict";
  readonly generation: number;
  /** Names of deleted plans that are still in force, whose place it takes. */
  readonly supersedes?: readonly string[];
}

const rangeLiteral = ({ start, end }: WeekRange): string => `[${start},${end})`;

/** Serialises writers of one plan: the second must see the rows of the first. */
async function lockPlan(client: PoolClient, name: string): Promise<void> {
  await run(client, "SELECT pg_advisory_xact_lock(7002, hashtext($1))", [name]);
}

/** A plan that was deleted and created again has another uid; the rows of the old one are removed as well. */
async function removeWindows(client: PoolClient, plan: PlanInput): Promise<boolean> {
  const rows = await run<{ newer: boolean }>(
    client,
    `
    WITH newer AS (
      SELECT FROM resource_plans WHERE plan_name = $1 AND plan_uid = $2 AND generation > $3
    ), removed AS (
      DELETE FROM resource_plans WHERE plan_name = $1 AND NOT EXISTS (SELECT FROM newer)
    )
    SELECT EXISTS (SELECT FROM newer) AS newer
    `,
    [plan.name, plan.uid, plan.generation],
  );
  return rows[0]?.newer !== true;
}

async function insertWindows(client: PoolClient, plan: PlanInput, ownerId: number): Promise<void> {
  const ranges = rangesOfWindows(plan.windows);
  await run(
    client,
    `
    INSERT INTO resource_plans (
      plan_uid, plan_name, resource_owner_id, resource_type, pool, quantity, time_window, on_window_close, generation
    )
    SELECT $1, $2, $3, $4, $5, $6, merged, $7, $8
    FROM unnest((SELECT range_agg(time_window) FROM unnest($9::int4range[]) AS time_window)) AS merged
    ORDER BY merged
    `,
    [
      plan.uid,
      plan.name,
      ownerId,
      plan.resourceType,
      plan.pool,
      plan.quantity,
      plan.onWindowClose,
      plan.generation,
      ranges.map(rangeLiteral),
    ],
  );
}

async function removeSuperseded(client: PoolClient, names: readonly string[]): Promise<void> {
  if (names.length === 0) return;
  await run(client, "DELETE FROM resource_plans WHERE plan_name = ANY ($1::text[])", [names]);
}

async function writePlan(client: PoolClient, plan: PlanInput): Promise<boolean> {
  await lockPlan(client, plan.name);
  if (!(await removeWindows(client, plan))) return false;
  await removeSuperseded(client, plan.supersedes ?? []);
  const ownerId = await ensureOwner(client, plan.owner.kind, plan.owner.name);
  await insertWindows(client, plan, ownerId);
  return true;
}

/**
 * Replaces a plan's rows with the windows of its custom resource, in one transaction: a refused change leaves the
 * accepted version in force. False if a newer generation is stored already.
 * Throws RotaError: PlanOverlapError, InvalidWindow, InvalidValue.
 */
export async function replacePlan(pool: Pool, plan: PlanInput): Promise<boolean> {
  try {
    return await withTransaction(pool, (client) => writePlan(client, plan));
  } catch (error) {
    if (!(error instanceof RotaError) || error.code !== "PlanOverlap") throw error;
    throw await overlapError(pool, plan, error);
  }
}

/** The range of the existing row: the last one in PostgreSQL's message, in any language. */
function existingRange(error: RotaError): string | undefined {
  const { cause } = error;
  const detail = cause instanceof Error && "detail" in cause ? String(cause.detail) : "";
  return detail.match(/\[\d+,\d+\)/g)?.at(-1);
}

/** Adds the name of the conflicting plan to PostgreSQL's error; the plan is read as it is now. */
async function overlapError(pool: Pool, plan: PlanInput, error: RotaError): Promise<RotaError> {
  const range = existingRange(error);
  const [start, end] = range?.match(/\d+/g)?.map(Number) ?? [];
  if (range === undefined || start === undefined || end === undefined) return error;
  const rows = await run<{ plan: string }>(
    pool,
    `
    SELECT plan.plan_name AS plan
    FROM resource_plans AS plan
    JOIN owners AS owner ON owner.id = plan.resource_owner_id
    WHERE owner.kind = $1 AND owner.name = $2 AND plan.resource_type = $3 AND plan.pool = $4
      AND plan.time_window = $5::int4range
    `,
    [plan.owner.kind, plan.owner.name, plan.resourceType, plan.pool, range],
  );
  return new PlanOverlapError(rows[0]?.plan, rangeText({ start, end }), { cause: error });
}
