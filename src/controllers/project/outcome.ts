/** The result for one part of a project that is not as specified. */
import type { projectTable } from "../../api/conditions.ts";
import { isConflict, isNotFound, KubeError } from "../../kube/errors.ts";
import { errorText } from "../../runtime/logger.ts";

export interface Outcome {
  readonly reason: keyof typeof projectTable;
  readonly message: string;
}

/** The part is refused or waits for another object; the table of conditions has the health for each reason. */
export const outcome = (reason: Outcome["reason"], message: string): Outcome => ({
  reason,
  message,
});

/** @param missingClasses names in spec.priorityClasses that no PriorityClass has */
export function asSpecified(missingClasses: readonly string[]): Outcome {
  const message = "the namespace, roles and storages are as specified";
  if (missingClasses.length === 0) return { reason: "Ready", message };
  const names = missingClasses.map((name) => `"${name}"`).join(", ");
  const hint = `spec.priorityClasses names PriorityClasses that do not exist: ${names}`;
  return { reason: "Ready", message: `${message}; ${hint}` };
}

/** Errors that a retry does not change: bad request, forbidden (a quota, an admission policy), invalid. */
const finalStatuses: ReadonlySet<number> = new Set([400, 403, 422]);

/**
 * Whether the fence on our own account refused: what we write is within it, so the API server has not seen the label of a
 * namespace that was adopted a moment ago.
 */
const isFenced = (error: unknown): boolean =>
  error instanceof KubeError && error.explanation.includes("'rota-fence-");

/** Of the moment: the object is gone or has changed, and its event is on the way, or the fence is a moment behind. */
export const isStale = (error: unknown): boolean =>
  isNotFound(error) || isConflict(error) || isFenced(error);

/** The outcome for a refusal, with the API server's message. Throws all other errors, to be retried. */
export function rejectionOfCluster(error: unknown, what: string): Outcome {
  if (isStale(error)) throw error;
  if (!(error instanceof KubeError))
    return outcome("ReconcileFailed", `${what}: ${errorText(error)}; Rota retries`);
  if (finalStatuses.has(error.status))
    return outcome("ClusterRejected", `${what}: ${error.explanation}`);
  return outcome("ReconcileFailed", `${what}: ${error.message}; Rota retries`);
}

/** One part of a project: what goes wrong in it is its outcome, and keeps no other part from being made. */
export async function part(what: string, work: () => Promise<void>): Promise<Outcome | undefined> {
  try {
    await work();
    return undefined;
  } catch (error) {
    return rejectionOfCluster(error, what);
  }
}
