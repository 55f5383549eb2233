import { run } from "../client/connection-pool.ts";
import type { Queryable } from "../client/types.ts";

/**
 * Seconds until the next of the pool's waiting jobs ends its back-off, or may try a node again that it avoids;
 * undefined when none does either.
 */
export async function secondsToNextRetry(db: Queryable, pool: string): Promise<number | undefined> {
  const [row] = await run<{ seconds: number | null }>(
    db,
    `
    SELECT extract(epoch FROM least(
      (SELECT min(not_before) FROM jobs WHERE pool = $1 AND not_before > now()),
      (
        SELECT min(avoided.until)
        FROM avoided_nodes AS avoided
        JOIN jobs AS job ON job.id = avoided.job_id
        WHERE job.pool = $1 AND job_is_waiting(job.status) AND avoided.until > now()
      )
    ) - clock_timestamp())::float8 AS seconds
    `,
    [pool],
  );
  // A little later rather than a moment too early: the clocks of database and operator differ.
  const seconds = row?.seconds ?? undefined;
  return seconds === undefined ? undefined : Math.max(0, seconds) + 0.05;
}
