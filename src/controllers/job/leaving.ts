/**
 * Gangs whose pods are leaving: when they are due, and the nodes that they have left already. One pod on a lost node must
 * not keep the room on all the healthy ones.
 */
import { noteDeparture, releaseNodes } from "../../db/jobs/attempts.ts";
import type { JobView } from "../../db/jobs/read.ts";
import { hasEnded } from "../../resources/types.ts";
import type { Pod } from "../../resources/types.ts";
import { done, requeueAfter } from "../../runtime/result.ts";
import type { Settled } from "../../runtime/result.ts";
import { rowChanged } from "./context.ts";
import type { JobCall } from "./context.ts";
import { podsOccupyingNow, podsOfJob } from "./pods.ts";
import { pauseSeconds } from "./vacated-clock.ts";

/** Nodes of the job that none of the pods holds; empty if a pod's node is not known. */
function nodesWithout(view: JobView, pods: readonly Pod[]): string[] {
  const held = new Set(pods.map(({ nodeName }) => nodeName));
  if (held.has("")) return [];
  return view.placements.map(({ node }) => node).filter((node) => !held.has(node));
}

/**
 * Until when the scheduler waits for the pods instead of preempting others: noted once the last of them has been asked to
 * leave, and again if a grace period is lowered.
 */
async function noteWhenDue({ context, uid }: JobCall, view: JobView, holding: readonly Pod[]) {
  if (!holding.every(({ deleting }) => deleting)) return;
  const graceSeconds = Math.ceil(Math.max(0, ...holding.map((pod) => pod.graceSeconds)));
  if (graceSeconds >= (view.askedGraceSeconds ?? Number.POSITIVE_INFINITY)) return;
  const { stuckPodSeconds } = context.settings;
  await noteDeparture(
    context.db,
    { id: uid, attempt: view.attempt },
    graceSeconds,
    stuckPodSeconds,
  );
}

/** While pods leave: notes when they are due, and gives back the nodes that the gang no longer uses; its last when the attempt ends. */
export async function whileLeaving(call: JobCall, view: JobView): Promise<Settled> {
  const { context, uid } = call;
  const cached = podsOfJob(call).filter((pod) => !hasEnded(pod));
  await noteWhenDue(call, view, cached);
  if (nodesWithout(view, cached).length === 0) return done();
  const toLook = context.vacatedClock.secondsToLook(uid, view.attempt);
  if (toLook > 0) return requeueAfter(toLook);
  const occupying = await podsOccupyingNow(call);
  const vacated = nodesWithout(view, occupying);
  // Only strays elsewhere hold a node: it keeps its nodes until they are gone, since a live job has some.
  const isEmpty = vacated.length === view.placements.length;
  if (vacated.length === 0 || occupying.length === 0 || isEmpty) return requeueAfter(pauseSeconds);
  if (!(await releaseNodes(context.db, { id: uid, attempt: view.attempt }, vacated))) return done();
  context.scheduler.wake(view.pool);
  return rowChanged;
}
