/**
 * Takes jobs over as the cluster has them when the database does not know them: its content was lost. Pods that run
 * keep running and are not started twice, attempts go on counting. Ended jobs stay ended without a row.
 */
import { adoptJob } from "../../db/queue.ts";
import type { NewJob, Standing } from "../../db/queue.ts";
import type { Placement } from "../../domain/scheduling/types.ts";
import { hasEnded } from "../../resources/types.ts";
import type { Job, Pod } from "../../resources/types.ts";
import type { Context } from "../context.ts";
import { podsOfJob } from "./pods.ts";

/** Whether the job's status says that it was queued before. */
export const wasQueued = (job: Job): boolean => job.status.queuedAt !== undefined;

function placementsOf(pods: readonly Pod[]): Placement[] {
  const byNode = Map.groupBy(pods, (pod) => pod.nodeName);
  return [...byNode].map(([node, own]) => ({ node, pods: own.length }));
}

/** Where the job stands by its status and its pods. A gang that is not whole goes back to the queue. */
export function standingOf(job: Job, pods: readonly Pod[]): Standing {
  const { status, spec } = job;
  const attempt = status.attempt ?? 0;
  const startedAt =
    status.startedAt === undefined ? undefined : Temporal.Instant.from(status.startedAt);
  const common = { attempt, failures: 0, startedAt };
  const gang = pods.filter((pod) => pod.attempt === attempt && !hasEnded(pod));
  const isWhole = gang.length === spec.parallelism && gang.every(({ nodeName }) => nodeName !== "");
  if (isWhole && attempt > 0) {
    const isUp = gang.every(({ phase }) => phase === "Running");
    return { ...common, status: isUp ? "running" : "starting", placements: placementsOf(gang) };
  }
  return { ...common, status: status.state === "Evicted" ? "evicted" : "pending", placements: [] };
}

/** Throws RotaError NodeUnknown until the pods' nodes are mirrored. */
export async function adopt(context: Context, job: Job, row: NewJob): Promise<void> {
  const standing = standingOf(job, podsOfJob(context, `${job.namespace}/${job.name}`, job.uid));
  await adoptJob(context.db, row, standing);
  context.logger.info("adopted a job that the database did not know", {
    job: `${job.namespace}/${job.name}`,
    status: standing.status,
    attempt: standing.attempt,
  });
}
