/** An attempt from its admission until all pods run. */
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
  endForNodes,
  endGang,
  endIfOver,
  endLost,
  endOverrun,
  isStranded,
  noteCompletions,
  secondsToRun,
} from "./attempt-end.ts";
import { rowChanged } from "./context.ts";
import type { JobReconcile } from "./context.ts";
import { maxLagSeconds } from "./expectations.ts";
import { allAre, isLost, ofAttempt } from "./gang.ts";
import { createMissingPods, nodesByIndex } from "./pods.ts";
import { nodesText, noRemarks, statusOf } from "./status.ts";
import { startDeadlineOf } from "./start-deadline.ts";
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

/** Ends a start that is late: because of the job, if a pod's template is wrong, otherwise of the nodes. */
function endLate(gang: JobReconcile): Promise<Settled> {
  const { startDeadlineSeconds } = gang.context.settings;
  const slow = ofAttempt(gang).filter(isPending);
  const wrong = slow.find(({ startPhase }) => startPhase === "WrongTemplate");
  const named = wrong ?? slow.find(({ obstacle }) => obstacle !== "");
  const why = named === undefined ? "" : `: ${named.obstacle} (pod ${named.name})`;
  const message = `not all pods were running within ${startDeadlineSeconds} s${why}`;
  const reason = "StartDeadlineExceeded";
  if (wrong !== undefined)
    return endGang(gang, { reason, message, counts: false, failedStart: "job" });
  const nodes = nodesByIndex(gang.view);
  const slowNodes = slow.flatMap(({ index }) => nodes[index] ?? []);
  return endForNodes(gang, slowNodes, { reason, message });
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
  const ended = await endIfOver(gang);
  if (ended) return ended;
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
  const deadline = startDeadlineOf(gang);
  // Init containers have no deadline of their own: their time counts as run time.
  const left = deadline?.since(context.clock.now()).total("seconds") ?? secondsToRun(gang);
  if (left <= 0) return deadline === undefined ? endOverrun(gang) : endLate(gang);
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
