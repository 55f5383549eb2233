/**
 * Takes jobs over as the cluster has them when the database does not know them, or knows them as they were before: its
 * content was lost, or a backup restored. Pods that run keep running and are not started twice, attempts go on counting.
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
 * Where the job stands, on the word of the API server, whose answer the caches may not know yet. Undefined while pods
 * have to leave first: their space must not be given away before.
 */
export async function observedNow(
  call: JobCall & Pick<Submitted, "job">,
): Promise<ObservedState | undefined> {
  const { job } = call;
  // Pods are announced by the status: a job that never had an attempt has none.
  const hasPods = (job.status.attempt ?? 0) > 0;
  const pods = hasPods ? await podsNow(call) : [];
  const observed = observedStateOf(job, pods);
  const isLive = isLiveStatus(observed.status);
  const leaving = pods.filter((pod) => !isLive || pod.attempt !== observed.attempt);
  return (await stopPods(call, leaving)) > 0 ? undefined : observed;
}

/** Throws RotaError NodeNotFound until the pods' nodes are mirrored. */
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

/** What an attempt of long ago held is given back before the job takes what it has now: others wait for it, too. */
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
 * Brings a row that lags behind the cluster to where its job is. Undefined when it does not lag. The row is read after
 * the status, so that one that another has moved on meanwhile is not taken for an old one; and every write is fenced on it.
 * Throws RotaError NodeNotFound, and NodeOvercommitted until other jobs' rows have given back what they have not any more.
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
