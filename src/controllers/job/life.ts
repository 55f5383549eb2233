/** One step in the life of a queued job: compares its row with its pods, and brings the two together. */
import type { JobReason } from "../../api/reasons.ts";
import type { JobView } from "../../db/job-view.ts";
import { endJob, markRunning, retryJob } from "../../db/job-progress.ts";
import { markEvicted } from "../../db/preemptions.ts";
import { readCommitContent } from "../../db/configs.ts";
import { configFileName, configMapName, labels } from "../../api/names.ts";
import { backoffSeconds } from "../../runtime/backoff.ts";
import { again, done } from "../../runtime/controller.ts";
import type { ReconcileResult } from "../../runtime/controller.ts";
import { configMaps, jobs } from "../../resources/types.ts";
import type { Job, Pod, Project } from "../../resources/types.ts";
import { isAlreadyExists } from "../../kube/errors.ts";
import type { Context } from "../context.ts";
import { notify } from "../status.ts";
import { createMissingPods, evictPods, stopPods } from "./pods.ts";
import { refusalOfPod } from "./template-refusal.ts";

export interface Step {
  readonly context: Context;
  readonly job: Job;
  /** Absent when the namespace's project is gone, or not known yet: then nothing is started. */
  readonly project: Project | undefined;
  readonly view: JobView;
  /** All pods of the job, of any attempt. */
  readonly pods: readonly Pod[];
  readonly signal: AbortSignal;
}

const retryBackoff = { baseSeconds: 10, maxSeconds: 360 };
const evictionRetrySeconds = 5;
const projectRecheckSeconds = 5;
/** A quota that is exhausted may have room again. */
const refusedRetrySeconds = 30;

const ofAttempt = ({ pods, view }: Step): Pod[] =>
  pods.filter((pod) => pod.attempt === view.attempt);

const elapsedSeconds = ({ context, view }: Step): number =>
  view.startedAt === undefined ? 0 : context.clock.now().since(view.startedAt).total("seconds");

/** Pods that should not be there: of former attempts, or of a job that does not run. */
export async function stopStrays(step: Step): Promise<number> {
  const isLive = ["starting", "running", "evicting"].includes(step.view.status);
  const strays = isLive ? step.pods.filter((pod) => pod.attempt !== step.view.attempt) : step.pods;
  return stopPods(step.context, strays, step.signal);
}

async function ensureConfigMap(
  { context, job, view, signal }: Step,
  project: Project,
): Promise<void> {
  if (view.configHash === undefined) return;
  const content = await readCommitContent(context.db, view.configHash);
  const manifest = {
    metadata: {
      name: configMapName(view.configHash),
      namespace: job.namespace,
      labels: { [labels.project]: project.name, [labels.managedBy]: "rota" },
    },
    immutable: true,
    data: { [configFileName]: content },
  };
  await context.kube.create(configMaps, manifest, { signal }).catch((error: unknown) => {
    if (!isAlreadyExists(error)) throw error;
  });
}

/** The gang ends whole: the other pods are stopped first, and only then the row says so. */
async function endGang(
  step: Step,
  reason: JobReason,
  message: string,
  counts: boolean,
  delaySeconds = 0,
): Promise<ReconcileResult> {
  const { context, view } = step;
  if ((await stopPods(context, ofAttempt(step), step.signal)) > 0) return done();
  notify(context, jobs, step.job, { type: "Warning", reason, action: "EndAttempt", note: message });
  const failures = view.failures + (counts ? 1 : 0);
  const fence = { id: view.id, attempt: view.attempt };
  if (counts && failures > view.backoffLimit) {
    await endJob(context.db, { ...fence, outcome: "failed", reason, message });
    context.counters.attemptEnded(view.pool, "failed");
  } else {
    await retryJob(context.db, {
      ...fence,
      countsAsFailure: counts,
      reason,
      message,
      notBeforeSeconds: counts ? backoffSeconds(failures, retryBackoff) : delaySeconds,
    });
    context.counters.attemptEnded(view.pool, "retried");
  }
  context.scheduler.wake(view.pool);
  return again(0);
}

async function succeed(step: Step): Promise<ReconcileResult> {
  const { context, view } = step;
  await endJob(context.db, {
    id: view.id,
    attempt: view.attempt,
    outcome: "succeeded",
    reason: "Completed",
    message: "all pods ended well",
  });
  context.counters.attemptEnded(view.pool, "succeeded");
  context.scheduler.wake(view.pool);
  return again(0);
}

/** A pod that failed by itself: one that is deleted or disrupted may fail on its way out, and is lost. */
function failedPod(step: Step): Pod | undefined {
  return ofAttempt(step).find(
    (pod) => pod.phase === "Failed" && !pod.deleting && pod.disruption === "",
  );
}

const isLost = (pod: Pod): boolean =>
  pod.phase !== "Succeeded" && (pod.deleting || pod.phase === "Failed");

/** The gang has lost pods through no fault of its own. */
function endLost(step: Step): Promise<ReconcileResult> {
  const size = step.job.spec.parallelism;
  const pods = ofAttempt(step);
  const count = size - pods.filter((pod) => !isLost(pod)).length;
  const disrupted = pods.find((pod) => pod.disruption !== "");
  if (disrupted === undefined)
    return endGang(step, "PodsLost", `${count} of ${size} pods were deleted`, false);
  const message = `${count} of ${size} pods were ended by the cluster: ${disrupted.disruption}`;
  return endGang(step, "PodDisrupted", message, false);
}

const allAre = (step: Step, is: (pod: Pod) => boolean): boolean => {
  const pods = ofAttempt(step);
  return pods.length === step.job.spec.parallelism && pods.every(is);
};

async function makePods(step: Step, project: Project): Promise<void> {
  const { context, job, view, signal } = step;
  await ensureConfigMap(step, project);
  const existing = ofAttempt(step);
  const created = await createMissingPods(context, job, project, view, existing, signal);
  if (created > 0) context.checkpoint("pods-created");
}

async function whileStarting(step: Step): Promise<ReconcileResult> {
  const { context, view } = step;
  if (view.suspended) return endGang(step, "Suspended", "spec.suspend is true", false);
  const failed = failedPod(step);
  if (failed) return endGang(step, "PodFailed", `pod ${failed.name}: ${failed.failure}`, true);
  if (allAre(step, (pod) => pod.phase === "Succeeded")) return succeed(step);
  if (ofAttempt(step).some((pod) => isLost(pod) && pod.disruption !== "")) return endLost(step);
  if (allAre(step, (pod) => pod.phase === "Running" || pod.phase === "Succeeded")) {
    await markRunning(context.db, { id: view.id, attempt: view.attempt });
    return again(0);
  }
  const left = context.settings.startDeadlineSeconds - elapsedSeconds(step);
  if (left <= 0) {
    const message = `not all pods ran within ${context.settings.startDeadlineSeconds} s; placed anew`;
    return endGang(step, "StartDeadlineExceeded", message, false);
  }
  if (step.project === undefined) return again(projectRecheckSeconds);
  try {
    await makePods(step, step.project);
  } catch (error) {
    const refusal = refusalOfPod(error);
    if (refusal === undefined) throw error;
    const { message, passes } = refusal;
    return endGang(step, "PodsRefused", message, !passes, passes ? refusedRetrySeconds : 0);
  }
  return again(left);
}

async function whileRunning(step: Step): Promise<ReconcileResult> {
  const { view, job } = step;
  if (view.suspended) return endGang(step, "Suspended", "spec.suspend is true", false);
  const failed = failedPod(step);
  if (failed) return endGang(step, "PodFailed", `pod ${failed.name}: ${failed.failure}`, true);
  if (allAre(step, (pod) => pod.phase === "Succeeded")) return succeed(step);
  if (ofAttempt(step).filter((pod) => !isLost(pod)).length < job.spec.parallelism)
    return endLost(step);
  if (view.maxRuntimeSeconds === undefined) return done();
  const left = view.maxRuntimeSeconds - elapsedSeconds(step);
  if (left > 0) return again(left);
  return endGang(
    step,
    "MaxRuntimeExceeded",
    `ran longer than spec.maxRuntime, ${view.maxRuntimeSeconds} s`,
    true,
  );
}

async function whileEvicting(step: Step): Promise<ReconcileResult> {
  const { context, view } = step;
  if (allAre(step, (pod) => pod.phase === "Succeeded")) return succeed(step);
  context.checkpoint("before-eviction");
  const { holding, refused } = await evictPods(context, ofAttempt(step), step.signal);
  if (refused !== undefined) {
    context.logger.warn("a disruption budget holds an eviction up", { job: view.name, refused });
    return again(evictionRetrySeconds);
  }
  if (holding > 0) return done();
  await markEvicted(context.db, { id: view.id, attempt: view.attempt });
  const note = view.evictedFor ?? "makes way for another job";
  const reason = view.reason ?? "Preempted";
  notify(context, jobs, step.job, { type: "Warning", reason, action: "Evict", note });
  context.scheduler.wake(view.pool);
  return again(0);
}

export async function advance(step: Step): Promise<ReconcileResult> {
  await stopStrays(step);
  switch (step.view.status) {
    case "starting":
      return whileStarting(step);
    case "running":
      return whileRunning(step);
    case "evicting":
      return whileEvicting(step);
    default:
      return done();
  }
}
