/** Facts about a job's gang, from its row and its pods. Pure. */
import { hasFinished } from "../../resources/types.ts";
import type { Pod } from "../../resources/types.ts";
import type { JobReconcile } from "./context.ts";

/** A job's row and all its pods. */
type Gang = Pick<JobReconcile, "view" | "pods">;

/** The pods of the current attempt. */
export const ofAttempt = ({ pods, view }: Gang): Pod[] =>
  pods.filter((pod) => pod.attempt === view.attempt);

/** The pod terminated without finishing, or is being deleted. */
export const isLost = (pod: Pod): boolean =>
  !hasFinished(pod) && (pod.deleting || pod.phase === "Failed");

/** How many pods of the gang satisfy the predicate or have finished; finished pods may be gone. */
export function sizeOf(gang: Gang, is: (pod: Pod) => boolean): number {
  const counted = ofAttempt(gang).filter(is);
  return new Set([...gang.view.completed, ...counted.map(({ index }) => index)]).size;
}

/** Whether every pod of the gang satisfies the predicate or has finished; false if a pod is missing. */
export const allAre = (gang: JobReconcile, is: (pod: Pod) => boolean): boolean =>
  sizeOf(gang, is) === gang.job.spec.parallelism;
