/** The ends of an attempt: why, and what follows. */
import { avoidNodes } from "../../db/jobs/avoided-nodes.ts";
import { beginEnding, endJob, recordCompletions, retryJob } from "../../db/jobs/attempts.ts";
import type { AttemptEnd } from "../../db/jobs/attempts.ts";
import { backoffSeconds } from "../../runtime/backoff.ts";
import { done, requeueAfter } from "../../runtime/result.ts";
import type { Settled } from "../../runtime/result.ts";
import { hasEnded, hasFinished } from "../../resources/types.ts";
import type { Pod } from "../../resources/types.ts";
import { rowChanged } from "./context.ts";
import type { JobReconcile } from "./context.ts";
import { failedStartOf } from "./failed-starts.ts";
import type { FailedStart } from "./failed-starts.ts";
import { allAre, isLost, ofAttempt, sizeOf } from "./gang.ts";
import {
  expectationSeconds,
  isOfFormerNode,
  isOnLostNode,
  podsOccupyingNow,
  stopPods,
} from "./pods.ts";
import { whileLeaving } from "./leaving.ts";
import { tell } from "./write-status.ts";

const retryBackoff = { baseSeconds: 10, maxSeconds: 360 };

/** Infinity: wait for the next event. */
export const dueIn = (seconds: number): Settled =>
  Number.isFinite(seconds) ? requeueAfter(seconds) : done();

/** Whether no pod of the job holds a node any more; asks the API server and stops those that do. */
async function allHaveLeft(gang: JobReconcile): Promise<boolean> {
  const holding = await podsOccupyingNow(gang);
  await stopPods(gang, holding);
  return holding.length === 0;
}

/** Ends the whole gang: stops the other pods first, and updates the row when all have terminated. */
export async function endGang(gang: JobReconcile, end: AttemptEnd): Promise<Settled> {
  const { context, view } = gang;
  const fence = { id: view.id, attempt: view.attempt };
  const pods = ofAttempt(gang);
  if (view.ending === undefined && pods.some((pod) => !hasEnded(pod))) {
    await beginEnding(context.db, fence, end, context.settings.reservationSeconds);
    await stopPods(gang, pods);
    // Write the status now: if a node does not respond, no pod event may follow.
    return rowChanged;
  }
  if ((await stopPods(gang, pods)) > 0) return whileLeaving(gang, view);
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

const completed = "all pods succeeded";

export async function succeed(gang: JobReconcile): Promise<Settled> {
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

/** Ends an attempt because of nodes, which are avoided. */
export async function endForNodes(
  gang: JobReconcile,
  nodes: readonly string[],
  why: Pick<AttemptEnd, "reason" | "message">,
): Promise<Settled> {
  const { context, view } = gang;
  const names = [...new Set(nodes)];
  if (names.length > 0)
    await avoidNodes(context.db, view.id, names, context.settings.avoidNodeSeconds);
  return endGang(gang, { ...why, counts: false, failedStart: "node" });
}

/** Ends an attempt whose pods a kubelet rejected: the node may lack what it seemed to have. */
function endRejected(gang: JobReconcile, [first, ...others]: [Pod, ...Pod[]]): Promise<Settled> {
  const nodes = [first, ...others].map(({ nodeName }) => nodeName);
  const message = `pod ${first.name} on ${first.nodeName}: ${first.failure}`;
  return endForNodes(gang, nodes, { reason: "RejectedByKubelet", message });
}

/** The pod exists, but its node has left the cluster. */
export const isStranded = ({ context }: JobReconcile, pod: Pod): boolean =>
  !hasEnded(pod) && (isOnLostNode(context, pod) || isOfFormerNode(context, pod));

/** Ends an attempt whose gang lost pods through no fault of its own. */
export function endLost(gang: JobReconcile): Promise<Settled> {
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

export const suspended: AttemptEnd = {
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

/** Ends an attempt that starts or runs where its suspension or its pods' ends say so; undefined: it goes on. */
export async function endIfOver(gang: JobReconcile): Promise<Settled | undefined> {
  if (gang.view.suspended) return endGang(gang, suspended);
  const failed = failedPod(gang);
  if (failed) return endFailed(gang, failed);
  const [rejected, ...others] = rejectedPods(gang);
  if (rejected) return endRejected(gang, [rejected, ...others]);
  return allAre(gang, hasFinished) ? succeed(gang) : undefined;
}

/** Records finished pods while the gang still runs: they count even if the pod object is deleted. */
export async function noteCompletions(gang: JobReconcile): Promise<void> {
  const { context, view } = gang;
  const fresh = ofAttempt(gang)
    .filter((pod) => hasFinished(pod) && !view.completed.includes(pod.index))
    .map(({ index }) => index);
  if (fresh.length === 0) return;
  await recordCompletions(context.db, { id: view.id, attempt: view.attempt }, fresh);
}

const elapsedSeconds = ({ context, view }: JobReconcile): number =>
  view.startedAt === undefined ? 0 : context.clock.now().since(view.startedAt).total("seconds");

/** Seconds until spec.maxRuntime is over; Infinity without one. */
export const secondsToRun = (gang: JobReconcile): number =>
  (gang.view.maxRuntimeSeconds ?? Number.POSITIVE_INFINITY) - elapsedSeconds(gang);

export const endOverrun = (gang: JobReconcile): Promise<Settled> =>
  endGang(gang, {
    reason: "MaxRuntimeExceeded",
    message: `exceeded spec.maxRuntime (${gang.view.maxRuntimeSeconds} s)`,
    counts: true,
  });
