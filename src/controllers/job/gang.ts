/** What may be said of a job's gang, from its row and its pods. Pure. */
import { hasFinished } from "../../resources/types.ts";
import type { Pod } from "../../resources/types.ts";
import type { JobReconcile } from "./context.ts";

/** A job's row and all its pods. */
type Gang = Pick<JobReconcile, "view" | "pods">;

export const ofAttempt = ({ pods, view }: Gang): Pod[] =>
  pods.filter((pod) => pod.attempt === view.attempt);

/** The gang does not have it any more, or will not for long. */
export const isLost = (pod: Pod): boolean =>
  !hasFinished(pod) && (pod.deleting || pod.phase === "Failed");

/** How many of the gang are so, or finished before: those may be gone already. */
export function sizeOf(gang: Gang, is: (pod: Pod) => boolean): number {
  const counted = ofAttempt(gang).filter(is);
  return new Set([...gang.view.completed, ...counted.map(({ index }) => index)]).size;
}

export const allAre = (gang: JobReconcile, is: (pod: Pod) => boolean): boolean =>
  sizeOf(gang, is) === gang.job.spec.parallelism;
