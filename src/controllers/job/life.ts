/** One step in the life of a queued job: compares its row with its pods, and brings the two together. */
import { avoidNodes } from "../../db/avoided-nodes.ts";
import {
  beginEnding,
  endJob,
  markRunning,
  recordCompletions,
  retryJob,
} from "../../db/job-progress.ts";
import type { AttemptEnd } from "../../db/job-progress.ts";
import { releaseHolds } from "../../db/holds.ts";
import { backoffSeconds } from "../../runtime/backoff.ts";
import { again, done } from "../../runtime/reconcile.ts";
import type { ReconcileResult } from "../../runtime/reconcile.ts";
import { hasEnded, jobs } from "../../resources/types.ts";
import type { Pod, Project } from "../../resources/types.ts";
import { ensureConfigMap } from "../config-maps.ts";
import { notify, writeStatus } from "../status.ts";
import { evict, type Progress } from "./eviction.ts";
import {
  createMissingPods,
  holdingNow,
  isOnLostNode,
  nodesByIndex,
  stopPods,
  unseenPodsSeconds,
} from "./pods.ts";
import { isLiveStatus } from "./standing.ts";
import { noRemarks, statusOf } from "./status.ts";
import {
  allAre,
  asItIs,
  hasSucceeded,
  isLost,
  keyOfJob,
  ofAttempt,
  sizeOf,
  type Step,
} from "./step.ts";
import { refusalOfPod } from "./template-refusal.ts";
import { longestLagSeconds } from "./unseen-pods.ts";

const retryBackoff = { baseSeconds: 10, maxSeconds: 360 };
const projectRecheckSeconds = 5;
/** A quota that is exhausted may have room again. */
const refusedRetrySeconds = 30;

const elapsedSeconds = ({ context, view }: Step): number =>
  view.startedAt === undefined ? 0 : context.clock.now().since(view.startedAt).total("seconds");

/** Pods that should not be there: of former attempts, or of a job that does not run. */
export async function stopStrays(step: Step): Promise<number> {
  const isLive = isLiveStatus(step.view.status);
  const strays = isLive ? step.pods.filter((pod) => pod.attempt !== step.view.attempt) : step.pods;
  return stopPods(step.context, strays, step.signal);
}

/** Whether no pod of the job holds a node any more, on the word of the API server. */
async function allHaveLeft(step: Step): Promise<boolean> {
  const { context, view, signal } = step;
  const holding = await holdingNow(context, keyOfJob(step), view.id, signal);
  await stopPods(context, holding, signal);
  return holding.length === 0;
}

/**
 * The Job says which attempt it is and where, before its pods are made: should the database lose its content, they are
 * found by it.
 */
async function announce({ context, job, view, pods }: Step): Promise<void> {
  if (job.status.attempt === view.attempt && job.status.queuedAt !== undefined) return;
  const status = statusOf(job, view, pods, noRemarks, context.clock.now());
  await writeStatus(context, jobs, job, status);
}

/** The gang ends whole: the other pods are stopped first, and only then the row says so. */
async function endGang(step: Step, end: AttemptEnd): Promise<ReconcileResult> {
  const { context, view } = step;
  const fence = { id: view.id, attempt: view.attempt };
  const pods = ofAttempt(step);
  if (view.ending === undefined && pods.some((pod) => !hasEnded(pod)))
    await beginEnding(context.db, fence, end);
  if ((await stopPods(context, pods, step.signal)) > 0) return done();
  if (!(await allHaveLeft(step))) return again(unseenPodsSeconds);
  context.checkpoint("before-end");
  const { reason, message, counts } = end;
  const failures = view.failures + (counts ? 1 : 0);
  const isOver = counts && failures > view.backoffLimit;
  const isWritten = isOver
    ? await endJob(context.db, { ...fence, outcome: "failed", reason, message })
    : await retryJob(context.db, {
        ...fence,
        countsAsFailure: counts,
        reason,
        message,
        notBeforeSeconds: counts ? backoffSeconds(failures, retryBackoff) : (end.delaySeconds ?? 0),
      });
  if (isWritten) {
    notify(context, jobs, step.job, {
      type: "Warning",
      reason,
      action: "EndAttempt",
      note: message,
    });
    context.counters.attemptEnded(view.pool, isOver ? "failed" : "retried");
  }
  context.scheduler.wake(view.pool);
  return again(0);
}

async function succeed(step: Step): Promise<ReconcileResult> {
  const { context, view } = step;
  context.checkpoint("before-success");
  const isWritten = await endJob(context.db, {
    id: view.id,
    attempt: view.attempt,
    outcome: "succeeded",
    reason: "Completed",
    message: "all pods ended well",
  });
  if (isWritten) context.counters.attemptEnded(view.pool, "succeeded");
  context.scheduler.wake(view.pool);
  return again(0);
}

/** A pod that failed by itself: one that is deleted or disrupted may fail on its way out, and is lost. */
function failedPod(step: Step): Pod | undefined {
  return ofAttempt(step).find(
    (pod) => pod.phase === "Failed" && !pod.deleting && pod.disruption === "",
  );
}

/** It is still there, and its node is not. */
const isStranded = ({ context }: Step, pod: Pod): boolean =>
  !hasEnded(pod) && isOnLostNode(context, pod);

/** The gang has lost pods through no fault of its own. */
function endLost(step: Step): Promise<ReconcileResult> {
  const size = step.job.spec.parallelism;
  const pods = ofAttempt(step);
  const counts = false;
  const stranded = pods.find((pod) => isStranded(step, pod));
  if (stranded !== undefined) {
    const message = `node ${stranded.nodeName} left the cluster with pods of the gang`;
    return endGang(step, { reason: "NodeLost", message, counts });
  }
  const count = size - sizeOf(step, (pod) => !isLost(pod));
  const disrupted = pods.find((pod) => pod.disruption !== "");
  if (disrupted === undefined) {
    const message = `${count} of ${size} pods were deleted`;
    return endGang(step, { reason: "PodsLost", message, counts });
  }
  const message = `${count} of ${size} pods were ended by the cluster: ${disrupted.disruption}`;
  return endGang(step, { reason: "PodDisrupted", message, counts });
}

const suspended: AttemptEnd = {
  reason: "Suspended",
  message: "spec.suspend is true",
  counts: false,
};

const endFailed = (step: Step, pod: Pod): Promise<ReconcileResult> =>
  endGang(step, {
    reason: "PodFailed",
    message: `pod ${pod.name}: ${pod.failure}`,
    counts: true,
  });

/** A pod that ended well is noted while its gang runs on: it counts once, whatever becomes of the object. */
async function noteCompletions(step: Step): Promise<void> {
  const { context, view } = step;
  const fresh = ofAttempt(step)
    .filter((pod) => hasSucceeded(pod) && !view.completed.includes(pod.index))
    .map(({ index }) => index);
  if (fresh.length === 0) return;
  await recordCompletions(context.db, { id: view.id, attempt: view.attempt }, fresh);
}

/** Where pods exist and do not run, the node is not tried again for a while. Noted before the pods are stopped. */
async function avoidSlowNodes({ context, view, ...step }: Step): Promise<void> {
  const slow = step.pods.filter(
    ({ attempt, phase }) => attempt === view.attempt && phase === "Pending",
  );
  const nodes = new Set(slow.flatMap(({ index }) => nodesByIndex(view)[index] ?? []));
  if (nodes.size === 0) return;
  await avoidNodes(context.db, view.id, [...nodes], context.settings.avoidNodeSeconds);
}

/** Returns the seconds after which to look again, should the cache never show what was made. */
async function makePods(step: Step, project: Project): Promise<number> {
  const { context, job, view, signal } = step;
  const { configHash: hash } = view;
  if (hash !== undefined) {
    context.checkpoint("before-config-map");
    const { namespace } = job;
    await ensureConfigMap(context, { namespace, project: project.name, hash }, signal);
    context.checkpoint("config-map-created");
  }
  const existing = ofAttempt(step);
  const pods = await createMissingPods(context, job, project, view, existing, signal);
  if (pods.asked > 0) context.checkpoint("pods-created");
  return pods.unseen > 0 ? longestLagSeconds : Number.POSITIVE_INFINITY;
}

async function whileStarting(step: Step): Promise<ReconcileResult> {
  const { context, view } = step;
  if (view.suspended) return endGang(step, suspended);
  const failed = failedPod(step);
  if (failed) return endFailed(step, failed);
  if (allAre(step, hasSucceeded)) return succeed(step);
  const isDisrupted = (pod: Pod): boolean =>
    (isLost(pod) && pod.disruption !== "") || isStranded(step, pod);
  if (ofAttempt(step).some(isDisrupted)) return endLost(step);
  await noteCompletions(step);
  if (allAre(step, (pod) => pod.phase === "Running" || hasSucceeded(pod))) {
    context.checkpoint("before-running");
    await markRunning(context.db, { id: view.id, attempt: view.attempt });
    return again(0);
  }
  const left = context.settings.startDeadlineSeconds - elapsedSeconds(step);
  if (left <= 0) {
    await avoidSlowNodes(step);
    const message = `not all pods ran within ${context.settings.startDeadlineSeconds} s; placed anew`;
    return endGang(step, { reason: "StartDeadlineExceeded", message, counts: false });
  }
  if (step.project === undefined) return again(projectRecheckSeconds);
  await announce(step);
  try {
    const lookAfterSeconds = await makePods(step, step.project);
    return again(Math.min(left, lookAfterSeconds));
  } catch (error) {
    const refusal = refusalOfPod(error);
    if (refusal === undefined) throw error;
    const { message, passes } = refusal;
    const delaySeconds = passes ? refusedRetrySeconds : 0;
    return endGang(step, { reason: "PodsRefused", message, counts: !passes, delaySeconds });
  }
}

const isMissingPods = (step: Step): boolean =>
  !allAre(step, (pod) => !isLost(pod) && !isStranded(step, pod));

/**
 * A gang that misses pods is looked at as the API server has it: the cache of an operator that works beside another one,
 * or has just taken over, may not know them yet.
 */
async function whileRunning(cached: Step): Promise<ReconcileResult> {
  const step = isMissingPods(cached) ? await asItIs(cached) : cached;
  const { view } = step;
  if (view.suspended) return endGang(step, suspended);
  const failed = failedPod(step);
  if (failed) return endFailed(step, failed);
  if (allAre(step, hasSucceeded)) return succeed(step);
  if (isMissingPods(step)) return endLost(step);
  await noteCompletions(step);
  if (view.maxRuntimeSeconds === undefined) return done();
  const left = view.maxRuntimeSeconds - elapsedSeconds(step);
  if (left > 0) return again(left);
  return endGang(step, {
    reason: "MaxRuntimeExceeded",
    message: `ran longer than spec.maxRuntime, ${view.maxRuntimeSeconds} s`,
    counts: true,
  });
}

/** What is kept for a job is given back when its user holds it back: it would not start when its victims have left. */
async function whileHeld({ context, view }: Step): Promise<ReconcileResult> {
  if (!view.suspended) return done();
  const { reason, message } = suspended;
  const fence = { id: view.id, attempt: view.attempt };
  await releaseHolds(context.db, [{ ...fence, reason, message }]);
  context.scheduler.wake(view.pool);
  return again(0);
}

async function whileNotEvicting(step: Step): Promise<ReconcileResult> {
  const { status, ending } = step.view;
  switch (status) {
    case "held":
      return whileHeld(step);
    case "starting":
      return ending ? endGang(step, ending) : whileStarting(step);
    case "running":
      return ending ? endGang(step, ending) : whileRunning(step);
    default:
      return done();
  }
}

export async function advance(step: Step): Promise<Progress> {
  await stopStrays(step);
  if (step.view.status !== "evicting") return { result: await whileNotEvicting(step) };
  if (allAre(step, hasSucceeded)) return { result: await succeed(step) };
  return evict(step);
}
