/** What plans grant to owners in a pool, and the usage under them: two statements, whatever the tree. */
import { sumsByType } from "../jobs/resources.ts";
import { inQuantity, type ResourceType } from "../../domain/resource-types.ts";
import type { Quota, OwnerRef } from "../../domain/scheduling/snapshot.ts";
import { evictClosesAhead, lastEvictClose } from "../../domain/window-schedule.ts";
import type { ClosingWindow } from "../../domain/window-schedule.ts";
import { comingText, quantityAt, secondOfWeekAt, weekSeconds } from "../../domain/windows.ts";
import { run } from "../client/connection-pool.ts";
import type { IntegerRange, Queryable } from "../client/types.ts";

interface WindowRow {
  readonly owner_id: number;
  readonly owner_kind: OwnerRef["kind"];
  readonly owner_name: string;
  readonly resource_type: ResourceType;
  readonly plan_name: string;
  readonly quantity: number;
  readonly time_window: IntegerRange;
  readonly on_window_close: "Finish" | "Evict";
}

interface PlanWindow extends ClosingWindow {
  readonly row: WindowRow;
  readonly quantity: number;
}

interface UsageRow {
  readonly owner_id: number;
  readonly resource_type: ResourceType;
  /** In the type's unit of demand, as the others. */
  readonly used: number;
  readonly borrowed: number;
  readonly leaving: number;
}

/** "ownerId/type"; the SQL in victims.ts builds and splits the same form. */
export const quotaId = (ownerId: number, type: ResourceType): string => `${ownerId}/${type}`;

const readWindows = (db: Queryable, pool: string, ownerIds: readonly number[]) =>
  run<WindowRow>(
    db,
    `
    SELECT plan.resource_owner_id AS owner_id, owner.kind AS owner_kind, owner.name AS owner_name,
      plan.resource_type, plan.plan_name, plan.quantity, plan.time_window, plan.on_window_close
    FROM resource_plans AS plan
    JOIN owners AS owner ON owner.id = plan.resource_owner_id
    WHERE plan.pool = $1 AND plan.resource_owner_id = ANY ($2::bigint[])
    ORDER BY plan.resource_owner_id, plan.resource_type, plan.time_window
    `,
    [pool, ownerIds],
  );

/**
 * How a job counts under its quotas: 'used', 'borrowed' or, while it is being evicted or ends, 'leaving'. What ends and
 * is overdue is in use: others may be evicted for it.
 */
const countedAs = `CASE
        WHEN status = 'evicting' THEN 'leaving'
        WHEN borrowing THEN 'borrowed'
        WHEN ending IS NOT NULL AND leaves_by > now() THEN 'leaving'
        ELSE 'used'
      END`;

const readUsage = (db: Queryable, pool: string, ownerIds: readonly number[]) =>
  run<UsageRow>(
    db,
    `
    WITH counting AS MATERIALIZED (
      SELECT id, project_id, parallelism, required_gpu, cpu_millis, memory_bytes, ${countedAs} AS counted_as
      FROM jobs
      WHERE pool = $1 AND (job_uses_quota(status) OR status = 'evicting' AND NOT borrowing)
    ),
    per_project AS (${sumsByType("counting", "project_id, counted_as")}
    )
    SELECT above.owner_id, per_project.resource_type,
      coalesce(sum(amount) FILTER (WHERE counted_as = 'used'), 0)::float8 AS used,
      coalesce(sum(amount) FILTER (WHERE counted_as = 'borrowed'), 0)::float8 AS borrowed,
      coalesce(sum(amount) FILTER (WHERE counted_as = 'leaving'), 0)::float8 AS leaving
    FROM per_project
    CROSS JOIN LATERAL (
      SELECT DISTINCT owner_id
      FROM project_owners
      WHERE project_owners.project_id = per_project.project_id AND owner_id = ANY ($2::bigint[])
    ) AS above
    GROUP BY above.owner_id, per_project.resource_type
    `,
    [pool, ownerIds],
  );

function planWindow(row: WindowRow): PlanWindow {
  const { time_window: range } = row;
  const start = range.empty ? 0 : (range.lower ?? 0);
  const end = range.empty ? 0 : (range.upper ?? weekSeconds);
  const { plan_name: plan, on_window_close: onWindowClose, quantity } = row;
  return { row, start, end, plan, onWindowClose, quantity };
}

const isOpen = ({ start, end }: PlanWindow, second: number): boolean =>
  start <= second && second < end;

const secondsUntil = (second: number, from: number): number =>
  (second - from + weekSeconds) % weekSeconds;

/** A window that continues over Sunday midnight is stored as two ranges; the second is not an opening. */
const goesOn = (window: PlanWindow, windows: readonly PlanWindow[]): boolean =>
  windows.some(({ plan, end }) => plan === window.plan && end % weekSeconds === window.start);

function opensAtText(windows: readonly PlanWindow[], second: number): string | undefined {
  const closed = windows.filter(
    (window) => window.quantity > 0 && !isOpen(window, second) && !goesOn(window, windows),
  );
  const [next] = closed.toSorted(
    (one, other) => secondsUntil(one.start, second) - secondsUntil(other.start, second),
  );
  return next && `plan ${next.row.plan_name} opens ${comingText(next.start, second)}`;
}

function quota(
  windows: readonly PlanWindow[],
  usage: UsageRow | undefined,
  now: Temporal.ZonedDateTime,
): Quota[] {
  const [first] = windows;
  const second = secondOfWeekAt(now);
  if (!first) return [];
  const { owner_id, owner_kind, owner_name, resource_type } = first.row;
  const { used = 0, borrowed = 0, leaving = 0 } = usage ?? {};
  const opens = opensAtText(windows, second);
  const closes = evictClosesAhead(windows, now).map((close) => ({
    inSeconds: close.seconds,
    atText: comingText(close.atSecond, second),
    quantity: quantityAt(windows, close.atSecond),
  }));
  const isShut =
    !windows.some((window) => isOpen(window, second)) && lastEvictClose(windows, now) !== undefined;
  return [
    {
      id: quotaId(owner_id, resource_type),
      owner: { kind: owner_kind, name: owner_name },
      resourceType: resource_type,
      quantity: quantityAt(windows, second),
      usage: inQuantity(resource_type, used),
      borrowed: inQuantity(resource_type, borrowed),
      leaving: inQuantity(resource_type, leaving),
      plans: [...new Set(windows.map(({ row }) => row.plan_name))],
      ...(opens === undefined ? {} : { opensAtText: opens }),
      ...(closes.length > 0 && { evictCloses: closes }),
      ...(isShut ? { isShut } : {}),
    },
  ];
}

/** The quotas of these owners in the pool now, on the wall clock of the installation; owners without plans have none. */
export async function readQuotas(
  db: Queryable,
  pool: string,
  ownerIds: readonly number[],
  now: Temporal.ZonedDateTime,
): Promise<Quota[]> {
  if (ownerIds.length === 0) return [];
  const windows = (await readWindows(db, pool, ownerIds)).map(planWindow);
  if (windows.length === 0) return [];
  const usage = new Map(
    (await readUsage(db, pool, ownerIds)).map(
      (row) => [quotaId(row.owner_id, row.resource_type), row] as const,
    ),
  );
  const grouped = Map.groupBy(windows, ({ row }) => quotaId(row.owner_id, row.resource_type));
  return [...grouped].flatMap(([id, group]) => quota(group, usage.get(id), now));
}
