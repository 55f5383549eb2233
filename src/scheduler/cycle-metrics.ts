/** Metrics of the scheduling cycles. */
import { durationBuckets } from "../runtime/metrics.ts";
import type { Metrics } from "../runtime/metrics.ts";
import type { CycleObservation } from "./cycle.ts";

/** Seconds from 1 s to 3 days: jobs wait minutes on a quiet cluster and days on a busy one. */
const waitBuckets = [1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 24 * 3600, 72 * 3600];

export function cycleObserver(metrics: Metrics): (observation: CycleObservation) => void {
  const cycleSeconds = metrics.histogram({
    name: "scheduling_cycle_duration_seconds",
    help: "Duration of scheduling cycles, from claim to commit",
    labelNames: ["pool"],
    buckets: durationBuckets,
  });
  const decisionSeconds = metrics.histogram({
    name: "scheduling_decision_duration_seconds",
    help: "Duration of scheduling decisions, including the search for victims",
    labelNames: ["pool"],
    buckets: durationBuckets,
  });
  const waitSeconds = metrics.histogram({
    name: "job_wait_seconds",
    help: "Time from submission to first admission, of jobs admitted without preemption",
    labelNames: ["pool"],
    buckets: waitBuckets,
  });
  const verdicts = metrics.counter({
    name: "scheduling_verdicts_total",
    help: "Verdicts of scheduling cycles: admit, activate, release, preempt, wait",
    labelNames: ["pool", "verdict"],
  });
  const admissions = metrics.counter({
    name: "admissions_total",
    help: "Admitted gangs, by mode (entitled, borrowed)",
    labelNames: ["pool", "mode"],
  });
  const preemptions = metrics.counter({
    name: "preemptions_total",
    help: "Preemptions, by rule",
    labelNames: ["pool", "rule"],
  });
  const victims = metrics.counter({
    name: "preemption_victims_total",
    help: "Gangs evicted by preemptions, by rule",
    labelNames: ["pool", "rule"],
  });
  return ({ pool, ...seen }) => {
    cycleSeconds.observe({ pool }, seen.seconds);
    decisionSeconds.observe({ pool }, seen.decisionSeconds);
    for (const [verdict, count] of Object.entries(seen.verdicts)) {
      verdicts.add({ pool, verdict }, count);
    }
    for (const { borrowing, firstWaitSeconds } of seen.admitted) {
      admissions.add({ pool, mode: borrowing ? "borrowed" : "entitled" });
      if (firstWaitSeconds !== undefined) waitSeconds.observe({ pool }, firstWaitSeconds);
    }
    for (const rules of seen.preempted) {
      preemptions.add({ pool, rule: rules[0] ?? "none" });
      for (const rule of rules) victims.add({ pool, rule });
    }
  };
}
