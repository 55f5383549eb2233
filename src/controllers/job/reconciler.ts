/**
 * Reconciles a Job from submission to end, in phases: recover, enqueue, follow the spec, advance, write the status,
 * expire. In between, the scheduler decides.
 */
import { setPriority, setSuspended } from "../../db/jobs/queue.ts";
import { readJobView } from "../../db/jobs/read.ts";
import type { JobView } from "../../db/jobs/read.ts";
import { isNotFound } from "../../kube/errors.ts";
import type { Pod } from "../../resources/types.ts";
import type { Reconcile } from "../../runtime/controller.ts";
import { done, earliest, requeueAfter } from "../../runtime/result.ts";
import type { Settled } from "../../runtime/result.ts";
import { priorityClassOf, projectOfNamespace } from "../references.ts";
import type { ClassInEffect } from "../references.ts";
import { advance as advanceAttempt } from "./attempt.ts";
import { rowChanged } from "./context.ts";
import type { JobContext, Submitted } from "./context.ts";
import { cancelDeleted } from "./deletion.ts";
import { queueJob } from "./enqueue.ts";
import { isBehind, isLiveStatus, wasQueued } from "./observed-state.ts";
import { expectationSeconds, podsOfJob } from "./pods.ts";
import { catchUp, observedNow } from "./recovery.ts";
import type { Rejection } from "./rejection.ts";
import { expire as expireEnded } from "./ttl.ts";
import { keepStatus, tell, writeJobStatus, writeRejection } from "./write-status.ts";

const rejectedRecheckSeconds = 30;

/** One reconcile with the results of its phases so far. */
interface Turn extends Submitted {
  pods: readonly Pod[];
  view: JobView | undefined;
  rejection: Rejection | undefined;
  /** The row is older than the status, which must not be overwritten: it is the only record of the job's state. */
  isBehind: boolean;
  /** The PodDisruptionBudget, namespace/name, that blocks the job's eviction. */
  blockedBy: string | undefined;
}

/** Undefined: continue with the next phase. */
type Phase = (turn: Turn) => Promise<Settled | undefined>;

/** Each phase may advance the row. The status is written afterwards, whatever their result. */
const phases: readonly Phase[] = [recover, enqueue, followSpec, advance];

/** Reconciles keys namespace/name, also those of deleted Jobs. Throws errors to be retried. */
export function reconcileJob(context: JobContext): Reconcile {
  return async (key, signal) => {
    try {
      return await reconcile(context, key, signal);
    } catch (error) {
      if (isNotFound(error) && context.informers.jobs.store.get(key) === undefined) return done();
      throw error;
    }
  };
}

async function reconcile(context: JobContext, key: string, signal: AbortSignal): Promise<Settled> {
  const job = context.informers.jobs.store.get(key);
  const isPresent = job !== undefined && !job.deleting;
  const cancelled = await cancelDeleted({ context, key, signal }, isPresent ? job.uid : undefined);
  if (job === undefined) return cancelled;
  const { uid } = job;
  const turn: Turn = {
    context,
    key,
    uid,
    job,
    project: projectOfNamespace(context, job.namespace),
    pods: [],
    signal,
    view: undefined,
    rejection: undefined,
    isBehind: false,
    blockedBy: undefined,
  };
  if (isPresent) return earliest(cancelled, await reconcilePresent(turn));
  await refresh(turn);
  return earliest(cancelled, await report(turn));
}

async function reconcilePresent(turn: Turn): Promise<Settled> {
  const outcome = await runPhases(turn);
  if (turn.isBehind) return outcome === rowChanged ? requeueAfter(0) : outcome;
  // The remaining phases need the current row.
  if (outcome === rowChanged) await refresh(turn);
  const reported = await report(turn);
  return earliest(earliest(outcome, reported), await expire(turn));
}

async function runPhases(turn: Turn): Promise<Settled> {
  try {
    for (const phase of phases) {
      const outcome = await phase(turn);
      if (outcome) return outcome;
    }
    return done();
  } catch (error) {
    // Report the state that is known; only the first error is thrown.
    if (turn.view !== undefined && !turn.isBehind && !turn.signal.aborted)
      await report(turn).catch(() => undefined);
    throw error;
  }
}

async function refresh(turn: Turn): Promise<void> {
  turn.view = await readJobView(turn.context.db, turn.uid);
  turn.pods = podsOfJob(turn);
}

/** Brings a row that is older than the cluster's state up to date. */
async function recover(turn: Turn): Promise<Settled | undefined> {
  await refresh(turn);
  if (turn.view === undefined || !mayBeBehind(turn, turn.view)) return undefined;
  turn.isBehind = true;
  const outcome = await catchUp(turn);
  turn.isBehind = outcome !== undefined;
  return outcome;
}

/** Also checks the pods: the cache may have pods of a later attempt before the status that announces it. */
function mayBeBehind({ job, pods }: Turn, view: JobView): boolean {
  if (view.finishedAt !== undefined) return false;
  return isBehind(view, job) || pods.some(({ attempt }) => attempt > view.attempt);
}

/** Validates and queues a job without a row, unless it has ended. */
async function enqueue(turn: Turn): Promise<Settled | undefined> {
  const { context, job, key } = turn;
  if (turn.view !== undefined || job.status.finishedAt !== undefined) return undefined;
  const isKnown = wasQueued(job);
  const observed = isKnown ? await observedNow(turn) : undefined;
  if (isKnown && observed === undefined) return requeueAfter(expectationSeconds);
  const rejection = await queueJob(turn, observed);
  // A job that was queued before is adopted, not rejected: the objects that it refers to are restored first.
  if (rejection && isKnown) throw new Error(`cannot adopt ${key} yet: ${rejection.message}`);
  if (rejection) {
    const patience = context.arrivals.secondsLeft(job.uid, rejection.reason);
    if (job.status.state === undefined && patience > 0) return requeueAfter(patience + 0.05);
    turn.rejection = rejection;
    return requeueAfter(rejectedRecheckSeconds);
  }
  if (!isKnown)
    tell(turn, "Normal", "Queued", "Queue", `waits in the queue of pool ${job.spec.pool}`);
  context.scheduler.wake(job.spec.pool);
  return rowChanged;
}

const hasClass = (view: JobView, { name, value, preemptionPolicy }: ClassInEffect): boolean =>
  view.priorityClass === name &&
  view.priority === value &&
  view.preempts === (preemptionPolicy === "PreemptLowerPriority");

/** Reports that the user suspended or resumed the job. */
function tellSuspended(turn: Turn): void {
  const { suspend } = turn.job.spec;
  const [reason, action] = suspend
    ? (["Suspended", "Suspend"] as const)
    : (["Resumed", "Resume"] as const);
  tell(turn, "Normal", reason, action, `spec.suspend is ${suspend}`);
}

/**
 * Follows the two mutable fields: suspend at any time, the priority class while the job has no pods. The class itself
 * may have been created anew, or the default class may have changed.
 */
async function followSpec(turn: Turn): Promise<Settled | undefined> {
  const { context, job, view } = turn;
  if (view === undefined || view.finishedAt !== undefined) return undefined;
  let changed = false;
  if (job.spec.suspend !== view.suspended) {
    await setSuspended(context.db, { id: view.id, suspended: job.spec.suspend });
    tellSuspended(turn);
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
  if (!changed) return undefined;
  context.scheduler.wake(view.pool);
  return rowChanged;
}

/** Brings row and pods in line. */
async function advance(turn: Turn): Promise<Settled | undefined> {
  const { view } = turn;
  if (view === undefined) return undefined;
  const { result, blockedBy } = await advanceAttempt({ ...turn, view });
  turn.blockedBy = blockedBy;
  return result;
}

/** Always runs. Returns when the status changes without an event. */
async function report(turn: Turn): Promise<Settled> {
  const { view, rejection, job } = turn;
  if (view !== undefined) return writeJobStatus({ ...turn, view }, turn.blockedBy);
  if (rejection !== undefined) await writeRejection(turn, rejection);
  else if (job.deleting || job.status.finishedAt !== undefined) await keepStatus(turn);
  return done();
}

/** Deletes an ended job after its TTL. */
async function expire(turn: Turn): Promise<Settled> {
  const { view, job } = turn;
  if (view !== undefined)
    return view.finishedAt === undefined ? done() : expireEnded(turn, view.finishedAt);
  const { finishedAt } = job.status;
  return finishedAt === undefined ? done() : expireEnded(turn, Temporal.Instant.from(finishedAt));
}
