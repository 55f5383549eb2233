/** One step of a queued job: compares its row with its pods and changes one or the other. */
import { releaseReservations } from "../../db/jobs/reservations.ts";
import { done } from "../../runtime/result.ts";
import type { Settled } from "../../runtime/result.ts";
import { hasFinished } from "../../resources/types.ts";
import {
  dueIn,
  endGang,
  endIfOver,
  endLost,
  endOverrun,
  isStranded,
  noteCompletions,
  secondsToRun,
  succeed,
  suspended,
} from "./attempt-end.ts";
import { rowChanged } from "./context.ts";
import type { JobReconcile } from "./context.ts";
import { evict, type Progress } from "./eviction.ts";
import { allAre, isLost } from "./gang.ts";
import { isLiveStatus } from "./observed-state.ts";
import { stopPods, withFreshPods } from "./pods.ts";
import { whileStarting } from "./starting.ts";

/** Stops pods of former attempts, or all pods if the job is not live. Returns how many still hold their node. */
export async function stopStrays(gang: JobReconcile): Promise<number> {
  const isLive = isLiveStatus(gang.view.status);
  const strays = isLive ? gang.pods.filter((pod) => pod.attempt !== gang.view.attempt) : gang.pods;
  return stopPods(gang, strays);
}

const isMissingPods = (gang: JobReconcile): boolean =>
  !allAre(gang, (pod) => !isLost(pod) && !isStranded(gang, pod));

/**
 * If pods seem to be missing, reads them from the API server: another operator, or the previous leader, may have
 * created pods that this cache does not have yet.
 */
async function whileRunning(cached: JobReconcile): Promise<Settled> {
  const gang = isMissingPods(cached) ? await withFreshPods(cached) : cached;
  const ended = await endIfOver(gang);
  if (ended) return ended;
  if (isMissingPods(gang)) return endLost(gang);
  await noteCompletions(gang);
  const left = secondsToRun(gang);
  if (left <= 0) return endOverrun(gang);
  return dueIn(left);
}

/** Releases the reservation of a suspended job: it would not start when its victims have terminated. */
async function whileReserved({ context, view }: JobReconcile): Promise<Settled> {
  if (!view.suspended) return done();
  const { reason, message } = suspended;
  const fence = { id: view.id, attempt: view.attempt };
  await releaseReservations(context.db, [{ ...fence, reason, message }]);
  context.scheduler.wake(view.pool);
  return rowChanged;
}

async function whileNotEvicting(gang: JobReconcile): Promise<Settled> {
  const { status, ending } = gang.view;
  switch (status) {
    case "reserved":
      return whileReserved(gang);
    case "starting":
      return ending ? endGang(gang, ending) : whileStarting(gang);
    case "running":
      return ending ? endGang(gang, ending) : whileRunning(gang);
    default:
      return done();
  }
}

/** Advances the job by one step. Throws errors of the database and the API server, to be retried. */
export async function advance(gang: JobReconcile): Promise<Progress> {
  await stopStrays(gang);
  if (gang.view.status !== "evicting") return { result: await whileNotEvicting(gang) };
  if (allAre(gang, hasFinished)) return { result: await succeed(gang) };
  return evict(gang);
}
