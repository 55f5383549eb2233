/** The last phase of every reconcile: computes the status and writes it if it differs. */
import { observed } from "../../api/conditions.ts";
import type { JobReason } from "../../api/reasons.ts";
import type { JobView } from "../../db/jobs/read.ts";
import { jobs as jobType } from "../../resources/types.ts";
import { done, earliest, requeueAfter } from "../../runtime/result.ts";
import type { Settled } from "../../runtime/result.ts";
import type { Failure } from "../failure.ts";
import { notify, writeStatus } from "../report.ts";
import type { JobReconcile, Submitted } from "./context.ts";
import { wasQueued } from "./observed-state.ts";
import { pendingPodsOf } from "./pending-pods.ts";
import type { Rejection } from "./rejection.ts";
import { unreadyNodesOf } from "./pods.ts";
import {
  deletedStatus,
  failedStatus,
  podsStuck,
  rejectedStatus,
  statusOf,
  windowClosing,
} from "./status.ts";
import type { Remarks } from "./status.ts";
import { startDeadlineOf } from "./start-deadline.ts";
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

function warnOfRejection(reconcile: Submitted, { reason, message }: Rejection): void {
  if (reconcile.job.status.message !== message)
    tell(reconcile, "Warning", reason, "Refuse", message);
}

/**
 * Seconds for which a new job need not say that it waits for the next scheduling cycle: mostly it has started by then,
 * and a write is saved.
 */
function secondsToInitialStatus({ context, job, view }: JobReconcile): number {
  const isNew = view.status === "pending" && !view.suspended && !wasQueued(job);
  if (!isNew || context.scheduler.explanation(job.uid) !== undefined) return 0;
  const age = context.clock.now().since(Temporal.Instant.from(job.createdAt)).total("seconds");
  // The API server's clock may be ahead of the database's.
  return age < 0 ? 0 : Math.max(0, initialStatusDelaySeconds - age);
}

/** Writes the status of a job with a row. Returns when the status changes without an event. */
export async function writeJobStatus(
  reconcile: JobReconcile,
  found: Pick<Remarks, "blockedBy" | "rejection" | "failure">,
): Promise<Settled> {
  const { context, job, view, pods } = reconcile;
  const { rejection, failure } = found;
  if (rejection !== undefined) warnOfRejection(reconcile, rejection);
  const patience = failure === undefined ? secondsToInitialStatus(reconcile) : 0;
  if (patience > 0) return requeueAfter(patience);
  const now = context.clock.now();
  const notice = isRunning(view) ? context.scheduler.windowNotice(view.pool, job.uid) : undefined;
  warn(reconcile, windowClosing, notice);
  const stuck = stuckPods(pods, now, context.settings.stuckPodSeconds);
  const { message } = stuck;
  warn(reconcile, podsStuck, message === undefined ? undefined : { reason: "PodsStuck", message });
  const explanation = context.scheduler.explanation(job.uid);
  const { startDeadlineSeconds } = context.settings;
  const start = pendingPodsOf(view, pods, now, startDeadlineOf(reconcile), startDeadlineSeconds);
  const remarks = {
    explanation,
    notice,
    stuck: message,
    pendingPodsOf: start.message,
    ...found,
    unreadyNodes: unreadyNodesOf(context, pods),
  };
  await writeStatus(context, jobType, job, statusOf(job, view, pods, remarks, now));
  return earliest(requeueIn(stuck.nextSeconds), requeueIn(start.nextSeconds));
}

/** Writes the status of a job that failed validation. */
export async function writeRejection(reconcile: Submitted, rejection: Rejection): Promise<void> {
  const { context, job } = reconcile;
  warnOfRejection(reconcile, rejection);
  await writeStatus(context, jobType, job, rejectedStatus(job, rejection, context.clock.now()));
}

/** The status of a job whose reconcile failed before its row was known. */
export const writeFailure = (
  { context, job }: Pick<Submitted, "context" | "job">,
  failure: Failure,
): Promise<void> =>
  writeStatus(context, jobType, job, failedStatus(job, failure, context.clock.now()));

/** The status of a job that is deleted before it was queued, and that a finalizer keeps. */
export const writeDeleted = ({ context, job }: Submitted): Promise<void> =>
  writeStatus(context, jobType, job, deletedStatus(job, context.clock.now()));

/** The status of a job without a row that no phase will change any more: it ended long ago. */
export const keepStatus = ({ context, job }: Submitted): Promise<void> =>
  writeStatus(context, jobType, job, observed(job));
