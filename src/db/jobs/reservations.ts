/**
 * Capacity reserved for jobs while their victims terminate. `preempt` creates reservations together with their victims.
 */
import type { Fence } from "./admit.ts";
import { run } from "../client/connection-pool.ts";
import type { Queryable } from "../client/types.ts";

/**
 * Starts reserved jobs on their reserved nodes and settles their preemptions. They keep the rank of their reservation.
 * Returns the jobs that started, with their new attempt. Throws RotaError NodeOvercommitted if the capacity is not free
 * yet.
 */
export function activateReservations(
  db: Queryable,
  jobs: readonly (Fence & { readonly borrowing: boolean })[],
): Promise<Fence[]> {
  return run<Fence>(
    db,
    `
    WITH started AS (
      UPDATE jobs
      SET status = 'starting', attempt = jobs.attempt + 1, borrowing = wanted.borrowing,
        started_at = now(), reason = 'Admitted', message = NULL, placement = (
          SELECT jsonb_agg(jsonb_build_object('node', node_name, 'pods', pods) ORDER BY node_name)
          FROM reservations
          WHERE reservations.job_id = jobs.id
        )
      FROM unnest($1::uuid[], $2::int[], $3::boolean[]) AS wanted (id, attempt, borrowing)
      WHERE jobs.id = wanted.id AND jobs.attempt = wanted.attempt AND jobs.status = 'reserved'
        AND NOT jobs.suspended
      RETURNING jobs.id, jobs.attempt
    ), used AS (
      DELETE FROM reservations USING started WHERE reservations.job_id = started.id
    ), settled AS (
      UPDATE preemptions
      SET settled_at = now(), outcome = 'Started'
      FROM started
      WHERE preemptions.preemptor_job_id = started.id AND preemptions.outcome IS NULL
    )
    SELECT id, attempt FROM started
    `,
    [jobs.map((job) => job.id), jobs.map((job) => job.attempt), jobs.map((job) => job.borrowing)],
  );
}

export interface Release extends Fence {
  /** CamelCase */
  readonly reason: string;
  readonly message: string;
  /** Nodes to avoid for `avoidSeconds`. */
  readonly avoidNodes?: readonly string[] | undefined;
}

/**
 * Releases reservations. The jobs return to their former status, pending or evicted, and avoid the given nodes for
 * `avoidSeconds`. Returns the jobs whose reservations were released.
 */
export function releaseReservations(
  db: Queryable,
  releases: readonly Release[],
  avoidSeconds = 0,
): Promise<Fence[]> {
  const avoided = releases.flatMap(({ id, avoidNodes }) =>
    (avoidNodes ?? []).map((node) => ({ id, node })),
  );
  return run<Fence>(
    db,
    `
    WITH released AS (
      UPDATE jobs
      SET borrowing = false, reason = wanted.reason, message = wanted.message, status = (
        SELECT event.from_status
        FROM job_events AS event
        WHERE event.job_id = jobs.id AND event.to_status = 'reserved' AND event.from_status <> 'reserved'
        ORDER BY event.id DESC
        LIMIT 1
      )
      FROM unnest($1::uuid[], $2::int[], $3::text[], $4::text[]) AS wanted (id, attempt, reason, message)
      WHERE jobs.id = wanted.id AND jobs.attempt = wanted.attempt AND jobs.status = 'reserved'
      RETURNING jobs.id, jobs.attempt
    ), given_back AS (
      DELETE FROM reservations USING released WHERE reservations.job_id = released.id
    ), settled AS (
      UPDATE preemptions
      SET settled_at = now(), outcome = 'Released'
      FROM released
      WHERE preemptions.preemptor_job_id = released.id AND preemptions.outcome IS NULL
    ), avoided AS (
      INSERT INTO avoided_nodes (job_id, node_name, until)
      SELECT released.id, wanted.node, now() + make_interval(secs => $7)
      FROM released
      JOIN unnest($5::uuid[], $6::text[]) AS wanted (id, node) ON wanted.id = released.id
      ON CONFLICT ON CONSTRAINT avoided_nodes_pkey DO UPDATE SET until = excluded.until
    )
    SELECT id, attempt FROM released
    `,
    [
      releases.map((release) => release.id),
      releases.map((release) => release.attempt),
      releases.map((release) => release.reason),
      releases.map((release) => release.message),
      avoided.map(({ id }) => id),
      avoided.map(({ node }) => node),
      avoidSeconds,
    ],
  );
}
