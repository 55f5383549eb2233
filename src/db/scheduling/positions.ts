import { run } from "../client/connection-pool.ts";
import type { Queryable } from "../client/types.ts";

export interface QueuePlace {
  readonly id: string;
  /** namespace/name */
  readonly key: string;
  /** In the pool's whole queue, from 1. */
  readonly position: number;
  /** In back-off after a failure; its status reports that itself. */
  readonly isBackingOff: boolean;
}

/** The first `limit` jobs of a pool's queue in order, including those that no claim reads. */
export function readPositions(db: Queryable, pool: string, limit: number): Promise<QueuePlace[]> {
  return run<QueuePlace>(
    db,
    `
    SELECT id, namespace || '/' || name AS key,
      row_number() OVER (ORDER BY priority DESC, created_at, arrival)::int AS position,
      coalesce(not_before > now(), false) AS "isBackingOff"
    FROM jobs
    WHERE pool = $1 AND job_is_waiting(status) AND NOT suspended
    ORDER BY priority DESC, created_at, arrival
    LIMIT $2
    `,
    [pool, limit],
  );
}
