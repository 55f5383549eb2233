import { run } from "../client/connection-pool.ts";
import type { Queryable } from "../client/types.ts";

/** The clocks of database and operator differ; slightly late is better than slightly early. */
const marginSeconds = 0.05;

/**
 * When a cycle of the pool may decide differently although nothing has changed: a waiting job's back-off ends, a node
 * that it avoids becomes available to it, pods that leave are overdue, or a window opens or closes.
 * @param secondOfWeek now, in the installation's time zone
 * @returns seconds until then; undefined if never
 */
export async function secondsToNextWakeUp(
  db: Queryable,
  pool: string,
  secondOfWeek: number,
): Promise<number | undefined> {
  const [row] = await run<{ retry: number | null; edge: number | null }>(
    db,
    `
    SELECT
      extract(epoch FROM least(
        (SELECT min(not_before) FROM jobs WHERE pool = $1 AND not_before > now()),
        (SELECT min(leaves_by) FROM jobs WHERE pool = $1 AND job_is_live(status) AND leaves_by > now()),
        (
          SELECT min(avoided.until)
          FROM avoided_nodes AS avoided
          JOIN jobs AS job ON job.id = avoided.job_id
          WHERE job.pool = $1 AND job_is_waiting(job.status) AND avoided.until > now()
        )
      ) - clock_timestamp())::float8 AS retry,
      (
        SELECT min((edge.second - $2::int + 604800 - 1) % 604800 + 1)
        FROM resource_plans AS plan
        CROSS JOIN LATERAL (VALUES (lower(plan.time_window)), (upper(plan.time_window))) AS edge (second)
        WHERE plan.pool = $1 AND plan.time_window <> int4range(0, 604800)
      ) AS edge
    `,
    [pool, secondOfWeek],
  );
  const waits = [
    ...(typeof row?.retry === "number" ? [Math.max(0, row.retry) + marginSeconds] : []),
    ...(typeof row?.edge === "number" ? [row.edge] : []),
  ];
  return waits.length === 0 ? undefined : Math.min(...waits);
}
