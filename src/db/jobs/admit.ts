/** Jobs that start at once: transition, allocations and history in one statement. */
import { run } from "../client/connection-pool.ts";
import { prepared } from "../client/prepared.ts";
import type { Queryable } from "../client/types.ts";

/** A job and the attempt it was read with. A transition does nothing if the job has changed its attempt since. */
export interface Fence {
  readonly id: string;
  readonly attempt: number;
}

export interface Placed {
  readonly node: string;
  readonly pods: number;
}

export interface Admission extends Fence {
  readonly borrowing: boolean;
  readonly placements: readonly Placed[];
}

/**
 * Placements of many jobs, one JSON value each, for jsonb_to_recordset. A join by job id would be a nested loop over
 * all placements for each job.
 */
export const placementColumn = (
  jobs: readonly { readonly placements: readonly Placed[] }[],
): string[] => jobs.map(({ placements }) => JSON.stringify(placements));

/**
 * Starts waiting jobs on their nodes, in the given order. admitted_at defines the entitlement rank, so it uses
 * clock_timestamp() plus 1 us per row: now() could precede an admission by another operator. Returns the jobs that were
 * admitted, with their new attempt; jobs that have changed since are left out. Throws RotaError: NodeOvercommitted,
 * NodeNotFound, AllocationInvalid; then none is admitted.
 */
export function admitJobs(db: Queryable, admissions: readonly Admission[]): Promise<Fence[]> {
  return run<Fence>(
    db,
    prepared("admit_jobs")`
    UPDATE jobs
    SET status = 'starting', attempt = jobs.attempt + 1, placement = wanted.placement, borrowing = wanted.borrowing,
      started_at = now(), admitted_at = (SELECT clock_timestamp()) + wanted.place * interval '1 microsecond',
      not_before = NULL, reason = 'Admitted', message = NULL
    FROM unnest($1::uuid[], $2::int[], $3::boolean[], $4::jsonb[]) WITH ORDINALITY
      AS wanted (id, attempt, borrowing, placement, place)
    WHERE jobs.id = wanted.id AND jobs.attempt = wanted.attempt
      AND job_is_waiting(jobs.status) AND NOT jobs.suspended
    RETURNING jobs.id, jobs.attempt
    `,
    [
      admissions.map((admission) => admission.id),
      admissions.map((admission) => admission.attempt),
      admissions.map((admission) => admission.borrowing),
      placementColumn(admissions),
    ],
  );
}
