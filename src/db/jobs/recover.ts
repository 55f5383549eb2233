/** Restores jobs to their state in the cluster after the database lost it. */
import type { Fence } from "./admit.ts";
import { run } from "../client/connection-pool.ts";
import { prepared } from "../client/prepared.ts";
import type { Queryable } from "../client/types.ts";

/** The state of a job as the cluster shows it. */
export interface ObservedState {
  readonly status:
    | "pending"
    | "evicted"
    | "starting"
    | "running"
    | "evicting"
    | "succeeded"
    | "failed"
    | "cancelled";
  readonly attempt: number;
  readonly failures: number;
  /** The nodes of its pods: the whole gang for a live job, none otherwise. */
  readonly placements: readonly { readonly node: string; readonly pods: number }[];
  readonly startedAt?: Temporal.Instant | undefined;
  readonly finishedAt?: Temporal.Instant | undefined;
}

/** JSON for jsonb_to_recordset; null without placements. */
export const placementOf = ({ placements }: Pick<ObservedState, "placements">): string | null =>
  placements.length === 0 ? null : JSON.stringify(placements);

export interface Restoration extends Omit<ObservedState, "failures"> {
  /** Start of this state, for accounting. */
  readonly since: Temporal.Instant;
  /** CamelCase */
  readonly reason?: string | undefined;
  readonly message?: string | undefined;
}

/**
 * Moves a job to its state in the cluster, after the database was restored to an earlier state. Attempts continue from
 * there, and a live job gets its allocations. A live job goes back to the queue before it is live in a later attempt.
 * True if the job was in the state of the fence. Throws RotaError: NodeNotFound, NodeOvercommitted, AllocationInvalid,
 * and JobTransitionRejected if the job has ended or the transition would go backwards.
 */
export async function restoreJob(
  db: Queryable,
  known: Fence & { readonly status: string },
  restored: Restoration,
): Promise<boolean> {
  const [row] = await run<{ is_restored: boolean }>(
    db,
    "SELECT restore_job($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) AS is_restored",
    [
      known.id,
      known.status,
      known.attempt,
      restored.status,
      restored.attempt,
      placementOf(restored),
      restored.startedAt?.toString() ?? null,
      restored.finishedAt?.toString() ?? null,
      restored.reason ?? null,
      restored.message ?? null,
      restored.since.toString(),
    ],
  );
  return row?.is_restored ?? false;
}

/** Within an attempt a job goes from live to waiting or ended, never back. */
export type JobStage = "live" | "waiting" | "ended";

export interface KnownJob {
  readonly id: string;
  readonly attempt: number;
  readonly stage: JobStage;
}

/** Ids of the jobs that the database does not know, or has in an earlier state. */
export async function laggingJobs(db: Queryable, known: readonly KnownJob[]): Promise<string[]> {
  const rows = await run<{ id: string }>(
    db,
    prepared("lagging_jobs")`
    SELECT known.id
    FROM unnest($1::uuid[], $2::int[], $3::text[]) AS known (id, attempt, stage)
    LEFT JOIN jobs AS job ON job.id = known.id
    WHERE CASE
      WHEN job.id IS NULL THEN known.stage <> 'ended'
      WHEN job.active_project_id IS NULL THEN false
      ELSE known.stage = 'ended' OR known.attempt > job.attempt
        OR known.attempt = job.attempt AND known.stage = 'waiting' AND job_is_live(job.status)
    END
    `,
    [
      known.map(({ id }) => id),
      known.map(({ attempt }) => attempt),
      known.map(({ stage }) => stage),
    ],
  );
  return rows.map(({ id }) => id);
}
