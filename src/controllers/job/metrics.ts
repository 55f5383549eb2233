/** Counters of ended attempts and of evictions. */
import type { Metrics } from "../../runtime/metrics.ts";

export type JobOutcome = "succeeded" | "failed" | "cancelled" | "retried";
/** The API server's answer to an eviction request; `refused` means by a PodDisruptionBudget. */
export type EvictionOutcome = "accepted" | "refused" | "gone";

export interface JobCounters {
  attemptEnded(pool: string, outcome: JobOutcome): void;
  evictionAsked(outcome: EvictionOutcome): void;
}

/** Registers the counters; call it once. */
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
