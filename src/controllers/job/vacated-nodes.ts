/**
 * The nodes that a gang has left while others of its pods are still leaving: one pod on a lost node must not keep the room on
 * all the healthy ones.
 */
import { releaseNodes } from "../../db/jobs/attempts.ts";
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

/** Gives back the nodes that the leaving gang no longer uses; its last nodes are given back when the attempt ends. */
export async function releaseVacatedNodes(call: JobCall, view: JobView): Promise<Settled> {
  const { context, uid } = call;
  const cached = podsOfJob(call).filter((pod) => !hasEnded(pod));
  if (nodesWithout(view, cached).length === 0) return done();
  const toLook = context.vacatedClock.secondsToLook(uid, view.attempt);
  if (toLook > 0) return requeueAfter(toLook);
  const occupying = await podsOccupyingNow(call);
  const vacated = nodesWithout(view, occupying);
  if (vacated.length === 0 || occupying.length === 0) return requeueAfter(pauseSeconds);
  if (!(await releaseNodes(context.db, { id: uid, attempt: view.attempt }, vacated))) return done();
  context.scheduler.wake(view.pool);
  return rowChanged;
}
