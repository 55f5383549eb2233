/** One step of a queued job: compares its row with its pods and changes one or the other. */
import { avoidNodes } from "../../db/jobs/avoided-nodes.ts";
import {
  beginEnding,
  endJob,
  markRunning,
  recordCompletions,
  retryJob,
} from "../../db/jobs/attempts.ts";
import type { AttemptEnd } from "../../db/jobs/attempts.ts";
import { releaseReservations } from "../../db/jobs/reservations.ts";
import { backoffSeconds } from "../../runtime/backoff.ts";
import { RotaError } from "../../errors.ts";
import { requeueAfter, done } from "../../runtime/result.ts";
import type { Settled } from "../../runtime/result.ts";
import { hasEnded, hasFinished, jobs } from "../../resources/types.ts";
import type { Pod, Project } from "../../resources/types.ts";
import { failedStartOf } from "./failed-starts.ts";
import type { FailedStart } from "./failed-starts.ts";
import { ensureConfigMap } from "../config/config-maps.ts";
import { writeStatus } from "../report.ts";
import { rowChanged } from "./context.ts";
import type { JobReconcile } from "./context.ts";
import { evict, type Progress } from "./eviction.ts";
import {
  createMissingPods,
  podsOccupyingNow,
  isOfFormerNode,
  isOnLostNode,
  nodesByIndex,
  stopPods,
  expectationSeconds,
  withFreshPods,
} from "./pods.ts";
import { isLiveStatus } from "./observed-state.ts";
import { nodesText, noRemarks, statusOf } from "./status.ts";
import { allAre, isLost, ofAttempt, sizeOf } from "./gang.ts";
import { releaseVacatedNodes } from "./vacated-nodes.ts";
import { tell } from "./write-status.ts";
import { rejectionOfPod } from "./template-errors.ts";
import { maxLagSeconds } from "./expectations.ts";

const retryBackoff = { baseSeconds: 10, maxSeconds: 360 };
const projectRecheckSeconds = 5;

const elapsedSeconds = ({ context, view }: JobReconcile): number =>
  view.startedAt === undefined ? 0 : context.clock.now().since(view.startedAt).total("seconds");

/** Infinity: wait for the next event. */
const dueIn = (seconds: number): Settled =>
  Number.isFinite(seconds) ? requeueAfter(seconds) : done();

/** Stops pods of former attempts, or all pods if the job is not live. Returns how many still hold their node. */
export async function stopStrays(gang: JobReconcile): Promise<number> {
  const isLive = isLiveStatus(gang.view.status);
  const strays = isLive ? gang.pods.filter((pod) => pod.attempt !== gang.view.attempt) : gang.pods;
  return stopPods(gang, strays);
}

/** Whether no pod of the job holds a node any more; asks the API server and stops those that do. */
async function allHaveLeft(gang: JobReconcile): Promise<boolean> {
  const holding = await podsOccupyingNow(gang);
  await stopPods(gang, holding);
  return holding.length === 0;
}

/**
 * Writes the attempt and its nodes to the Job's status before creating pods. If the database loses its content, the
 * pods are found by the status.
 */
async function announce({ context, job, view, pods }: JobReconcile): Promise<void> {
  if (job.status.attempt === view.attempt && job.status.queuedAt !== undefined) return;
  const status = statusOf(job, view, pods, noRemarks, context.clock.now());
  await writeStatus(context, jobs, job, status);
}

const completed = "all pods succeeded";

function startedText({ view }: JobReconcile): string {
  const pods = view.parallelism === 1 ? "the pod runs" : `all ${view.parallelism} pods run`;
  return `attempt ${view.attempt}: ${pods} on ${nodesText(view.placements.map(({ node }) => node))}`;
}

/** Ends the whole gang: stops the other pods first, and updates the row when all have terminated. */
async function endGang(gang: JobReconcile, end: AttemptEnd): Promise<Settled> {
  const { context, view } = gang;
  const fence = { id: view.id, attempt: view.attempt };
  const pods = ofAttempt(gang);
  if (view.ending === undefined && pods.some((pod) => !hasEnded(pod))) {
    await beginEnding(context.db, fence, end, context.settings.reservationSeconds);
    await stopPods(gang, pods);
    // Write the status now: if a node does not respond, no pod event may follow.
    return rowChanged;
  }
  if ((await stopPods(gang, pods)) > 0) return releaseVacatedNodes(gang, view);
  if (!(await allHaveLeft(gang))) return requeueAfter(expectationSeconds);
  context.checkpoint("before-end");
  const { reason, message, counts } = end;
  const failures = view.failures + (counts ? 1 : 0);
  const start = failedStartOf(view, end, context.settings);
  const isOver = counts ? failures > view.backoffLimit : start?.isLast === true;
  const isWritten = isOver
    ? await endJob(context.db, { ...fence, outcome: "failed", ...lastWords(end, start) })
    : await retryJob(context.db, {
        ...fence,
        countsAsFailure: counts,
        reason,
        message,
        notBeforeSeconds: counts
          ? backoffSeconds(failures, retryBackoff)
          : (start?.pauseSeconds ?? 0),
        ...start,
      });
  if (isWritten) {
    // The suspension was reported when it was stored.
    if (reason !== "Suspended") tell(gang, "Warning", reason, "EndAttempt", message);
    context.counters.attemptEnded(view.pool, isOver ? "failed" : "retried");
  }
  context.scheduler.wake(view.pool);
  return rowChanged;
}

/** Of a job that is Failed: after its last start, how many there were. */
function lastWords(
  { reason, message }: AttemptEnd,
  start: FailedStart | undefined,
): Pick<AttemptEnd, "reason" | "message"> {
  if (start === undefined) return { reason, message };
  return {
    reason: "StartFailed",
    message: `${start.failedStarts} starts failed; the last: ${message}`,
  };
}

async function succeed(gang: JobReconcile): Promise<Settled> {
  const { context, view } = gang;
  context.checkpoint("before-success");
  const isWritten = await endJob(context.db, {
    id: view.id,
    attempt: view.attempt,
    outcome: "succeeded",
    reason: "Completed",
    message: completed,
  });
  if (isWritten) {
    tell(gang, "Normal", "Completed", "End", completed);
    context.counters.attemptEnded(view.pool, "succeeded");
  }
  context.scheduler.wake(view.pool);
  return rowChanged;
}

/** A pod that failed by itself. Pods that are deleted, disrupted or rejected may also fail; they count as lost. */
function failedPod(gang: JobReconcile): Pod | undefined {
  return ofAttempt(gang).find(
    (pod) => pod.phase === "Failed" && !pod.deleting && pod.disruption === "" && !pod.rejected,
  );
}

/** Pods that the kubelet of their node rejected. */
const rejectedPods = (gang: JobReconcile): Pod[] =>
  ofAttempt(gang).filter((pod) => pod.rejected && pod.disruption === "");

/** Ends an attempt whose pods a kubelet rejected: the node may lack what it seemed to have, so it is avoided. */
async function endRejected(gang: JobReconcile, pods: readonly Pod[]): Promise<Settled> {
  const { context, view } = gang;
  const nodes = [...new Set(pods.map(({ nodeName }) => nodeName))];
  await avoidNodes(context.db, view.id, nodes, context.settings.avoidNodeSeconds);
  const words = pods
    .slice(0, 1)
    .map(({ name, nodeName, failure }) => `pod ${name} on ${nodeName}: ${failure}`);
  const message = words.join("");
  return endGang(gang, {
    reason: "RejectedByKubelet",
    message,
    counts: false,
    failedStart: "node",
  });
}

/** The pod exists, but its node has left the cluster. */
const isStranded = ({ context }: JobReconcile, pod: Pod): boolean =>
  !hasEnded(pod) && (isOnLostNode(context, pod) || isOfFormerNode(context, pod));

/** Ends an attempt whose gang lost pods through no fault of its own. */
function endLost(gang: JobReconcile): Promise<Settled> {
  const size = gang.job.spec.parallelism;
  const pods = ofAttempt(gang);
  const counts = false;
  const failedStart = gang.view.status === "starting" ? { failedStart: "node" as const } : {};
  const stranded = pods.find((pod) => isStranded(gang, pod));
  if (stranded !== undefined) {
    const message = `node ${stranded.nodeName} with pods of the gang left the cluster`;
    return endGang(gang, { reason: "NodeLost", message, counts, ...failedStart });
  }
  const count = size - sizeOf(gang, (pod) => !isLost(pod));
  const disrupted = pods.find((pod) => pod.disruption !== "");
  if (disrupted === undefined) {
    const message = `${count} of ${size} pods were deleted`;
    return endGang(gang, { reason: "PodsLost", message, counts });
  }
  const message = `${count} of ${size} pods were terminated by the cluster: ${disrupted.disruption}`;
  return endGang(gang, { reason: "PodDisrupted", message, counts, ...failedStart });
}

const suspended: AttemptEnd = {
  reason: "Suspended",
  message: "spec.suspend is true",
  counts: false,
};

const endFailed = (gang: JobReconcile, pod: Pod): Promise<Settled> =>
  endGang(gang, {
    reason: "PodFailed",
    message: `pod ${pod.name}: ${pod.failure}`,
    counts: true,
  });

/** Records finished pods while the gang still runs: they count even if the pod object is deleted. */
async function noteCompletions(gang: JobReconcile): Promise<void> {
  const { context, view } = gang;
  const fresh = ofAttempt(gang)
    .filter((pod) => hasFinished(pod) && !view.completed.includes(pod.index))
    .map(({ index }) => index);
  if (fresh.length === 0) return;
  await recordCompletions(context.db, { id: view.id, attempt: view.attempt }, fresh);
}

const isPending = ({ phase }: Pod): boolean => phase === "Pending";

/** Seconds until the start is late; Infinity while init containers run. */
function secondsToStart(gang: JobReconcile): number {
  const { context, uid, view } = gang;
  const now = context.clock.now();
  const begun = context.startClock.beginsAt(uid, view.startedAt ?? now, ofAttempt(gang));
  if (begun === undefined) return Number.POSITIVE_INFINITY;
  return context.settings.startDeadlineSeconds - now.since(begun).total("seconds");
}

/** Seconds until spec.maxRuntime is over; Infinity without one. */
const secondsToRun = (gang: JobReconcile): number =>
  (gang.view.maxRuntimeSeconds ?? Number.POSITIVE_INFINITY) - elapsedSeconds(gang);

const endOverrun = (gang: JobReconcile): Promise<Settled> =>
  endGang(gang, {
    reason: "MaxRuntimeExceeded",
    message: `exceeded spec.maxRuntime (${gang.view.maxRuntimeSeconds} s)`,
    counts: true,
  });

/** Ends a start that is late: because of the job, if a pod's template is wrong, or of the nodes, which are avoided then. */
async function endLate(gang: JobReconcile): Promise<Settled> {
  const { context, view } = gang;
  const { startDeadlineSeconds, avoidNodeSeconds } = context.settings;
  const slow = ofAttempt(gang).filter(isPending);
  const wrong = slow.find(({ startPhase }) => startPhase === "WrongTemplate");
  const named = wrong ?? slow.find(({ obstacle }) => obstacle !== "");
  const why = named === undefined ? "" : `: ${named.obstacle} (pod ${named.name})`;
  const message = `not all pods were running within ${startDeadlineSeconds} s${why}`;
  const end = { reason: "StartDeadlineExceeded", message, counts: false } as const;
  if (wrong !== undefined) return endGang(gang, { ...end, failedStart: "job" });
  const nodes = new Set(slow.flatMap(({ index }) => nodesByIndex(view)[index] ?? []));
  if (nodes.size > 0) await avoidNodes(context.db, view.id, [...nodes], avoidNodeSeconds);
  return endGang(gang, { ...end, failedStart: "node" });
}

const isExpunged = (error: unknown): error is RotaError =>
  error instanceof RotaError && error.code === "ContentExpunged";

/**
 * Returns the seconds until the next check, in case the cache never shows the created pods. Where the API server refused
 * them before, others that it refused may have room, too.
 */
async function makePods(gang: JobReconcile, project: Project): Promise<number> {
  const { context, job, signal } = gang;
  const { configHash: hash } = gang.view;
  if (hash !== undefined) {
    context.checkpoint("before-config-map");
    const { namespace } = job;
    await ensureConfigMap(context, { namespace, project: project.name, hash }, signal);
    context.checkpoint("config-map-created");
  }
  const pods = await createMissingPods(gang, project);
  if (pods.asked > 0) context.checkpoint("pods-created");
  if (pods.asked > 0 && gang.view.failedStarts > 0)
    context.queues.resourceQuotas.add(gang.job.namespace);
  return pods.unseen > 0 ? maxLagSeconds : Number.POSITIVE_INFINITY;
}

async function whileStarting(gang: JobReconcile): Promise<Settled> {
  const { context, view } = gang;
  if (view.suspended) return endGang(gang, suspended);
  const failed = failedPod(gang);
  if (failed) return endFailed(gang, failed);
  const rejected = rejectedPods(gang);
  if (rejected.length > 0) return endRejected(gang, rejected);
  if (allAre(gang, hasFinished)) return succeed(gang);
  const isDisrupted = (pod: Pod): boolean =>
    (isLost(pod) && pod.disruption !== "") || isStranded(gang, pod);
  if (ofAttempt(gang).some(isDisrupted)) return endLost(gang);
  await noteCompletions(gang);
  if (allAre(gang, (pod) => pod.phase === "Running" || hasFinished(pod))) {
    context.checkpoint("before-running");
    if (await markRunning(context.db, { id: view.id, attempt: view.attempt }))
      tell(gang, "Normal", "Started", "Start", startedText(gang));
    return rowChanged;
  }
  const toStart = secondsToStart(gang);
  if (toStart <= 0) return endLate(gang);
  // Init containers have no deadline of their own: their time counts as run time.
  const left = Number.isFinite(toStart) ? toStart : secondsToRun(gang);
  if (left <= 0) return endOverrun(gang);
  if (gang.project === undefined) return requeueAfter(projectRecheckSeconds);
  await announce(gang);
  try {
    return dueIn(Math.min(left, await makePods(gang, gang.project)));
  } catch (error) {
    if (isExpunged(error)) {
      const { message } = error;
      return endGang(gang, { reason: "ContentExpunged", message, counts: false });
    }
    const rejection = rejectionOfPod(error);
    if (rejection === undefined) throw error;
    const { message, passes } = rejection;
    const end = { reason: "PodsRejected", message, counts: !passes } as const;
    return endGang(gang, passes ? { ...end, failedStart: "refused" } : end);
  }
}

const isMissingPods = (gang: JobReconcile): boolean =>
  !allAre(gang, (pod) => !isLost(pod) && !isStranded(gang, pod));

/**
 * If pods seem to be missing, reads them from the API server: another operator, or the previous leader, may have
 * created pods that this cache does not have yet.
 */
async function whileRunning(cached: JobReconcile): Promise<Settled> {
  const gang = isMissingPods(cached) ? await withFreshPods(cached) : cached;
  const { view } = gang;
  if (view.suspended) return endGang(gang, suspended);
  const failed = failedPod(gang);
  if (failed) return endFailed(gang, failed);
  const rejected = rejectedPods(gang);
  if (rejected.length > 0) return endRejected(gang, rejected);
  if (allAre(gang, hasFinished)) return succeed(gang);
  if (isMissingPods(gang)) return endLost(gang);
  await noteCompletions(gang);
  const left = secondsToRun(gang);
  if (left <= 0) return endOverrun(gang);
  return dueIn(left);
}

/** Releases the reservation of a suspended job: it would not start when its victims have terminated. */
async function whileReserved({ context, view }: JobReconcile): Promise<Settled> {
  if (!view.suspended) return done();
  const { reason, message } = suspended;
  const fence = { id: view.id, attempt: view.attempt };
  await releaseReservations(context.db, [{ ...fence, reason, message }]);
  context.scheduler.wake(view.pool);
  return rowChanged;
}

async function whileNotEvicting(gang: JobReconcile): Promise<Settled> {
  const { status, ending } = gang.view;
  switch (status) {
    case "reserved":
      return whileReserved(gang);
    case "starting":
      return ending ? endGang(gang, ending) : whileStarting(gang);
    case "running":
      return ending ? endGang(gang, ending) : whileRunning(gang);
    default:
      return done();
  }
}

/** Advances the job by one step. Throws errors of the database and the API server, to be retried. */
export async function advance(gang: JobReconcile): Promise<Progress> {
  await stopStrays(gang);
  if (gang.view.status !== "evicting") return { result: await whileNotEvicting(gang) };
  if (allAre(gang, hasFinished)) return { result: await succeed(gang) };
  return evict(gang);
}
