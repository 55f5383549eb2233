/** The jobs of namespaces that have pods or are to get some, in all pools: they count under ResourceQuotas. */
import type { PodUsage } from "../../domain/pod-usage.ts";
import { run } from "../client/connection-pool.ts";
import type { Queryable } from "../client/types.ts";
import { podUsageOf, type PodUsageColumn } from "../jobs/pod-usage.ts";

export interface OccupyingJob {
  readonly id: string;
  readonly namespace: string;
  readonly name: string;
  readonly attempt: number;
  readonly parallelism: number;
  /** Reserved: the attempt that gets pods has not begun. Starting: missing pods of this attempt are made. */
  readonly stage: "reserved" | "starting" | "other";
  readonly usage: PodUsage;
}

interface Row extends Omit<OccupyingJob, "usage"> {
  readonly pod_usage: PodUsageColumn;
}

export async function readOccupyingJobs(
  db: Queryable,
  namespaces: readonly string[],
): Promise<OccupyingJob[]> {
  const rows = await run<Row>(
    db,
    `
    SELECT job.id, job.namespace, job.name, job.attempt, job.parallelism,
      CASE
        WHEN job.status = 'reserved' THEN 'reserved'
        WHEN job.status = 'starting' AND job.ending IS NULL THEN 'starting'
        ELSE 'other'
      END AS stage,
      coalesce(spec.pod_usage, '{}') AS pod_usage
    FROM jobs AS job
    LEFT JOIN job_specs AS spec ON spec.job_id = job.id
    WHERE job.status IN ('reserved', 'starting', 'running', 'evicting') AND job.namespace = ANY ($1::text[])
    `,
    [namespaces],
  );
  return rows.map(({ pod_usage: usage, ...job }) => ({ ...job, usage: podUsageOf(usage) }));
}
