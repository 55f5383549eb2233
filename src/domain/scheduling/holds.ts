/** Held jobs: started when their victims have left, given back when they wait in vain. */
import type { Nodes } from "./nodes.ts";
import { podsThatFit } from "./resources.ts";
import type { ActivateVerdict, HeldJob, ReleaseVerdict, Snapshot } from "./types.ts";

export function settleHolds(
  snapshot: Snapshot,
  nodes: Nodes,
): (ActivateVerdict | ReleaseVerdict)[] {
  nameHolders(snapshot.held, nodes);
  return snapshot.held.flatMap((job) => settle(job, snapshot.nowSeconds, nodes) ?? []);
}

function nameHolders(held: readonly HeldJob[], nodes: Nodes): void {
  for (const job of held) {
    for (const { node } of job.placements) nodes.get(node)?.keptFor.push(job.key);
  }
}

function settle(
  job: HeldJob,
  nowSeconds: number,
  nodes: Nodes,
): ActivateVerdict | ReleaseVerdict | undefined {
  const lost = job.placements.find(({ node }) => !nodes.get(node)?.snapshot.schedulable);
  if (lost) {
    nodes.giveBack(job.placements, job.perPod);
    const message = `${lost.node}, on which capacity was kept, is gone, not ready or cordoned`;
    return {
      kind: "release",
      jobId: job.id,
      attempt: job.attempt,
      reason: "NodeUnavailable",
      message,
    };
  }
  if (isFree(job, nodes)) {
    nodes.startHeld(job.placements, job.perPod);
    const { id: jobId, attempt, borrowing, placements } = job;
    return { kind: "activate", jobId, attempt, borrowing, placements };
  }
  if (nowSeconds < job.expiresAtSeconds) return undefined;
  nodes.giveBack(job.placements, job.perPod);
  const message = "the victims did not leave in time; the capacity kept for it was given back";
  return { kind: "release", jobId: job.id, attempt: job.attempt, reason: "HoldExpired", message };
}

const isFree = (job: HeldJob, nodes: Nodes): boolean =>
  job.placements.every(({ node, pods }) => {
    const state = nodes.get(node);
    return state !== undefined && podsThatFit(state.free, job.perPod) >= pods;
  });
