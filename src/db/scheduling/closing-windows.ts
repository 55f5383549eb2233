import type { ClosingWindow } from "../../domain/window-schedule.ts";
import { weekSeconds } from "../../domain/windows.ts";
import { run } from "../client/connection-pool.ts";
import type { IntegerRange, Queryable } from "../client/types.ts";

interface Row {
  readonly quota_id: string;
  readonly plan: string;
  readonly on_window_close: "Finish" | "Evict";
  readonly time_window: IntegerRange;
}

const windowOf = ({ plan, on_window_close, time_window: range }: Row): ClosingWindow => ({
  plan,
  onWindowClose: on_window_close,
  start: range.empty ? 0 : (range.lower ?? 0),
  end: range.empty ? 0 : (range.upper ?? weekSeconds),
});

/** All windows of each of the pool's quotas that has a window with onWindowClose Evict, by quota id. */
export async function readEvictWindows(
  db: Queryable,
  pool: string,
): Promise<ReadonlyMap<string, readonly ClosingWindow[]>> {
  const rows = await run<Row>(
    db,
    `
    SELECT resource_owner_id || '/' || resource_type AS quota_id, plan_name AS plan, on_window_close, time_window
    FROM resource_plans
    WHERE pool = $1 AND (resource_owner_id, resource_type) IN (
      SELECT resource_owner_id, resource_type FROM resource_plans WHERE pool = $1 AND on_window_close = 'Evict'
    )
    `,
    [pool],
  );
  const grouped = Map.groupBy(rows, (row) => row.quota_id);
  return new Map([...grouped].map(([id, group]) => [id, group.map(windowOf)]));
}
