/**
 * Head-of-line protection: what frees up on the best nodes of the first blocked job is kept for it, so that small
 * jobs behind it cannot starve it. A second blocked job gets the same only where it competes with no protected one:
 * keeping room for every blocked job would leave the cluster idle.
 */
import type { NodeState, Nodes } from "./nodes.ts";
import { podsThatFit } from "./resources.ts";
import { missingShare } from "./nearest-fit.ts";
import type { Placement, QueuedJob } from "./snapshot.ts";

export class HeadReservation {
  readonly #claimed = new Set<string>();

  /** Keeps room for a blocked job, unless an earlier one is protected on its nodes or it could never fit. */
  protect(job: QueuedJob, nodes: Nodes): boolean {
    const accepting = nodes.accepting(job);
    if (accepting.some((node) => this.#claimed.has(node.name))) return false;
    const placements = bestNodes(job, accepting);
    if (!placements) return false;
    for (const node of accepting) this.#claimed.add(node.name);
    nodes.keep(placements, job.perPod, job.key);
    return true;
  }
}

interface Slot {
  readonly node: NodeState;
  /** Pods that would fit if every other job ended. */
  readonly pods: number;
  /** Pods that fit already, or will when evicted pods have left. */
  readonly fits: number;
  readonly missing: number;
}

const slotOn = (node: NodeState, job: QueuedJob): Slot => ({
  node,
  pods: podsThatFit(node.potential, job.perPod),
  fits: Math.min(podsThatFit(node.future, job.perPod), job.parallelism),
  missing: missingShare(node.future, job.perPod),
});

const nearestFirst = (a: Slot, b: Slot): number => b.fits - a.fits || a.missing - b.missing;

/**
 * The nodes nearest to having room: where most pods fit already, then where the least is missing, then by name, as they
 * come.
 */
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
