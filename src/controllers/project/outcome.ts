/** The result for one part of a project that is not as specified. */
import type { projectTable } from "../../api/conditions.ts";
import { KubeError } from "../../kube/errors.ts";

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
export const isFenced = (error: unknown): boolean =>
  error instanceof KubeError && error.explanation.includes("'rota-fence-");

/** The API server's refusal in its own words; anything else is thrown, to be tried again. */
export function rejectionOfCluster(error: unknown, what: string): Outcome {
  const isFinal = error instanceof KubeError && finalStatuses.has(error.status);
  if (!isFinal || isFenced(error)) throw error;
  return outcome("ClusterRejected", `${what}: ${error.explanation}`);
}
