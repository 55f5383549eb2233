/** The last phase of every reconcile: computes the status and writes it if it differs. */
import { observed } from "../../api/conditions.ts";
import type { JobReason } from "../../api/reasons.ts";
import type { JobView } from "../../db/jobs/read.ts";
import { jobs as jobType } from "../../resources/types.ts";
import { done, earliest, requeueAfter } from "../../runtime/result.ts";
import type { Settled } from "../../runtime/result.ts";
import { notify, writeStatus } from "../report.ts";
import type { JobReconcile, Submitted } from "./context.ts";
import { wasQueued } from "./observed-state.ts";
import { pendingPodsOf } from "./pending-pods.ts";
import type { Rejection } from "./rejection.ts";
import { unreadyNodesOf } from "./pods.ts";
import { podsStuck, rejectedStatus, statusOf, windowClosing } from "./status.ts";
import { stuckPods } from "./stuck-pods.ts";

/** Creation times have whole seconds, so this gives a new job at least one second. */
const initialStatusDelaySeconds = 2;

const isRunning = ({ status }: JobView): boolean => status === "starting" || status === "running";

const requeueIn = (seconds: number | undefined): Settled =>
  seconds === undefined ? done() : requeueAfter(seconds);

/** Records an event about the job. */
export function tell(
  { context, job }: Pick<Submitted, "context" | "job">,
  type: "Normal" | "Warning",
  reason: JobReason,
  action: string,
  note: string,
): void {
  notify(context, jobType, job, { type, reason, action, note });
}

/** Records an event in addition to the condition, once per message. */
function warn(
  reconcile: Submitted,
  conditionType: string,
  words: { readonly reason: JobReason; readonly message: string } | undefined,
): void {
  const told = reconcile.job.status.conditions?.find(({ type }) => type === conditionType);
  if (words === undefined || told?.message === words.message) return;
  tell(reconcile, "Warning", words.reason, "Warn", words.message);
}

/**
 * Seconds for which a new job need not say that it waits for the next scheduling cycle: mostly it has started by then,
 * and a write is saved.
 */
function secondsToInitialStatus({ context, job, view }: JobReconcile): number {
  const isNew = view.status === "pending" && !view.suspended && !wasQueued(job);
  if (!isNew || context.scheduler.explanation(job.uid) !== undefined) return 0;
  const age = context.clock.now().since(Temporal.Instant.from(job.createdAt)).total("seconds");
  return Math.max(0, initialStatusDelaySeconds - age);
}

/** Writes the status of a job with a row. Returns when the status changes without an event. */
export async function writeJobStatus(
  reconcile: JobReconcile,
  blockedBy: string | undefined,
): Promise<Settled> {
  const { context, job, view, pods } = reconcile;
  const patience = secondsToInitialStatus(reconcile);
  if (patience > 0) return requeueAfter(patience);
  const now = context.clock.now();
  const notice = isRunning(view) ? context.scheduler.windowNotice(view.pool, job.uid) : undefined;
  warn(reconcile, windowClosing, notice);
  const stuck = stuckPods(pods, now, context.settings.stuckPodSeconds);
  const { message } = stuck;
  warn(reconcile, podsStuck, message === undefined ? undefined : { reason: "PodsStuck", message });
  const explanation = context.scheduler.explanation(job.uid);
  const start = pendingPodsOf(view, pods, now, context.settings.startDeadlineSeconds);
  const remarks = {
    explanation,
    notice,
    stuck: message,
    pendingPodsOf: start.message,
    blockedBy,
    unreadyNodes: unreadyNodesOf(context, pods),
  };
  await writeStatus(context, jobType, job, statusOf(job, view, pods, remarks, now));
  return earliest(requeueIn(stuck.nextSeconds), requeueIn(start.nextSeconds));
}

/** Writes the status of a job that failed validation. */
export async function writeRejection(reconcile: Submitted, rejection: Rejection): Promise<void> {
  const { context, job } = reconcile;
  if (job.status.message !== rejection.message)
    tell(reconcile, "Warning", rejection.reason, "Refuse", rejection.message);
  await writeStatus(context, jobType, job, rejectedStatus(job, rejection, context.clock.now()));
}

/** Writes observedGeneration of a job without a row that no phase changes: it ended long ago, or is being deleted. */
export const keepStatus = ({ context, job }: Submitted): Promise<void> =>
  writeStatus(context, jobType, job, observed(job));
