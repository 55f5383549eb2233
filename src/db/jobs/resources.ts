/** What jobs request, as their rows and the rows of their other resources say. */
import type { Amounts, Resources } from "../../domain/scheduling/snapshot.ts";

/** Selected by `perPodColumns`. */
export interface PerPodRow {
  readonly pod_gpus: number;
  readonly pod_other_gpus: number;
  readonly pod_cpu_millis: number;
  readonly pod_memory_bytes: number;
  /** In order of the names; null: none. */
  readonly by_name: Amounts | null;
}

/** Columns of a select list, for the table or alias `job`. */
export const perPodColumns = (job: string): string => `
      ${job}.pod_gpus, ${job}.pod_other_gpus, ${job}.pod_cpu_millis, ${job}.pod_memory_bytes,
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
  ...(row.pod_other_gpus > 0 && { otherGpus: row.pod_other_gpus }),
});

/** What a job's gang requests of a resource type, in its unit of demand; an expression on an alias of jobs. */
export const demandOf = (job: string, type: string): string => `
      CASE ${type}
        WHEN 'GPU' THEN ${job}.required_gpu
        WHEN 'CPU' THEN ${job}.cpu_millis
        WHEN 'memory' THEN ${job}.memory_bytes
        ELSE (
          SELECT amount_per_pod * ${job}.parallelism
          FROM job_resources
          WHERE job_resources.job_id = ${job}.id AND job_resources.resource_type = ${type}
        )
      END`;

/**
 * A query: what jobs request together, by resource type, in rows of the columns `by`, resource_type and amount.
 * @param jobs a table with the columns of jobs
 * @param by columns of it, comma-separated
 */
export const sumsByType = (jobs: string, by: string): string => `
      SELECT ${by}, of_type.resource_type, of_type.amount
      FROM (
        SELECT ${by}, sum(required_gpu) AS gpus, sum(cpu_millis) AS cpu_millis, sum(memory_bytes) AS memory_bytes
        FROM ${jobs}
        GROUP BY ${by}
      ) AS sums
      CROSS JOIN LATERAL (
        VALUES ('GPU', gpus), ('CPU', cpu_millis), ('memory', memory_bytes)
      ) AS of_type (resource_type, amount)
      WHERE of_type.amount > 0
      UNION ALL
      SELECT ${by}, wanted.resource_type, sum(wanted.amount_per_pod * parallelism)
      FROM ${jobs}
      JOIN job_resources AS wanted ON wanted.job_id = id AND wanted.resource_type <> 'GPU'
      GROUP BY ${by}, wanted.resource_type`;
