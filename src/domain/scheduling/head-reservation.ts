/**
 * Head reservation, as in EASY backfill: capacity that is released on the best nodes of the first blocked job is
 * reserved for it, so that small jobs behind it cannot starve it. Another blocked job gets a reservation only if it
 * shares no node with an earlier one: reserving for every blocked job would leave the cluster idle.
 */
import type { NodeState, Nodes } from "./nodes.ts";
import { missingShare } from "./nearest-fit.ts";
import { podsOnNode } from "./placement.ts";
import type { Placement, QueuedJob } from "./snapshot.ts";

export class HeadReservation {
  readonly #claimed = new Set<string>();

  /** Reserves nodes for a blocked job. Returns false if an earlier job has its nodes, or if it could never fit. */
  protect(job: QueuedJob, nodes: Nodes): boolean {
    const accepting = nodes.accepting(job);
    if (accepting.some((node) => this.#claimed.has(node.name))) return false;
    const placements = bestNodes(job, accepting);
    if (!placements) return false;
    for (const node of accepting) this.#claimed.add(node.name);
    nodes.reserve(placements, job.perPod, job.key);
    return true;
  }
}

interface Slot {
  readonly node: NodeState;
  /** Pods that would fit if every other job ended. */
  readonly pods: number;
  /** Pods that fit now, or once evicted pods have terminated. */
  readonly fits: number;
  readonly missing: number;
}

const slotOn = (node: NodeState, job: QueuedJob): Slot => ({
  node,
  pods: podsOnNode(node.potential, job),
  fits: Math.min(podsOnNode(node.future, job), job.parallelism),
  missing: missingShare(node.future, job.perPod),
});

const nearestFirst = (a: Slot, b: Slot): number => b.fits - a.fits || a.missing - b.missing;

/** The closest nodes: most pods that already fit, then the smallest missing share, then the name. */
function bestNodes(
  job: QueuedJob,
  accepting: readonly NodeState[],
): readonly Placement[] | undefined {
  const slots = accepting
    .map((node) => slotOn(node, job))
    .filter((slot) => slot.pods > 0)
    .sort(nearestFirst);
  const placements: Placement[] = [];
  let left = job.parallelism;
  for (const slot of slots) {
    if (left === 0) break;
    const pods = Math.min(left, slot.pods);
    placements.push({ node: slot.node.name, pods });
    left -= pods;
  }
  return left === 0 ? placements : undefined;
}
