/**
 * Restores jobs from the cluster if the database does not know them or has an earlier state, because its content was
 * lost or a backup was restored. Running pods keep running and are not started twice; attempts continue to count.
 */
import { readJobView } from "../../db/jobs/read.ts";
import type { JobView } from "../../db/jobs/read.ts";
import { releaseReservations } from "../../db/jobs/reservations.ts";
import { adoptJob } from "../../db/jobs/queue.ts";
import type { NewJob } from "../../db/jobs/queue.ts";
import { restoreJob } from "../../db/jobs/recover.ts";
import type { ObservedState } from "../../db/jobs/recover.ts";
import { jobs as jobType } from "../../resources/types.ts";
import { requeueAfter } from "../../runtime/result.ts";
import type { Settled } from "../../runtime/result.ts";
import { rowChanged } from "./context.ts";
import type { JobCall, Submitted } from "./context.ts";
import { podsNow, stopPods, expectationSeconds } from "./pods.ts";
import { isBehind, isLiveStatus, observedStateOf, observedSince } from "./observed-state.ts";

/**
 * The job's state according to the API server, because the cache may be behind. Undefined while pods must terminate
 * first: no other job may get their capacity earlier.
 */
export async function observedNow(
  call: JobCall & Pick<Submitted, "job">,
): Promise<ObservedState | undefined> {
  const { job } = call;
  // The status announces an attempt before its pods are created: without an attempt there are none.
  const hasPods = (job.status.attempt ?? 0) > 0;
  const pods = hasPods ? await podsNow(call) : [];
  const observed = observedStateOf(job, pods);
  const isLive = isLiveStatus(observed.status);
  const leaving = pods.filter((pod) => !isLive || pod.attempt !== observed.attempt);
  return (await stopPods(call, leaving)) > 0 ? undefined : observed;
}

/** Adopts a job that the database lost. Throws RotaError NodeNotFound until the pods' nodes are mirrored. */
export async function adopt(
  { context, key }: JobCall,
  row: NewJob,
  observed: ObservedState,
): Promise<void> {
  await adoptJob(context.db, row, observed);
  context.logger.info("adopted a job missing from the database", {
    job: key,
    status: observed.status,
    attempt: observed.attempt,
  });
}

/**
 * A live row first frees the capacity of its old attempt, which other jobs may wait for; then it takes its current one.
 */
function nextStep(view: JobView, observed: ObservedState): ObservedState {
  if (!isLiveStatus(view.status) || !isLiveStatus(observed.status)) return observed;
  const status = view.status === "evicting" ? "evicted" : "pending";
  return { ...observed, status, attempt: view.attempt, placements: [] };
}

async function giveBackReservations(
  { context: { db } }: JobCall,
  { id, attempt }: JobView,
): Promise<void> {
  const message = "the database was restored to an earlier state";
  await releaseReservations(db, [{ id, attempt, reason: "Restored", message }]);
}

/**
 * Brings a row that lags behind the cluster up to date. Undefined if it does not lag. The row is read after the status,
 * so that a row that another operator has advanced does not look old; every write is fenced on it. Throws RotaError
 * NodeNotFound, and NodeOvercommitted until the rows of other jobs have freed capacity that they no longer use.
 */
export async function catchUp(call: JobCall): Promise<Settled | undefined> {
  const { context, key, uid, signal } = call;
  const job = jobType.project(await context.kube.get(jobType, key, { signal }));
  if (job.uid !== uid || job.deleting) return requeueAfter(expectationSeconds);
  const view = await readJobView(context.db, uid);
  if (view === undefined || !isBehind(view, job)) return undefined;
  if (view.status === "reserved") {
    await giveBackReservations(call, view);
    return rowChanged;
  }
  const observed = await observedNow({ ...call, job });
  if (observed === undefined) return requeueAfter(expectationSeconds);
  const next = nextStep(view, observed);
  const since = observedSince(job, observed) ?? context.clock.now();
  const { reason, message } = next.finishedAt === undefined ? {} : job.status;
  await restoreJob(context.db, view, { ...next, since, reason, message });
  context.logger.warn("the database lagged behind the cluster; restored a job from its pods", {
    job: key,
    from: `${view.status} ${view.attempt}`,
    to: `${next.status} ${next.attempt}`,
  });
  context.scheduler.wake(view.pool);
  return rowChanged;
}
