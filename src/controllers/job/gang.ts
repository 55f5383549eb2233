/** What a step in the life of a job goes by, and what may be said of its gang. */
import type { JobView } from "../../db/jobs/read.ts";
import { hasFinished } from "../../resources/types.ts";
import type { Job, Pod, Project } from "../../resources/types.ts";
import type { Context } from "../context.ts";
import { podsNow } from "./pods.ts";

export interface GangState {
  readonly context: Context;
  readonly job: Job;
  /** Absent when the namespace's project is gone, or not known yet: then nothing is started. */
  readonly project: Project | undefined;
  readonly view: JobView;
  /** All pods of the job, of any attempt. */
  readonly pods: readonly Pod[];
  readonly signal: AbortSignal;
}

/** A job's row and all its pods. */
type Gang = Pick<GangState, "view" | "pods">;

export const ofAttempt = ({ pods, view }: Gang): Pod[] =>
  pods.filter((pod) => pod.attempt === view.attempt);

export const keyOfJob = ({ job }: GangState): string => `${job.namespace}/${job.name}`;

/** The same with the pods as the API server has them: the cache may not know the latest yet. */
export async function asItIs(gang: GangState): Promise<GangState> {
  const pods = await podsNow(gang.context, keyOfJob(gang), gang.view.id, gang.signal);
  return { ...gang, pods };
}

/** The gang does not have it any more, or will not for long. */
export const isLost = (pod: Pod): boolean =>
  !hasFinished(pod) && (pod.deleting || pod.phase === "Failed");

/** How many of the gang are so, or finished before: those may be gone already. */
export function sizeOf(gang: Gang, is: (pod: Pod) => boolean): number {
  const counted = ofAttempt(gang).filter(is);
  return new Set([...gang.view.completed, ...counted.map(({ index }) => index)]).size;
}

export const allAre = (gang: GangState, is: (pod: Pod) => boolean): boolean =>
  sizeOf(gang, is) === gang.job.spec.parallelism;
