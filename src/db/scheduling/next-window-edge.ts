import { run } from "../client/connection-pool.ts";
import type { Queryable } from "../client/types.ts";

/** Seconds of the week until the next window of the pool opens or closes; undefined when none ever does. */
export async function secondsToNextWindowEdge(
  db: Queryable,
  pool: string,
  secondOfWeek: number,
): Promise<number | undefined> {
  const [row] = await run<{ seconds: number | null }>(
    db,
    `
    SELECT min((edge.second - $2::int + 604800 - 1) % 604800 + 1) AS seconds
    FROM resource_plans AS plan
    CROSS JOIN LATERAL (VALUES (lower(plan.time_window)), (upper(plan.time_window))) AS edge (second)
    WHERE plan.pool = $1 AND plan.time_window <> int4range(0, 604800)
    `,
    [pool, secondOfWeek],
  );
  return row?.seconds ?? undefined;
}
