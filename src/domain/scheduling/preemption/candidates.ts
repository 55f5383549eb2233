/** Describes a blocked job for the victim finder. */
import type { Quotas } from "../quota.ts";
import type { Nodes } from "../nodes.ts";
import type { VictimRequest } from "../decision.ts";
import type { QueuedJob } from "../snapshot.ts";

/** The request for a blocked job at the current point of the decision. */
export function victimRequest(job: QueuedJob, nodes: Nodes, quotas: Quotas): VictimRequest {
  const over = job.unplanned ? [] : quotas.over(job);
  const inside = !job.unplanned && over.length === 0;
  const accepting = nodes.accepting(job);
  const names = accepting.length < nodes.usable ? { nodes: accepting.map(({ name }) => name) } : {};
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
    ...names,
    changed: nodes.changed(),
  };
}
