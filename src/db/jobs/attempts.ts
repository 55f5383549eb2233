/** Transitions of started jobs. Ending a job frees its capacity, so do it only when no pod of the gang is left. */
import { storableJson } from "../../domain/text.ts";
import type { JobReason } from "../../api/reasons.ts";
import type { Fence } from "./admit.ts";
import { run } from "../client/connection-pool.ts";
import { prepared } from "../client/prepared.ts";
import { settleVictims } from "./settle-victims.ts";
import type { Queryable } from "../client/types.ts";

/** Call it when all pods of the gang run. True if the job was starting in this attempt. */
export async function markRunning(db: Queryable, job: Fence): Promise<boolean> {
  const rows = await run(
    db,
    prepared("mark_running")`
    UPDATE jobs
    SET status = 'running', started_at = now(), reason = 'Running', message = NULL, failed_starts = 0, node_failures = 0
    WHERE id = $1 AND attempt = $2 AND status = 'starting'
    RETURNING id
    `,
    [job.id, job.attempt],
  );
  return rows.length === 1;
}

export interface Ending extends Fence {
  readonly outcome: "succeeded" | "failed";
  /** CamelCase */
  readonly reason: string;
  readonly message: string;
}

/**
 * Ends live jobs and frees their capacity. The preemption log records victims that ended before their eviction.
 * Increments the failures of a job that failed. Returns the jobs that ended.
 */
export function endJobs(db: Queryable, endings: readonly Ending[]): Promise<Fence[]> {
  return run<Fence>(
    db,
    prepared("end_jobs")`
    WITH ended AS (
      UPDATE jobs
      SET status = ending.outcome::job_status, finished_at = now(), borrowing = false,
        failures = jobs.failures + (ending.outcome = 'failed')::int,
        reason = ending.reason, message = ending.message
      FROM unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::text[])
        AS ending (id, attempt, outcome, reason, message)
      -- IS TRUE: find rows by id. Otherwise the planner may read the whole index of live jobs, including dead entries.
      WHERE jobs.id = ending.id AND jobs.attempt = ending.attempt
        AND job_is_live(jobs.status) IS TRUE
      RETURNING jobs.id, jobs.attempt
    ), settled AS (${settleVictims("ended", "Finished")}
    )
    SELECT id, attempt FROM ended
    `,
    [
      endings.map((ending) => ending.id),
      endings.map((ending) => ending.attempt),
      endings.map((ending) => ending.outcome),
      endings.map((ending) => ending.reason),
      endings.map((ending) => ending.message),
    ],
  );
}

/** Ends one job; see endJobs. */
export async function endJob(db: Queryable, ending: Ending): Promise<boolean> {
  return (await endJobs(db, [ending])).length === 1;
}

/** Why an attempt ends, and the consequences. */
export interface AttemptEnd {
  readonly reason: JobReason;
  readonly message: string;
  /** True if it counts as a failure of the job. */
  readonly counts: boolean;
  /** What kept a start from succeeding: the job itself, a node, or the API server, which may relent. Undefined: none of them. */
  readonly failedStart?: "job" | "node" | "refused";
}

/**
 * Records why an attempt is stopped, before its pods are stopped; the first reason stays. For `leavesWithinSeconds` the
 * scheduler expects the capacity to become free and preempts no other job for it.
 */
export async function beginEnding(
  db: Queryable,
  job: Fence,
  end: AttemptEnd,
  leavesWithinSeconds: number,
): Promise<void> {
  await run(
    db,
    `
    UPDATE jobs SET ending = $3, leaves_by = now() + make_interval(secs => $4)
    WHERE id = $1 AND attempt = $2 AND evictable
    `,
    [job.id, job.attempt, storableJson(end), leavesWithinSeconds],
  );
}

/** The maximum of an integer column. Kubernetes has an int64, and whoever deletes a pod chooses it. */
const maxGraceSeconds = 2 ** 31 - 1;

/**
 * Notes that all pods of a leaving attempt that hold nodes have been asked to leave, the last within `graceSeconds`. By
 * the database's clock, on which it is first noted, they have left then and a margin later, or are overdue. A shorter
 * grace period begins anew, a longer one changes nothing.
 */
export async function noteDeparture(
  db: Queryable,
  job: Fence,
  graceSeconds: number,
  marginSeconds: number,
): Promise<void> {
  await run(
    db,
    prepared("note_departure")`
    UPDATE jobs
    SET asked_grace_seconds = $3::integer,
      leaves_by = least(
        CASE WHEN asked_grace_seconds IS NOT NULL THEN leaves_by END,
        now() + make_interval(secs => $3 + $4::float8)
      )
    WHERE id = $1 AND attempt = $2 AND job_is_live(status) AND NOT evictable
      AND coalesce(asked_grace_seconds > $3, true)
    `,
    [job.id, job.attempt, Math.min(graceSeconds, maxGraceSeconds), marginSeconds],
  );
}

/** Gives back nodes that a leaving attempt no longer uses. False if the job is not leaving in this attempt. */
export async function releaseNodes(
  db: Queryable,
  job: Fence,
  nodes: readonly string[],
): Promise<boolean> {
  const rows = await run(
    db,
    prepared("release_nodes")`
    UPDATE jobs
    SET placement = (
      SELECT jsonb_agg(place ORDER BY place ->> 'node')
      FROM jsonb_array_elements(placement) AS place
      WHERE place ->> 'node' <> ALL ($3::text[])
    )
    WHERE id = $1 AND attempt = $2 AND job_is_live(status) AND (status = 'evicting' OR ending IS NOT NULL)
    RETURNING id
    `,
    [job.id, job.attempt, nodes],
  );
  return rows.length === 1;
}

export interface Retry extends Fence {
  /** True if the attempt failed; false if it ended for a reason outside the job. */
  readonly countsAsFailure: boolean;
  readonly reason: string;
  readonly message: string;
  /** Back-off before the job can be claimed again; 0: none. */
  readonly notBeforeSeconds: number;
  /** Undefined: as before. */
  readonly failedStarts?: number;
  readonly nodeFailures?: number;
}

/**
 * Puts a live job back into the queue and frees its capacity; an evicting job becomes evicted. True if the job was live
 * in this attempt.
 */
export async function retryJob(db: Queryable, retry: Retry): Promise<boolean> {
  const rows = await run(
    db,
    prepared("retry_job")`
    WITH returned AS (
      UPDATE jobs
      SET status = CASE WHEN status = 'evicting' THEN 'evicted' ELSE 'pending' END::job_status,
        borrowing = false, failures = failures + $3::boolean::int, reason = $4, message = $5, ending = NULL, leaves_by = NULL,
        asked_grace_seconds = NULL,
        failed_starts = coalesce($7, failed_starts), node_failures = coalesce($8, node_failures),
        not_before = CASE WHEN $6::float8 > 0 THEN now() + make_interval(secs => $6) END
      WHERE id = $1 AND attempt = $2 AND job_is_live(status)
      RETURNING id, attempt
    ), settled AS (${settleVictims("returned", "Evicted")}
    )
    SELECT id FROM returned
    `,
    [
      retry.id,
      retry.attempt,
      retry.countsAsFailure,
      retry.reason,
      retry.message,
      retry.notBeforeSeconds,
      retry.failedStarts,
      retry.nodeFailures,
    ],
  );
  return rows.length === 1;
}

/** What the API server says of a pod that a ResourceQuota has no room for. */
const quotaWords = "exceeded quota";

/**
 * Ends the back-off of jobs of the namespace whose pods a ResourceQuota refused, of at most `limit`: those whose back-off
 * ends first. One that is refused again goes to the end of this line. Returns their pools.
 */
export async function endQuotaPauses(
  db: Queryable,
  namespace: string,
  limit: number,
): Promise<string[]> {
  const rows = await run<{ pool: string }>(
    db,
    `
    WITH paused AS MATERIALIZED (
      SELECT job.id
      FROM jobs AS job
      JOIN projects AS project ON project.id = job.active_project_id
      WHERE project.namespace = $1 AND job.not_before > now() AND job_is_waiting(job.status) AND NOT job.suspended
        AND job.reason = 'PodsRejected' AND strpos(job.message, $2) > 0
      ORDER BY job.not_before, job.id
      LIMIT $3
      FOR UPDATE OF job SKIP LOCKED
    )
    UPDATE jobs SET not_before = NULL FROM paused WHERE jobs.id = paused.id
    RETURNING jobs.pool
    `,
    [namespace, quotaWords, limit],
  );
  return rows.map(({ pool }) => pool);
}

/** Records pods that succeeded: they count even if they are deleted before their gang has ended. */
export async function recordCompletions(
  db: Queryable,
  job: Fence,
  podIndices: readonly number[],
): Promise<void> {
  await run(
    db,
    `
    INSERT INTO pod_completions (job_id, attempt, pod_index)
    SELECT job.id, job.attempt, pod_index
    FROM jobs AS job, unnest($3::int[]) AS pod_index
    WHERE job.id = $1 AND job.attempt = $2
    ON CONFLICT ON CONSTRAINT pod_completions_pkey DO NOTHING
    `,
    [job.id, job.attempt, podIndices],
  );
}

export interface Cancellation {
  readonly id: string;
  readonly reason: string;
  readonly message: string;
}

/** Ends a job at its user's request, in any state, and frees its capacity. True if it had not ended yet. */
export async function cancelJob(db: Queryable, cancellation: Cancellation): Promise<boolean> {
  const rows = await run(
    db,
    `
    WITH cancelled AS (
      UPDATE jobs
      SET status = 'cancelled', finished_at = now(), borrowing = false, reason = $2, message = $3
      WHERE id = $1 AND active_project_id IS NOT NULL
      RETURNING id, attempt
    ), given_back AS (
      DELETE FROM reservations USING cancelled WHERE reservations.job_id = cancelled.id
    ), settled AS (
      UPDATE preemptions
      SET settled_at = now(), outcome = 'Ended'
      FROM cancelled
      WHERE preemptor_job_id = cancelled.id AND outcome IS NULL
    ), left_early AS (${settleVictims("cancelled", "Cancelled")}
    )
    SELECT id FROM cancelled
    `,
    [cancellation.id, cancellation.reason, cancellation.message],
  );
  return rows.length === 1;
}

/** Deletes at most `limit` jobs that ended before an instant; their events stay. Returns how many. */
export async function forgetJobs(
  db: Queryable,
  endedBefore: Temporal.Instant,
  limit: number,
): Promise<number> {
  const rows = await run(
    db,
    `
    DELETE FROM jobs
    WHERE id IN (SELECT id FROM jobs WHERE finished_at < $1 LIMIT $2)
    RETURNING id
    `,
    [endedBefore.toString(), limit],
  );
  return rows.length;
}
