/** What a job's pods request besides GPUs, CPU and memory. */

/** A scalar sub-select: the amounts per pod by name, as an object in order of the names; null: none. */
export const requestsByName = (jobId: string): string => `(
      SELECT json_object_agg(resource, amount_per_pod ORDER BY resource)
      FROM job_resources
      WHERE job_resources.job_id = ${jobId}
    )`;
