/** Ended jobs: their pods and the Job itself are deleted after a while, where somebody said after which. */
import { isConflict, isNotFound } from "../../kube/errors.ts";
import { jobs as jobType } from "../../resources/types.ts";
import { requeueAfter, done } from "../../runtime/result.ts";
import type { Settled } from "../../runtime/result.ts";
import type { JobCall, Submitted } from "./context.ts";
import { deleteEnded } from "./pods.ts";

/** Requeues are no longer than this; the next look goes on from there. */
const maxPauseSeconds = 86_400;

async function deleteJob({ context, key, uid, signal }: JobCall): Promise<void> {
  const options = { uid, propagationPolicy: "Background" as const, signal };
  await context.kube.delete(jobType, key, options).catch((error: unknown) => {
    if (!isNotFound(error) && !isConflict(error)) throw error;
  });
}

/** What is due is deleted; looks again when the next thing is. */
export async function expire(ended: Submitted, finishedAt: Temporal.Instant): Promise<Settled> {
  const { context, job, pods } = ended;
  const { finishedJobSeconds, finishedPodSeconds } = context.settings;
  const ageSeconds = context.clock.now().since(finishedAt).total("seconds");
  const ttlSeconds = job.spec.ttlSecondsAfterFinished ?? finishedJobSeconds;
  if (ttlSeconds !== undefined && ageSeconds >= ttlSeconds) {
    await deleteJob(ended);
    return done();
  }
  const waits = [ttlSeconds].flatMap((seconds) => (seconds === undefined ? [] : [seconds]));
  if (finishedPodSeconds !== undefined && pods.length > 0) {
    if (ageSeconds >= finishedPodSeconds) await deleteEnded(ended, pods);
    else waits.push(finishedPodSeconds);
  }
  if (waits.length === 0) return done();
  return requeueAfter(Math.min(Math.min(...waits) - ageSeconds + 0.05, maxPauseSeconds));
}
