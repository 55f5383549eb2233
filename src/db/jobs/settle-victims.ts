/** Records the outcome of victims in the preemption log, as part of the statement that changes their jobs. */

/** SQL that settles the log entries of victims. `jobs` is a CTE that returns id and attempt. */
export const settleVictims = (
  jobs: string,
  outcome: "Evicted" | "Finished" | "Cancelled" | "EvictionCancelled",
): string => `
      UPDATE preemption_victims
      SET evicted_at = now(), outcome = '${outcome}'
      FROM ${jobs}
      WHERE victim_job_id = ${jobs}.id AND victim_attempt = ${jobs}.attempt AND preemption_victims.outcome IS NULL`;
