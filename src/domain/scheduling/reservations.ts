/** Reserved jobs: started once their victims have terminated, released when they expire or may no longer start. */
import type { NamespaceQuotas } from "./namespace-quotas.ts";
import { podsOf, type Quotas } from "./quota.ts";
import type { Nodes } from "./nodes.ts";
import { podsThatFit } from "./resources.ts";
import type { ActivateVerdict, ReleaseReason, ReleaseVerdict } from "./decision.ts";
import type { ReservedJob, Snapshot } from "./snapshot.ts";

/** Verdicts for reserved jobs that start or lose their reservation; updates nodes and quotas accordingly. */
export function settleReservations(
  snapshot: Snapshot,
  nodes: Nodes,
  quotas: Quotas,
  namespaceQuotas: NamespaceQuotas,
): (ActivateVerdict | ReleaseVerdict)[] {
  nameReservations(snapshot.reserved, nodes);
  return snapshot.reserved.flatMap((job) => {
    const refusal = namespaceQuotas.refusal(job, gangOf(job));
    const verdict = settle(job, snapshot.nowSeconds, nodes, refusal);
    if (verdict?.kind === "release") {
      releaseCapacity(job, nodes, quotas);
      namespaceQuotas.charge(job, -gangOf(job));
    }
    return verdict ?? [];
  });
}

/** Returns the reserved capacity and quota for the jobs decided next. */
function releaseCapacity(job: ReservedJob, nodes: Nodes, quotas: Quotas): void {
  nodes.release(job.placements, job.perPod);
  quotas.relieve({ ...job, allocations: job.placements });
}

function nameReservations(reserved: readonly ReservedJob[], nodes: Nodes): void {
  for (const job of reserved) {
    for (const { node } of job.placements) nodes.get(node)?.reservedFor.push(job.key);
  }
}

const gangOf = ({ placements }: ReservedJob): number => podsOf({ allocations: placements });

/** @param refusal why its namespace's ResourceQuotas have no room for it any more */
function settle(
  job: ReservedJob,
  nowSeconds: number,
  nodes: Nodes,
  refusal: string | undefined,
): ActivateVerdict | ReleaseVerdict | undefined {
  const { id: jobId, attempt, borrowing, placements } = job;
  const lost = placements.find(({ node }) => !nodes.get(node)?.snapshot.schedulable);
  if (lost) {
    const message = `reservation released: node ${lost.node} is gone, cordoned or not ready`;
    return release(job, "NodeUnavailable", message);
  }
  if (borrowing && !job.allowsBorrowing) {
    const message =
      "reservation released: the plan no longer covers this job and it may not borrow";
    return release(job, "QuotaExceeded", message);
  }
  if (refusal !== undefined)
    return release(job, "QuotaExceeded", `reservation released: ${refusal}`);
  const avoidNodes = occupiedNodes(job, nodes);
  if (avoidNodes.length === 0) {
    nodes.startReserved(placements, job.perPod);
    return { kind: "activate", jobId, attempt, borrowing, placements };
  }
  if (nowSeconds < job.expiresAtSeconds) return undefined;
  const message = `reservation released: victims on ${avoidNodes.slice(0, 5).join(", ")} did not terminate in time`;
  return release(job, "ReservationExpired", message, avoidNodes);
}

const release = (
  { id: jobId, attempt }: ReservedJob,
  reason: ReleaseReason,
  message: string,
  avoidNodes: readonly string[] = [],
): ReleaseVerdict => ({ kind: "release", jobId, attempt, reason, message, avoidNodes });

/** The nodes on which the reserved pods do not fit yet. */
const occupiedNodes = (job: ReservedJob, nodes: Nodes): string[] =>
  job.placements
    .filter(({ node, pods }) => {
      const state = nodes.get(node);
      return state === undefined || podsThatFit(state.free, job.perPod) < pods;
    })
    .map(({ node }) => node);
