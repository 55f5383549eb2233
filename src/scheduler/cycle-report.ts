/** The report of a cycle for metrics and log. */
import type { Decision, VictimRule } from "../domain/scheduling/decision.ts";
import type { Snapshot } from "../domain/scheduling/snapshot.ts";
import type { Logger } from "../runtime/logger.ts";
import { durationBuckets } from "../runtime/metrics.ts";
import type { Metrics } from "../runtime/metrics.ts";
import type { Candidate } from "./eviction-probe.ts";
import type { Round } from "./wait-reasons/publisher.ts";
import type { WindowsReport } from "./windows/enforce.ts";

/** What a cycle read, decided and wrote. */
export interface CycleResult {
  readonly snapshot: Snapshot;
  readonly decision: Decision;
  readonly decisionSeconds: number;
  readonly windows: WindowsReport;
  /** Ids of jobs whose verdict was written. */
  readonly changedIds: readonly string[];
  /** Jobs (namespace/name) whose row changed. */
  readonly changedKeys: readonly string[];
  /** Victims that need a dry run first; the verdicts that depend on them were not written. */
  readonly toProbe: readonly Candidate[];
  readonly progressed: boolean;
  readonly round: Round;
  readonly nextInstantSeconds: number;
}

/** Figures of a cycle. */
export interface CycleObservation {
  readonly pool: string;
  readonly seconds: number;
  readonly decisionSeconds: number;
  readonly looked: number;
  readonly verdicts: Readonly<Record<string, number>>;
  /** Admissions that were written; `firstWaitSeconds` is set for jobs that never ran before. */
  readonly admitted: readonly {
    readonly borrowing: boolean;
    readonly firstWaitSeconds: number | undefined;
  }[];
  /** Preemptions that were written, as the rules of their victims. */
  readonly preempted: readonly (readonly VictimRule[])[];
}

/** @param seconds duration of the whole cycle */
export function observationOf(result: CycleResult, seconds: number): CycleObservation {
  const { pool, queue, nowSeconds } = result.snapshot;
  const { verdicts } = result.decision;
  const counts: Record<string, number> = {};
  for (const { kind } of verdicts) counts[kind] = (counts[kind] ?? 0) + 1;
  const changed = new Set(result.changedIds);
  const neverRan = new Map(
    queue.filter(({ attempt }) => attempt === 0).map((job) => [job.id, job.queuedAtSeconds]),
  );
  const admitted = verdicts.flatMap((verdict) => {
    if (verdict.kind !== "admit" && verdict.kind !== "activate") return [];
    if (!changed.has(verdict.jobId)) return [];
    const since = neverRan.get(verdict.jobId);
    const firstWaitSeconds = since === undefined ? undefined : Math.max(0, nowSeconds - since);
    return [{ borrowing: verdict.borrowing, firstWaitSeconds }];
  });
  const preempted = verdicts.flatMap((verdict) =>
    verdict.kind === "preempt" && changed.has(verdict.jobId)
      ? [verdict.victims.map(({ rule }) => rule)]
      : [],
  );
  const { decisionSeconds } = result;
  return {
    pool,
    seconds,
    decisionSeconds,
    looked: queue.length,
    verdicts: counts,
    admitted,
    preempted,
  };
}

/** Logs what was decided and written: preemptions with their reasons, the rest as numbers. */
export function logResult(logger: Logger, result: CycleResult): void {
  if (!result.progressed) return;
  const { pool } = result.snapshot;
  const changed = new Set(result.changedIds);
  for (const verdict of result.decision.verdicts.filter(({ jobId }) => changed.has(jobId))) {
    if (verdict.kind === "preempt")
      logger.info("preemption decided", { pool, reason: verdict.reason });
    if (verdict.kind === "release")
      logger.info("reservation released", { pool, reason: verdict.message });
  }
  if (result.windows.changedKeys.length > 0) {
    for (const { reason, jobs } of result.windows.evictions)
      logger.info("window closed", { pool, reason, jobs: jobs.map(({ key }) => key) });
  }
  logger.info("jobs changed", { pool, jobs: result.changedKeys });
}

/** Seconds from 1 s to 3 days: jobs wait minutes on a quiet cluster and days on a busy one. */
const waitBuckets = [1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 24 * 3600, 72 * 3600];

/** The metrics of the cycles of all pools. */
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
