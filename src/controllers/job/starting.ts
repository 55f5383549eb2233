/** An attempt from its admission until all pods run. */
import { avoidNodes } from "../../db/jobs/avoided-nodes.ts";
import { markRunning } from "../../db/jobs/attempts.ts";
import { RotaError } from "../../errors.ts";
import { requeueAfter } from "../../runtime/result.ts";
import type { Settled } from "../../runtime/result.ts";
import { hasFinished, jobs } from "../../resources/types.ts";
import type { Pod, Project } from "../../resources/types.ts";
import { ensureConfigMap } from "../config/config-maps.ts";
import { writeStatus } from "../report.ts";
import {
  dueIn,
  endFailed,
  endGang,
  endLost,
  endOverrun,
  endRejected,
  failedPod,
  isStranded,
  noteCompletions,
  rejectedPods,
  secondsToRun,
  succeed,
  suspended,
} from "./attempt-end.ts";
import { rowChanged } from "./context.ts";
import type { JobReconcile } from "./context.ts";
import { maxLagSeconds } from "./expectations.ts";
import { allAre, isLost, ofAttempt } from "./gang.ts";
import { createMissingPods, nodesByIndex } from "./pods.ts";
import { nodesText, noRemarks, statusOf } from "./status.ts";
import { rejectionOfPod } from "./template-errors.ts";
import { tell } from "./write-status.ts";

const projectRecheckSeconds = 5;

/**
 * Writes the attempt and its nodes to the Job's status before creating pods. If the database loses its content, the
 * pods are found by the status.
 */
async function announce({ context, job, view, pods }: JobReconcile): Promise<void> {
  if (job.status.attempt === view.attempt && job.status.queuedAt !== undefined) return;
  const status = statusOf(job, view, pods, noRemarks, context.clock.now());
  await writeStatus(context, jobs, job, status);
}

function startedText({ view }: JobReconcile): string {
  const pods = view.parallelism === 1 ? "the pod runs" : `all ${view.parallelism} pods run`;
  return `attempt ${view.attempt}: ${pods} on ${nodesText(view.placements.map(({ node }) => node))}`;
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

export async function whileStarting(gang: JobReconcile): Promise<Settled> {
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
