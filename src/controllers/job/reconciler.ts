/**
 * Reconciles a Job from submission to end, in phases: recover, enqueue, cancel what lost its configuration, follow the
 * spec, advance, write the status, expire. In between, the scheduler decides.
 */
import { cancelJob } from "../../db/jobs/attempts.ts";
import { setPriority, setSuspended } from "../../db/jobs/queue.ts";
import { readJobView } from "../../db/jobs/read.ts";
import type { JobView } from "../../db/jobs/read.ts";
import { isNotFound } from "../../kube/errors.ts";
import type { Job, Pod } from "../../resources/types.ts";
import type { Reconcile } from "../../runtime/controller.ts";
import { done, earliest, requeueAfter } from "../../runtime/result.ts";
import type { Settled } from "../../runtime/result.ts";
import { awaitingResponse, failureOf, isSilent, whenSlow } from "../failure.ts";
import type { Failure } from "../failure.ts";
import { projectOfNamespace } from "../references.ts";
import type { ClassInEffect } from "../references.ts";
import { advance as advanceAttempt } from "./attempt.ts";
import { rowChanged } from "./context.ts";
import type { JobContext, Submitted } from "./context.ts";
import { cancelDeleted } from "./deletion.ts";
import { queueJob } from "./enqueue.ts";
import { heldBackSeconds, isHeldBack } from "./held-back.ts";
import { isBehind, wasQueued } from "./observed-state.ts";
import { judgeQueuedClass } from "./priority-class.ts";
import { expectationSeconds, podsOfJob } from "./pods.ts";
import { catchUp, observedNow } from "./recovery.ts";
import { recheckSeconds } from "./rejection.ts";
import type { Rejection } from "./rejection.ts";
import { expire as expireEnded } from "./ttl.ts";
import {
  keepStatus,
  tell,
  writeDeleted,
  writeFailure,
  writeJobStatus,
  writeRejection,
} from "./write-status.ts";

/** One reconcile with the results of its phases so far. */
interface Turn extends Submitted {
  pods: readonly Pod[];
  view: JobView | undefined;
  rejection: Rejection | undefined;
  /** What went wrong in this reconcile, where its user should know. */
  failure: Failure | undefined;
  /** Call it before the status is written. */
  readonly stopWaiting: () => void;
  /** The row is older than the status, which must not be overwritten: it is the only record of the job's state. */
  isBehind: boolean;
  /** The PodDisruptionBudget, namespace/name, that blocks the job's eviction. */
  blockedBy: string | undefined;
}

/** Undefined: continue with the next phase. */
type Phase = (turn: Turn) => Promise<Settled | undefined>;

/** Each phase may advance the row. The status is written afterwards, whatever their result. */
const phases: readonly Phase[] = [recover, enqueue, cancelExpunged, followSpec, advance];

/** Reconciles keys namespace/name, also those of deleted Jobs. Throws errors to be retried. */
export function reconcileJob(context: JobContext): Reconcile {
  return async (key, signal) => {
    const job = context.informers.jobs.store.get(key);
    const turn = job && newTurn(context, key, job, signal);
    try {
      return await reconcile(context, key, turn, signal);
    } catch (error) {
      if (isNotFound(error) && context.informers.jobs.store.get(key) === undefined) return done();
      if (turn !== undefined && !signal.aborted) await tellFailure(turn, error);
      throw error;
    } finally {
      turn?.stopWaiting();
    }
  };
}

function newTurn(context: JobContext, key: string, job: Job, signal: AbortSignal): Turn {
  const turn = {
    context,
    key,
    uid: job.uid,
    job,
    project: projectOfNamespace(context, job.namespace),
    pods: [],
    signal,
    view: undefined,
    rejection: undefined,
    failure: undefined,
    isBehind: false,
    blockedBy: undefined,
  };
  // A webhook that hangs is told before it has answered.
  const stopWaiting = whenSlow(context.clock, job, () => {
    if (isSilent(latest(turn))) void tellOf(turn, awaitingResponse);
  });
  return { ...turn, stopWaiting };
}

type Told = Pick<Submitted, "context" | "key" | "job">;

/** Its status may have been written in the meantime. */
const latest = ({ context, key, job }: Told): Job => context.informers.jobs.store.get(key) ?? job;

/** Never throws. */
const tellOf = (turn: Told, failure: Failure): Promise<void> =>
  writeFailure({ ...turn, job: latest(turn) }, failure).catch(() => undefined);

async function reconcile(
  context: JobContext,
  key: string,
  turn: Turn | undefined,
  signal: AbortSignal,
): Promise<Settled> {
  const isPresent = turn !== undefined && !turn.job.deleting;
  const cancelled = await cancelDeleted({ context, key, signal }, isPresent ? turn.uid : undefined);
  if (turn === undefined) return cancelled;
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
  for (const phase of phases) {
    const outcome = await phase(turn);
    if (outcome) return outcome;
  }
  return done();
}

/**
 * What is known of the job is written all the same, with the failure where it is news. Never throws: the first error is
 * the one to act on.
 */
async function tellFailure(turn: Turn, error: unknown): Promise<void> {
  const failure = failureOf(turn.job, error);
  turn.failure = failure;
  turn.stopWaiting();
  if (turn.view !== undefined && !turn.isBehind) {
    const isWritten = await report(turn).then(
      () => true,
      () => false,
    );
    if (isWritten) return;
  }
  if (failure !== undefined) await tellOf(turn, failure);
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
  if (rejection && isKnown && !isForUser(rejection))
    throw new Error(`cannot adopt ${key} yet: ${rejection.message}`);
  if (rejection && isHeldBack(rejection)) {
    turn.failure = { ...rejection, isFinal: false };
    return requeueAfter(heldBackSeconds(rejection, job, context.clock.now()));
  }
  if (rejection) {
    const patience = context.arrivals.secondsLeft(job.uid, rejection.reason);
    if (job.status.state === undefined && patience > 0) return requeueAfter(patience + 0.05);
    turn.rejection = rejection;
    return requeueAfter(recheckSeconds(job, context.clock.now()));
  }
  if (!isKnown)
    tell(turn, "Normal", "Queued", "Queue", `waits in the queue of pool ${job.spec.pool}`);
  context.scheduler.wake(job.spec.pool);
  return rowChanged;
}

/** A job whose configuration is gone can never start. */
async function cancelExpunged(turn: Turn): Promise<Settled | undefined> {
  const { context, view } = turn;
  if (view?.expunged === undefined || !["pending", "evicted", "reserved"].includes(view.status))
    return undefined;
  const reason = "ContentExpunged";
  await cancelJob(context.db, { id: view.id, reason, message: view.expunged });
  tell(turn, "Warning", reason, "Cancel", view.expunged);
  context.scheduler.wake(view.pool);
  return rowChanged;
}

const hasClass = (view: JobView, { name, value, preemptionPolicy }: ClassInEffect): boolean =>
  view.priorityClass === name &&
  view.priority === value &&
  view.preempts === (preemptionPolicy === "PreemptLowerPriority");

/** Not a matter of time: the job waits, has nothing to lose, and its user has to change it. */
const isForUser = ({ reason }: Rejection): boolean =>
  ["InvalidValue", "PriorityClassNotAllowed", "PriorityClassNotFound"].includes(reason);

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
 * may have been created anew, and the default class or the project's list may have changed: a job whose class is not
 * allowed keeps its priority, and stays out of the queue.
 */
async function followSpec(turn: Turn): Promise<Settled | undefined> {
  const { context, job, view, project } = turn;
  if (view === undefined || view.finishedAt !== undefined) return undefined;
  const judged = judgeQueuedClass(context, job, project, view);
  turn.rejection = judged !== undefined && "reason" in judged ? judged : undefined;
  // Without its project nobody can say whether the class is allowed: what is kept out of the queue stays out.
  const isHeld = project === undefined ? view.suspended : turn.rejection !== undefined;
  const suspended = job.spec.suspend || isHeld;
  let changed = false;
  if (suspended !== view.suspended) {
    await setSuspended(context.db, { id: view.id, suspended });
    if (turn.rejection === undefined) tellSuspended(turn);
    changed = true;
  }
  if (judged !== undefined && !("reason" in judged) && !hasClass(view, judged)) {
    await setPriority(context.db, {
      id: view.id,
      priorityClass: judged.name,
      priority: judged.value,
      preempts: judged.preemptionPolicy === "PreemptLowerPriority",
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
  const { view, rejection, job, failure, blockedBy } = turn;
  turn.stopWaiting();
  if (view !== undefined)
    return writeJobStatus({ ...turn, view }, { blockedBy, rejection, failure });
  if (job.status.finishedAt !== undefined) await keepStatus(turn);
  else if (job.deleting) await (wasQueued(job) ? keepStatus(turn) : writeDeleted(turn));
  else if (rejection !== undefined) await writeRejection(turn, rejection);
  else if (failure !== undefined) await writeFailure(turn, failure);
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
