/**
 * Takes jobs over as the cluster has them when the database does not know them, or knows them as they were before: its
 * content was lost, or a backup restored. Pods that run keep running and are not started twice, attempts go on counting.
 */
import { readJobView } from "../../db/job-view.ts";
import type { JobView } from "../../db/job-view.ts";
import { releaseHolds } from "../../db/holds.ts";
import { adoptJob } from "../../db/queue.ts";
import type { NewJob } from "../../db/queue.ts";
import { restateJob } from "../../db/standing.ts";
import type { Standing } from "../../db/standing.ts";
import { jobs as jobType } from "../../resources/types.ts";
import type { Job } from "../../resources/types.ts";
import { again } from "../../runtime/reconcile.ts";
import type { ReconcileResult } from "../../runtime/reconcile.ts";
import type { Context } from "../context.ts";
import { podsNow, stopPods, unseenPodsSeconds } from "./pods.ts";
import { isBehind, isLiveStatus, standingOf, standingSince } from "./standing.ts";

/**
 * Where the job stands, on the word of the API server, whose answer the caches may not know yet. Undefined while pods
 * have to leave first: their space must not be given away before.
 */
export async function standingNow(
  context: Context,
  job: Job,
  signal: AbortSignal,
): Promise<Standing | undefined> {
  // Pods are announced by the status: a job that never had an attempt has none.
  const hasPods = (job.status.attempt ?? 0) > 0;
  const key = `${job.namespace}/${job.name}`;
  const pods = hasPods ? await podsNow(context, key, job.uid, signal) : [];
  const standing = standingOf(job, pods);
  const isLive = isLiveStatus(standing.status);
  const leaving = pods.filter((pod) => !isLive || pod.attempt !== standing.attempt);
  return (await stopPods(context, leaving, signal)) > 0 ? undefined : standing;
}

/** Throws RotaError NodeUnknown until the pods' nodes are mirrored. */
export async function adopt(
  context: Context,
  job: Job,
  row: NewJob,
  standing: Standing,
): Promise<void> {
  await adoptJob(context.db, row, standing);
  context.logger.info("adopted a job that the database did not know", {
    job: `${job.namespace}/${job.name}`,
    status: standing.status,
    attempt: standing.attempt,
  });
}

/** What an attempt of long ago held is given back before the job takes what it has now: others wait for it, too. */
function nextStep(view: JobView, standing: Standing): Standing {
  if (!isLiveStatus(view.status) || !isLiveStatus(standing.status)) return standing;
  const status = view.status === "evicting" ? "evicted" : "pending";
  return { ...standing, status, attempt: view.attempt, placements: [] };
}

async function giveBackHolds({ db }: Context, { id, attempt }: JobView): Promise<void> {
  const message = "the database was brought back to an earlier state";
  await releaseHolds(db, [{ id, attempt, reason: "Restored", message }]);
}

/**
 * Brings a row that lags behind the cluster to where its job is. Undefined when it does not lag. The row is read after
 * the status, so that one that another has moved on meanwhile is not taken for an old one; and every write is fenced on it.
 * Throws RotaError NodeUnknown, and NodeOvercommitted until other jobs' rows have given back what they have not any more.
 */
export async function catchUp(
  context: Context,
  key: string,
  jobUid: string,
  signal: AbortSignal,
): Promise<ReconcileResult | undefined> {
  const job = jobType.project(await context.kube.get(jobType, key, { signal }));
  if (job.uid !== jobUid || job.deleting) return again(unseenPodsSeconds);
  const view = await readJobView(context.db, jobUid);
  if (view === undefined || !isBehind(view, job)) return undefined;
  if (view.status === "held") {
    await giveBackHolds(context, view);
    return again(0);
  }
  const standing = await standingNow(context, job, signal);
  if (standing === undefined) return again(unseenPodsSeconds);
  const next = nextStep(view, standing);
  const since = standingSince(job, standing) ?? context.clock.now();
  const { reason, message } = next.finishedAt === undefined ? {} : job.status;
  await restateJob(context.db, view, { ...next, since, reason, message });
  context.logger.warn("the database lagged behind the cluster: a job is where its pods are", {
    job: key,
    from: `${view.status} ${view.attempt}`,
    to: `${next.status} ${next.attempt}`,
  });
  context.scheduler.wake(view.pool);
  return again(0);
}
