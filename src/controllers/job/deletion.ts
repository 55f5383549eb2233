/** Rows of deleted Jobs: their pods are stopped, then they are cancelled. */
import { beginEnding, cancelJob } from "../../db/jobs/attempts.ts";
import { readActiveJobsNamed } from "../../db/jobs/read.ts";
import type { JobView } from "../../db/jobs/read.ts";
import { isNotFound } from "../../kube/errors.ts";
import { splitKey } from "../../kube/resource.ts";
import { hasEnded, jobs as jobType } from "../../resources/types.ts";
import { done, earliest, requeueAfter } from "../../runtime/result.ts";
import type { Settled } from "../../runtime/result.ts";
import type { JobCall } from "./context.ts";
import { whileLeaving } from "./leaving.ts";
import { expectationSeconds, podsOccupyingNow, podsOfJob, stopPods } from "./pods.ts";

const deleted = { reason: "Deleted", message: "the Job was deleted" } as const;

const isRunning = ({ status }: JobView): boolean => status === "starting" || status === "running";

/**
 * Cancels a deleted job once its pods have left their nodes, so that no other job gets the capacity earlier. Pods that
 * the cache never showed send no event when they terminate, so it requeues.
 */
async function cancel(call: JobCall, view: JobView): Promise<Settled> {
  const { context, key, uid } = call;
  const pods = podsOfJob(call);
  if (isRunning(view) && view.ending === undefined && pods.some((pod) => !hasEnded(pod)))
    await beginEnding(
      context.db,
      { id: uid, attempt: view.attempt },
      { ...deleted, counts: false },
      context.settings.reservationSeconds,
    );
  if ((await stopPods(call, pods)) > 0) return whileLeaving(call, view);
  const unseen = await podsOccupyingNow(call);
  if ((await stopPods(call, unseen)) > 0) return requeueAfter(expectationSeconds);
  context.checkpoint("before-cancel");
  await cancelJob(context.db, { id: uid, ...deleted });
  context.counters.attemptEnded(view.pool, "cancelled");
  context.scheduler.wake(view.pool);
  const { namespace = "" } = splitKey(key);
  context.tenants.used(namespace);
  return done();
}

/** Asks the API server: the cache may not have a new job yet that another operator queued. */
async function isDeleted({ context, key, uid, signal }: JobCall): Promise<boolean> {
  try {
    const { metadata } = await context.kube.get(jobType, key, { signal });
    return metadata.uid !== uid || metadata.deletionTimestamp !== undefined;
  } catch (error) {
    if (isNotFound(error)) return true;
    throw error;
  }
}

/**
 * Cancels the jobs with this key that are deleted or being deleted.
 * @param presentUid uid of the Job that exists and is not being deleted
 */
export async function cancelDeleted(
  call: Omit<JobCall, "uid">,
  presentUid: string | undefined,
): Promise<Settled> {
  const { namespace = "", name } = splitKey(call.key);
  const active = await readActiveJobsNamed(call.context.db, namespace, name);
  let result: Settled = done();
  for (const view of active) {
    const one = { ...call, uid: view.id };
    if (view.id !== presentUid && (await isDeleted(one)))
      result = earliest(result, await cancel(one, view));
  }
  return result;
}
