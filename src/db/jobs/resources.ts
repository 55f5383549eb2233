/** What one pod of a job requests, as its row and the rows of its other resources say. */
import type { Amounts, Resources } from "../../domain/scheduling/snapshot.ts";

/** Selected by `perPodColumns`. */
export interface PerPodRow {
  readonly pod_gpus: number;
  readonly pod_cpu_millis: number;
  readonly pod_memory_bytes: number;
  /** In order of the names; null: none. */
  readonly by_name: Amounts | null;
}

/** Columns of a select list, for the table or alias `job`. */
export const perPodColumns = (job: string): string => `
      ${job}.pod_gpus, ${job}.pod_cpu_millis, ${job}.pod_memory_bytes,
      (
        SELECT json_object_agg(resource, amount_per_pod ORDER BY resource)
        FROM job_resources
        WHERE job_resources.job_id = ${job}.id
      ) AS by_name`;

export const perPodOf = (row: PerPodRow): Resources => ({
  gpus: row.pod_gpus,
  cpuMillis: row.pod_cpu_millis,
  memoryBytes: row.pod_memory_bytes,
  pods: 1,
  ...(row.by_name !== null && { byName: row.by_name }),
});
