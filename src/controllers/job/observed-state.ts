/** The state of a job according to its status and pods, for when the database does not know it. Pure. */
import type { JobStatus } from "../../api/generated.ts";
import type { JobView } from "../../db/jobs/read.ts";
import type { JobStage, ObservedState } from "../../db/jobs/recover.ts";
import type { Placement } from "../../domain/scheduling/snapshot.ts";
import { hasEnded } from "../../resources/types.ts";
import type { Job, Pod } from "../../resources/types.ts";

/** Whether the status says that the job was queued before. */
export const wasQueued = (job: Job): boolean => job.status.queuedAt !== undefined;

const liveStates: ReadonlySet<JobStatus["state"]> = new Set(["Starting", "Running", "Evicting"]);

/** Within an attempt a job goes from live to waiting or ended, never back. */
export function stageOf({ status }: Job): JobStage {
  if (status.finishedAt !== undefined) return "ended";
  return liveStates.has(status.state) ? "live" : "waiting";
}

/** Whether the job has pods, or had some when it was deleted: as far as its status tells. */
export const isUnderWay = (job: Job | undefined): boolean =>
  job === undefined || job.deleting || stageOf(job) === "live";

/** Whether a job with this status of its row has or gets pods: starting, running or evicting. */
export const isLiveStatus = (status: string): boolean =>
  ["starting", "running", "evicting"].includes(status);

/**
 * Whether the row is older than the job's status, which was read before the row. Statuses are written from rows, so
 * this is true only if the database was restored to an earlier state.
 */
export function isBehind(view: JobView, job: Job): boolean {
  if (!wasQueued(job) || view.finishedAt !== undefined) return false;
  const stage = stageOf(job);
  const attempt = job.status.attempt ?? 0;
  if (stage === "ended" || attempt > view.attempt) return true;
  return attempt === view.attempt && stage === "waiting" && isLiveStatus(view.status);
}

function placementsOf(pods: readonly Pod[]): Placement[] {
  const byNode = Map.groupBy(pods, (pod) => pod.nodeName);
  return [...byNode].map(([node, own]) => ({ node, pods: own.length }));
}

const instantOf = (text: string | undefined): Temporal.Instant | undefined =>
  text === undefined ? undefined : Temporal.Instant.from(text);

/**
 * The state to restore. A gang with all its pods, ended ones included, continues; the usual reconcile handles its ended
 * pods. An incomplete gang goes back to the queue.
 */
export function observedStateOf(job: Job, pods: readonly Pod[]): ObservedState {
  const { status, spec } = job;
  const { attempt = 0 } = status;
  const stage = stageOf(job);
  const startedAt = instantOf(status.startedAt);
  const common = { attempt, failures: 0, startedAt, placements: [] };
  if (stage === "ended") {
    const outcome = status.state === "Succeeded" ? "succeeded" : "failed";
    return { ...common, status: outcome, finishedAt: instantOf(status.finishedAt) };
  }
  const gang = pods.filter((pod) => pod.attempt === attempt && pod.nodeName !== "");
  const isWhole = new Set(gang.map(({ index }) => index)).size === spec.parallelism;
  if (attempt > 0 && isWhole && (stage === "live" || gang.some((pod) => !hasEnded(pod)))) {
    const isUp = gang.every(({ phase }) => phase !== "Pending");
    return { ...common, status: isUp ? "running" : "starting", placements: placementsOf(gang) };
  }
  return { ...common, status: status.state === "Evicted" ? "evicted" : "pending" };
}

/** The start of the observed state, or the latest time at which it can have started; undefined if unknown. */
export function observedSince(job: Job, observed: ObservedState): Temporal.Instant | undefined {
  if (observed.finishedAt !== undefined) return observed.finishedAt;
  if (isLiveStatus(observed.status)) return observed.startedAt;
  const ready = job.status.conditions?.find(({ type }) => type === "Ready");
  return instantOf(ready?.lastTransitionTime);
}
