/** Counters of what becomes of jobs and evictions. */
import type { Metrics } from "../../runtime/metrics.ts";

export type JobOutcome = "succeeded" | "failed" | "cancelled" | "retried";
/** What the API server answered to an eviction; `refused` is a PodDisruptionBudget's word. */
export type EvictionOutcome = "accepted" | "refused" | "gone";

export interface JobCounters {
  attemptEnded(pool: string, outcome: JobOutcome): void;
  evictionAsked(outcome: EvictionOutcome): void;
}

export function createJobCounters(metrics: Metrics): JobCounters {
  const attempts = metrics.counter({
    name: "job_attempts_ended_total",
    help: "Ended attempts, by outcome (succeeded, failed, cancelled, retried)",
    labelNames: ["pool", "outcome"],
  });
  const evictions = metrics.counter({
    name: "evictions_total",
    help: "Pod evictions requested from the API server, by outcome (accepted, refused by a PodDisruptionBudget, gone)",
    labelNames: ["outcome"],
  });
  return {
    attemptEnded: (pool, outcome) => attempts.add({ pool, outcome }),
    evictionAsked: (outcome) => evictions.add({ outcome }),
  };
}
