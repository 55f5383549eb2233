/** Describes a blocked job for the victim finder. */
import type { Quotas } from "../quota.ts";
import type { Nodes, NodeState } from "../nodes.ts";
import type { VictimRequest } from "../decision.ts";
import { NOTHING, podsThatFit } from "../resources.ts";
import type { Amounts, QueuedJob } from "../snapshot.ts";

/** Whether a resource `byName` lets fewer pods fit than the empty node would hold. */
function isShortByName(node: NodeState, job: QueuedJob, byName: Amounts): boolean {
  const most = Math.min(job.parallelism, podsThatFit(node.capacity, job.perPod));
  return podsThatFit(node.future, { ...NOTHING, byName }) < most;
}

/** Which nodes the finder searches, and the room that it cannot read. */
function placesFor(
  job: QueuedJob,
  nodes: Nodes,
): Pick<VictimRequest, "nodes" | "changed" | "rooms"> {
  const accepting = nodes.accepting(job);
  const { byName } = job.perPod;
  const able =
    byName === undefined
      ? accepting
      : accepting.filter(({ capacity }) => podsThatFit(capacity, { ...NOTHING, byName }) > 0);
  if (byName !== undefined && able.some((node) => isShortByName(node, job, byName)))
    return { rooms: able.map(({ name, future }) => ({ node: name, room: future })), changed: [] };
  const names = able.length < nodes.usable ? { nodes: able.map(({ name }) => name) } : {};
  return { ...names, changed: nodes.changed() };
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
