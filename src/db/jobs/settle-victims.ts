/** How victims leave the preemption log: part of whatever statement changes their jobs. */

/** The rows of `jobs`, a part that returns id and attempt, are victims no longer: their entry gets its outcome. */
export const settleVictims = (
  jobs: string,
  outcome: "Evicted" | "Finished" | "Cancelled" | "EvictionCancelled",
): string => `
      UPDATE preemption_victims
      SET evicted_at = now(), outcome = '${outcome}'
      FROM ${jobs}
      WHERE victim_job_id = ${jobs}.id AND victim_attempt = ${jobs}.attempt AND preemption_victims.outcome IS NULL`;
