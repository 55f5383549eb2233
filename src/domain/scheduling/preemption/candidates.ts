/** Describes a blocked job for the victim finder. */
import type { Quotas } from "../quota.ts";
import type { Nodes, NodeState } from "../nodes.ts";
import type { VictimRequest } from "../decision.ts";
import { missingShare } from "../nearest-fit.ts";
import { limitPerNode, podsOnNode } from "../placement.ts";
import { NOTHING, podsThatFit } from "../resources.ts";
import type { Amounts, QueuedJob } from "../snapshot.ts";

/** Whether a resource `byName` lets fewer pods fit than the empty node would hold. */
function isShortByName(node: NodeState, job: QueuedJob, byName: Amounts): boolean {
  const most = Math.min(job.parallelism, podsOnNode(node.capacity, job));
  return podsThatFit(node.future, { ...NOTHING, byName }) < most;
}

/** Nodes whose room one request names, in addition to those that the gang needs: the finder reads all their jobs. */
const maxRooms = 256;

/** Those that lack the least; of equals the first, by name. */
function nearest(nodes: readonly NodeState[], job: QueuedJob): readonly NodeState[] {
  if (nodes.length <= maxRooms + job.parallelism) return nodes;
  const missing = new Map(nodes.map((node) => [node, missingShare(node.future, job.perPod)]));
  return nodes
    .toSorted((a, b) => (missing.get(a) ?? 0) - (missing.get(b) ?? 0))
    .slice(0, maxRooms + job.parallelism);
}

/**
 * Whether evictions may let another pod of the gang fit on the node. Where nothing but the four fields counts, the finder
 * knows by itself.
 */
function mayGain({ capacity, future }: NodeState, job: QueuedJob): boolean {
  const { byName } = job.perPod;
  const isKnown = byName === undefined && limitPerNode(job) >= job.parallelism;
  return isKnown || podsOnNode(future, job) < podsOnNode(capacity, job);
}

/** Which nodes the finder searches, and the room that it cannot read. */
function placesFor(
  job: QueuedJob,
  nodes: Nodes,
): Pick<VictimRequest, "nodes" | "changed" | "rooms" | "maxPodsPerNode"> {
  const { byName } = job.perPod;
  const able = nodes.accepting(job).filter((node) => mayGain(node, job));
  const limit = limitPerNode(job);
  const short = byName === undefined ? [] : able.filter((node) => isShortByName(node, job, byName));
  const isShort = new Set(short);
  const others = able.filter((node) => !isShort.has(node));
  return {
    ...(others.length < nodes.usable && { nodes: others.map(({ name }) => name) }),
    ...(short.length > 0 && {
      rooms: nearest(short, job).map(({ name, future }) => ({ node: name, room: future })),
    }),
    ...(limit < job.parallelism && { maxPodsPerNode: limit }),
    changed: nodes.changed(),
  };
}

/** The request for a blocked job at the current point of the decision. */
export function victimRequest(job: QueuedJob, nodes: Nodes, quotas: Quotas): VictimRequest {
  const over = job.unplanned ? [] : quotas.over(job);
  const inside = !job.unplanned && over.length === 0;
  return {
    jobId: job.id,
    priority: job.priority,
    perPod: job.perPod,
    parallelism: job.parallelism,
    inside,
    over: over.map((state) => ({
      quotaId: state.quota.id,
      resourceType: state.quota.resourceType,
      excess: state.excess(job),
    })),
    borrows: !inside && job.allowsBorrowing,
    ...placesFor(job, nodes),
  };
}
