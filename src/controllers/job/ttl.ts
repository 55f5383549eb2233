/** Deletes ended jobs after their TTL, and their pods with them or before. */
import { isConflict, isNotFound } from "../../kube/errors.ts";
import { jobs as jobType } from "../../resources/types.ts";
import { requeueAfter, done } from "../../runtime/result.ts";
import type { Settled } from "../../runtime/result.ts";
import type { JobCall, Submitted } from "./context.ts";
import { deleteEnded } from "./pods.ts";

/** Maximum pause between reconciles; a longer TTL takes several. */
const maxPauseSeconds = 86_400;

async function deleteJob({ context, key, uid, signal }: JobCall): Promise<void> {
  const options = { uid, propagationPolicy: "Background" as const, signal };
  await context.kube.delete(jobType, key, options).catch((error: unknown) => {
    if (!isNotFound(error) && !isConflict(error)) throw error;
  });
}

/** Deletes what is due; requeues for the next deletion. */
export async function expire(ended: Submitted, finishedAt: Temporal.Instant): Promise<Settled> {
  const { context, job, pods } = ended;
  const { finishedJobSeconds, finishedPodSeconds } = context.settings;
  const ageSeconds = context.clock.now().since(finishedAt).total("seconds");
  const ttlSeconds = job.spec.ttlSecondsAfterFinished ?? finishedJobSeconds;
  if (ageSeconds >= ttlSeconds) {
    await deleteJob(ended);
    return done();
  }
  const waits = [ttlSeconds];
  if (finishedPodSeconds !== undefined && pods.length > 0) {
    if (ageSeconds >= finishedPodSeconds) await deleteEnded(ended, pods);
    else waits.push(finishedPodSeconds);
  }
  return requeueAfter(Math.min(Math.min(...waits) - ageSeconds + 0.05, maxPauseSeconds));
}
