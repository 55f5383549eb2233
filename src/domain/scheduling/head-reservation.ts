/**
 * Head reservation, as in EASY backfill: capacity that is released on the best nodes of the first blocked job is
 * reserved for it, so that small jobs behind it cannot starve it. Another blocked job gets a reservation only if it
 * competes with no earlier one: reserving for every blocked job would leave the cluster idle. Jobs compete where a node
 * accepts both and they ask for the same devices; jobs without devices compete for CPU and memory. A job that waits for
 * cores must not leave one that waits for GPUs without protection.
 */
import type { NodeState, Nodes } from "./nodes.ts";
import { missingShare } from "./nearest-fit.ts";
import { podsOnNode } from "./placement.ts";
import { devicesOf, type Dimension } from "./resources.ts";
import type { Placement, QueuedJob } from "./snapshot.ts";

export class HeadReservation {
  /** By what jobs compete for: the nodes that accept a job with a reservation. */
  readonly #claimed = new Map<Dimension, Set<NodeState>>();

  /** Reserves nodes for a blocked job. Returns false if it competes with an earlier job, or if it could never fit. */
  protect(job: QueuedJob, nodes: Nodes): boolean {
    const accepting = nodes.accepting(job);
    const claims = contestedBy(job).map((dimension) => this.#claimsOf(dimension));
    if (accepting.some((node) => claims.some((claimed) => claimed.has(node)))) return false;
    const placements = bestNodes(job, accepting);
    if (!placements) return false;
    for (const claimed of claims) for (const node of accepting) claimed.add(node);
    nodes.reserve(placements, job.perPod, job.key);
    return true;
  }

  #claimsOf(dimension: Dimension): Set<NodeState> {
    const claimed = this.#claimed.get(dimension) ?? new Set();
    this.#claimed.set(dimension, claimed);
    return claimed;
  }
}

/**
 * Its devices; CPU for a job without any. Disks and huge pages are shared like memory, and each job may have host ports
 * and anti-affinity of its own: then as many jobs would get a reservation.
 */
function contestedBy({ perPod }: QueuedJob): readonly Dimension[] {
  const devices = devicesOf(perPod);
  return devices.length === 0 ? ["cpuMillis"] : devices;
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
