/** Where jobs stood before the database forgot it, and how it is told. */
import { storableJson } from "../../domain/text.ts";
import type { Fence } from "./admit.ts";
import { run } from "../client/connection-pool.ts";
import { prepared } from "../client/prepared.ts";
import type { Queryable } from "../client/types.ts";

/** Where a job stood before the database forgot it. */
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
  /** Where its pods are; for live jobs the whole gang, for others none. */
  readonly placements: readonly { readonly node: string; readonly pods: number }[];
  readonly startedAt?: Temporal.Instant | undefined;
  readonly finishedAt?: Temporal.Instant | undefined;
}

export const placementOf = ({ placements }: Pick<ObservedState, "placements">): string | null =>
  placements.length === 0 ? null : storableJson(placements);

export interface Restoration extends Omit<ObservedState, "failures"> {
  /** Since when it stands so, for accounting. */
  readonly since: Temporal.Instant;
  /** CamelCase */
  readonly reason?: string | undefined;
  readonly message?: string | undefined;
}

/**
 * Puts a job where the cluster has it, after the database was brought back to an earlier state: attempts count on from
 * there, and a live one gets its allocations. A live job is put back into the queue before it is live in a later attempt.
 * True when it was where the fence says. Throws RotaError: NodeNotFound, NodeOvercommitted, AllocationInvalid, and
 * JobTransitionRejected for a job that has ended or would go back.
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

/** Within an attempt a job goes from live to waiting or ended, and never back. */
export type JobStage = "live" | "waiting" | "ended";

export interface KnownJob {
  readonly id: string;
  readonly attempt: number;
  readonly stage: JobStage;
}

/** Which of these jobs the database does not know, or knows as they were before. */
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
