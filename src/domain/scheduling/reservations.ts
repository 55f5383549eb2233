/** Held jobs: started when their victims have left, given back when they wait in vain or may start no more. */
import type { Quotas } from "./quota.ts";
import type { Nodes } from "./nodes.ts";
import { podsThatFit } from "./resources.ts";
import type { ActivateVerdict, ReleaseReason, ReleaseVerdict } from "./decision.ts";
import type { ReservedJob, Snapshot } from "./snapshot.ts";

export function settleReservations(
  snapshot: Snapshot,
  nodes: Nodes,
  quotas: Quotas,
): (ActivateVerdict | ReleaseVerdict)[] {
  nameHolders(snapshot.reserved, nodes);
  return snapshot.reserved.flatMap((job) => {
    const verdict = settle(job, snapshot.nowSeconds, nodes);
    if (verdict?.kind === "release") giveBack(job, nodes, quotas);
    return verdict ?? [];
  });
}

/** Nodes and plans have the room again, for whoever comes next. */
function giveBack(job: ReservedJob, nodes: Nodes, quotas: Quotas): void {
  nodes.giveBack(job.placements, job.perPod);
  quotas.relieve({ ...job, allocations: job.placements });
}

function nameHolders(reserved: readonly ReservedJob[], nodes: Nodes): void {
  for (const job of reserved) {
    for (const { node } of job.placements) nodes.get(node)?.keptFor.push(job.key);
  }
}

function settle(
  job: ReservedJob,
  nowSeconds: number,
  nodes: Nodes,
): ActivateVerdict | ReleaseVerdict | undefined {
  const { id: jobId, attempt, borrowing, placements } = job;
  const lost = placements.find(({ node }) => !nodes.get(node)?.snapshot.schedulable);
  if (lost) {
    const message = `${lost.node}, on which capacity was kept, is gone, not ready or cordoned`;
    return release(job, "NodeUnavailable", message);
  }
  if (borrowing && !job.allowsBorrowing) {
    const message =
      "the plans grant it no longer what was kept for it, and it may not borrow: the capacity was given back";
    return release(job, "QuotaExceeded", message);
  }
  const avoidNodes = occupied(job, nodes);
  if (avoidNodes.length === 0) {
    nodes.startReserved(placements, job.perPod);
    return { kind: "activate", jobId, attempt, borrowing, placements };
  }
  if (nowSeconds < job.expiresAtSeconds) return undefined;
  const message = `the victims on ${avoidNodes.slice(0, 5).join(", ")} did not leave in time; the capacity kept for it was given back`;
  return release(job, "ReservationExpired", message, avoidNodes);
}

const release = (
  { id: jobId, attempt }: ReservedJob,
  reason: ReleaseReason,
  message: string,
  avoidNodes: readonly string[] = [],
): ReleaseVerdict => ({ kind: "release", jobId, attempt, reason, message, avoidNodes });

/** The nodes on which there is no room yet. */
const occupied = (job: ReservedJob, nodes: Nodes): string[] =>
  job.placements
    .filter(({ node, pods }) => {
      const state = nodes.get(node);
      return state === undefined || podsThatFit(state.free, job.perPod) < pods;
    })
    .map(({ node }) => node);
