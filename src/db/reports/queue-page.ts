/** The queue, for the HTTP API: waiting jobs and their positions. */
import { run } from "../client/connection-pool.ts";
import type { Queryable } from "../client/types.ts";
import { asItIs, readPage, type Page, type PageRequest, type VisibleNamespaces } from "./page.ts";

export interface QueueRow {
  readonly pool: string;
  /** Among all waiting jobs of the pool, visible to the caller or not. */
  readonly position: number;
  readonly id: string;
  readonly namespace: string;
  readonly name: string;
  readonly priority: number;
  readonly priorityClass: string;
  readonly status: "pending" | "evicted";
  readonly reason: string | null;
  readonly message: string | null;
  readonly gpus: number;
  readonly parallelism: number;
  readonly attempt: number;
  readonly queuedAt: Temporal.Instant;
  readonly notBefore: Temporal.Instant | null;
}

export type QueueKey = readonly [pool: string, position: number];

export interface QueueFilter extends PageRequest<QueueKey> {
  readonly namespaces: VisibleNamespaces;
  readonly pool?: string | undefined;
}

/**
 * A page of the waiting jobs. Positions come from an ordered scan of the queue's index, so a page costs as much as the
 * queue before its end. The scheduler's last reason for a job is in its custom resource.
 */
export function queuePage(
  db: Queryable,
  { namespaces, pool, limit, after }: QueueFilter,
): Promise<Page<QueueRow, QueueKey>> {
  return readPage<QueueRow, QueueRow, QueueKey>(db, {
    text: `
    SELECT pool, position, id, namespace, name, priority, priority_class AS "priorityClass", status, reason,
      message,
      required_gpu AS gpus, parallelism, attempt, created_at AS "queuedAt", not_before AS "notBefore"
    FROM (
      SELECT job.*, row_number() OVER (
        PARTITION BY pool ORDER BY priority DESC, created_at, arrival
      ) AS position
      FROM jobs AS job
      WHERE job_is_waiting(status) AND NOT suspended AND ($1::text IS NULL OR pool = $1)
    ) AS queue
    WHERE ($2::text[] IS NULL OR namespace = ANY ($2))
      AND ($3::text IS NULL OR (pool, position) > ($3, $4::bigint))
    ORDER BY pool, position
    LIMIT $5
    `,
    values: [pool ?? null, namespaces, after?.[0] ?? null, after?.[1] ?? null],
    limit,
    keyOf: (row) => [row.pool, row.position],
    show: asItIs,
  });
}

/** A job's position in its pool's queue; undefined if it does not wait. One count over the queue's index. */
export async function queuePosition(db: Queryable, jobId: string): Promise<number | undefined> {
  const [row] = await run<{ position: number }>(
    db,
    `
    SELECT (
      SELECT count(*)
      FROM jobs AS ahead
      WHERE ahead.pool = job.pool AND job_is_waiting(ahead.status) AND NOT ahead.suspended
        AND (-ahead.priority, ahead.created_at, ahead.arrival) < (-job.priority, job.created_at, job.arrival)
    ) + 1 AS position
    FROM jobs AS job
    WHERE job.id = $1 AND job_is_waiting(job.status) AND NOT job.suspended
    `,
    [jobId],
  );
  return row?.position;
}
