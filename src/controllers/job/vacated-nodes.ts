/**
 * The nodes that a gang has left while others of its pods are still leaving: one pod on a lost node must not keep the room on
 * all the healthy ones.
 */
import { releaseNodes } from "../../db/jobs/attempts.ts";
import type { JobView } from "../../db/jobs/read.ts";
import { hasEnded } from "../../resources/types.ts";
import type { Pod } from "../../resources/types.ts";
import { remember } from "../../runtime/bounded-map.ts";
import type { Clock } from "../../runtime/clock.ts";
import { done, requeueAfter } from "../../runtime/result.ts";
import type { Settled } from "../../runtime/result.ts";
import { rowChanged } from "./context.ts";
import type { JobCall } from "./context.ts";
import { podsOccupyingNow, podsOfJob } from "./pods.ts";

/** Most gangs are gone by then, which saves a read of the API server. */
const pauseSeconds = 2;
/** The oldest are forgotten. */
const maxJobs = 10_000;

/** When each gang's nodes may be looked at again. */
export class VacatedNodes {
  readonly #clock: Clock;
  readonly #lookAtSeconds = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Seconds until the next look; 0: now, and the following one is a pause later. */
  secondsToLook(uid: string): number {
    const now = this.#clock.monotonicSeconds();
    const known = this.#lookAtSeconds.get(uid);
    if (known !== undefined && known > now) return known - now;
    remember(this.#lookAtSeconds, uid, now + pauseSeconds, maxJobs);
    // Long past: of an earlier attempt.
    return known === undefined || now - known > pauseSeconds ? pauseSeconds : 0;
  }
}

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
  const toLook = context.vacatedNodes.secondsToLook(uid);
  if (toLook > 0) return requeueAfter(toLook);
  const occupying = await podsOccupyingNow(call);
  const vacated = nodesWithout(view, occupying);
  if (vacated.length === 0 || occupying.length === 0) return requeueAfter(pauseSeconds);
  if (!(await releaseNodes(context.db, { id: uid, attempt: view.attempt }, vacated))) return done();
  context.scheduler.wake(view.pool);
  return rowChanged;
}
