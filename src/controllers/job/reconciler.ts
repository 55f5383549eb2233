/** A Job from its submission to its end: checks, queue, pods, status. The scheduler decides in between. */
import type { JobReason } from "../../api/reasons.ts";
import { readActiveJobsNamed, readJobView } from "../../db/jobs/read.ts";
import type { JobView } from "../../db/jobs/read.ts";
import { beginEnding, cancelJob } from "../../db/jobs/attempts.ts";
import { setPriority, setSuspended } from "../../db/jobs/queue.ts";
import { splitKey } from "../../kube/resource.ts";
import { isNotFound } from "../../kube/errors.ts";
import { hasEnded, jobs as jobType } from "../../resources/types.ts";
import type { Job } from "../../resources/types.ts";
import { requeueAfter, done } from "../../runtime/result.ts";
import type { Reconcile } from "../../runtime/controller.ts";
import type { ReconcileResult } from "../../runtime/result.ts";
import type { Context } from "../context.ts";
import { priorityClassOf, projectOfNamespace } from "../references.ts";
import type { ClassInEffect } from "../references.ts";
import { notify, writeStatus } from "../report.ts";
import { queueJob } from "./enqueue.ts";
import { catchUp, observedNow } from "./recovery.ts";
import { expire } from "./ttl.ts";
import { advance } from "./attempt.ts";
import { podsOccupyingNow, podsOfJob, stopPods, expectationSeconds } from "./pods.ts";
import { pendingPodsOf } from "./pending-pods.ts";
import { isBehind, isLiveStatus, wasQueued } from "./observed-state.ts";
import { podsStuck, rejectedStatus, statusOf, windowClosing } from "./status.ts";
import { stuckPods } from "./stuck-pods.ts";

const rejectedRecheckSeconds = 30;
/** Creation times have whole seconds: a new job has at least one second. */
const initialStatusDelaySeconds = 2;

const isRunning = ({ status }: JobView): boolean => status === "starting" || status === "running";

const deleted = { reason: "Deleted", message: "the Job was deleted" } as const;

/**
 * A deleted job is cancelled when its pods have left their nodes, so that their room is not given away before. Pods that
 * the cache never shows go without a word: then it is looked again.
 */
async function cancel(
  context: Context,
  key: string,
  view: JobView,
  signal: AbortSignal,
): Promise<ReconcileResult> {
  const pods = podsOfJob(context, key, view.id);
  if (isRunning(view) && view.ending === undefined && pods.some((pod) => !hasEnded(pod)))
    await beginEnding(
      context.db,
      { id: view.id, attempt: view.attempt },
      { ...deleted, counts: false },
      context.settings.reservationSeconds,
    );
  if ((await stopPods(context, pods, signal)) > 0) return done();
  const unseen = await podsOccupyingNow(context, key, view.id, signal);
  if ((await stopPods(context, unseen, signal)) > 0) return requeueAfter(expectationSeconds);
  context.checkpoint("before-cancel");
  await cancelJob(context.db, { id: view.id, ...deleted });
  context.counters.attemptEnded(view.pool, "cancelled");
  context.scheduler.wake(view.pool);
  const { namespace = "" } = splitKey(key);
  context.tenants.used(namespace);
  return done();
}

/** Asks the API server: the cache may not know a new job yet that another operator has queued. */
async function isDeleted(
  context: Context,
  key: string,
  { id }: JobView,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    const { metadata } = await context.kube.get(jobType, key, { signal });
    return metadata.uid !== id || metadata.deletionTimestamp !== undefined;
  } catch (error) {
    if (isNotFound(error)) return true;
    throw error;
  }
}

async function cancelDeleted(
  context: Context,
  key: string,
  presentUid: string | undefined,
  signal: AbortSignal,
): Promise<ReconcileResult> {
  const { namespace = "", name } = splitKey(key);
  const active = await readActiveJobsNamed(context.db, namespace, name);
  let result = done();
  for (const view of active) {
    if (view.id !== presentUid && (await isDeleted(context, key, view, signal)))
      result = earliest(result, await cancel(context, key, view, signal));
  }
  return result;
}

const hasClass = (view: JobView, { name, value, preemptionPolicy }: ClassInEffect): boolean =>
  view.priorityClass === name &&
  view.priority === value &&
  view.preempts === (preemptionPolicy === "PreemptLowerPriority");

/**
 * The two fields that may change: suspend at any time, the priority class while the job does not run. The class itself
 * may have been made anew, or another may be the default.
 */
async function followSpec(context: Context, job: Job, view: JobView): Promise<boolean> {
  let changed = false;
  if (job.spec.suspend !== view.suspended) {
    await setSuspended(context.db, { id: view.id, suspended: job.spec.suspend });
    changed = true;
  }
  const wanted = priorityClassOf(context, job);
  if (wanted && !isLiveStatus(view.status) && !hasClass(view, wanted)) {
    await setPriority(context.db, {
      id: view.id,
      priorityClass: wanted.name,
      priority: wanted.value,
      preempts: wanted.preemptionPolicy === "PreemptLowerPriority",
    });
    changed = true;
  }
  if (changed) context.scheduler.wake(view.pool);
  return changed;
}

async function enqueue(
  context: Context,
  job: Job,
  key: string,
  signal: AbortSignal,
): Promise<ReconcileResult> {
  const isKnown = wasQueued(job);
  const observed = isKnown ? await observedNow(context, job, signal) : undefined;
  if (isKnown && observed === undefined) return requeueAfter(expectationSeconds);
  const rejection = await queueJob(context, job, observed, signal);
  // A job that was queued before is taken over, not judged anew: what it refers to comes back first.
  if (rejection && isKnown) throw new Error(`cannot adopt ${key} yet: ${rejection.message}`);
  if (rejection) {
    if (job.status.message !== rejection.message) {
      const { reason, message: note } = rejection;
      notify(context, jobType, job, { type: "Warning", reason, action: "Refuse", note });
    }
    const status = rejectedStatus(job, rejection, context.clock.now());
    await writeStatus(context, jobType, job, status);
    return requeueAfter(rejectedRecheckSeconds);
  }
  context.scheduler.wake(job.spec.pool);
  return requeueAfter(0);
}

/** An event beside the condition, once for each message. */
function warn(
  context: Context,
  job: Job,
  conditionType: string,
  words: { readonly reason: JobReason; readonly message: string } | undefined,
): void {
  const told = job.status.conditions?.find(({ type }) => type === conditionType);
  if (words === undefined || told?.message === words.message) return;
  const { reason, message: note } = words;
  notify(context, jobType, job, { type: "Warning", reason, action: "Warn", note });
}

/** What becomes due first. */
function earliest(one: ReconcileResult, other: ReconcileResult): ReconcileResult {
  if (one.kind !== "again") return other;
  if (other.kind !== "again") return one;
  return one.afterSeconds <= other.afterSeconds ? one : other;
}

const requeueIn = (seconds: number | undefined): ReconcileResult =>
  seconds === undefined ? done() : requeueAfter(seconds);

/**
 * Seconds for which a new job need not say that it waits for the next scheduling cycle: mostly it has started by then,
 * and a write is saved.
 */
function secondsToInitialStatus({ clock, scheduler }: Context, job: Job, view: JobView): number {
  const isNew = view.status === "pending" && !view.suspended && !wasQueued(job);
  if (!isNew || scheduler.explanation(job.uid) !== undefined) return 0;
  const age = clock.now().since(Temporal.Instant.from(job.createdAt)).total("seconds");
  return Math.max(0, initialStatusDelaySeconds - age);
}

async function follow(
  context: Context,
  job: Job,
  view: JobView,
  key: string,
  signal: AbortSignal,
): Promise<ReconcileResult> {
  if (view.finishedAt === undefined && (await followSpec(context, job, view)))
    return requeueAfter(0);
  const pods = podsOfJob(context, key, job.uid);
  const project = projectOfNamespace(context, job.namespace);
  const { result, blockedBy } = await advance({ context, job, project, view, pods, signal });
  // The row has just changed: the next turn, at once, writes the status of what it is then.
  if (result.kind === "again" && result.afterSeconds === 0) return result;
  const patience = secondsToInitialStatus(context, job, view);
  if (patience > 0) return requeueAfter(patience);
  const notice = isRunning(view) ? context.scheduler.windowNotice(view.pool, job.uid) : undefined;
  warn(context, job, windowClosing, notice);
  const now = context.clock.now();
  const stuck = stuckPods(pods, now, context.settings.stuckPodSeconds);
  const { message } = stuck;
  warn(
    context,
    job,
    podsStuck,
    message === undefined ? undefined : { reason: "PodsStuck", message },
  );
  const explanation = context.scheduler.explanation(job.uid);
  const start = pendingPodsOf(view, pods, now, context.settings.startDeadlineSeconds);
  const remarks = { explanation, notice, stuck: message, pendingPodsOf: start.message, blockedBy };
  await writeStatus(context, jobType, job, statusOf(job, view, pods, remarks, now));
  const look = earliest(requeueIn(stuck.nextSeconds), requeueIn(start.nextSeconds));
  if (view.finishedAt === undefined) return earliest(result, look);
  return earliest(look, await expire(context, job, pods, view.finishedAt, signal));
}

/** The status says so, or pods of a later attempt do, whose status the cache has not shown yet. */
function mayBeBehind(context: Context, key: string, job: Job, view: JobView): boolean {
  if (view.finishedAt !== undefined) return false;
  if (isBehind(view, job)) return true;
  return podsOfJob(context, key, job.uid).some(({ attempt }) => attempt > view.attempt);
}

async function reconcile(
  context: Context,
  key: string,
  signal: AbortSignal,
): Promise<ReconcileResult> {
  const cached = context.informers.jobs.store.get(key);
  const job = cached?.deleting === true ? undefined : cached;
  const cancelling = await cancelDeleted(context, key, job?.uid, signal);
  if (job === undefined) return cancelling;
  return earliest(await reconcilePresent(context, job, key, signal), cancelling);
}

async function reconcilePresent(
  context: Context,
  job: Job,
  key: string,
  signal: AbortSignal,
): Promise<ReconcileResult> {
  const view = await readJobView(context.db, job.uid);
  if (view === undefined && job.status.finishedAt !== undefined) {
    const finishedAt = Temporal.Instant.from(job.status.finishedAt);
    return expire(context, job, podsOfJob(context, key, job.uid), finishedAt, signal);
  }
  if (view === undefined) return enqueue(context, job, key, signal);
  if (mayBeBehind(context, key, job, view)) {
    const result = await catchUp(context, key, job.uid, signal);
    if (result !== undefined) return result;
  }
  return follow(context, job, view, key, signal);
}

export function reconcileJob(context: Context): Reconcile {
  return async (key, signal) => {
    try {
      return await reconcile(context, key, signal);
    } catch (error) {
      if (isNotFound(error) && context.informers.jobs.store.get(key) === undefined) return done();
      throw error;
    }
  };
}
