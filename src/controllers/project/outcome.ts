/** What came of one part of a project, when it is not as specified. */
import type { ProjectReason } from "../../api/reasons.ts";
import { KubeError } from "../../kube/errors.ts";

export interface Outcome {
  readonly isReady: boolean;
  readonly reason: ProjectReason;
  readonly message: string;
}

export const rejected = (reason: ProjectReason, message: string): Outcome => ({
  isReady: false,
  reason,
  message,
});

export const asSpecified: Outcome = {
  isReady: true,
  reason: "Ready",
  message: "the namespace, roles and storages are as specified",
};

/** Refusals that another try does not change: bad request, forbidden (a quota, an admission policy), invalid. */
const finalStatuses: ReadonlySet<number> = new Set([400, 403, 422]);

/** The API server's refusal in its own words; anything else is thrown, to be tried again. */
export function rejectionOfCluster(error: unknown, what: string): Outcome {
  if (!(error instanceof KubeError) || !finalStatuses.has(error.status)) throw error;
  return rejected("ClusterRejected", `${what}: ${error.explanation}`);
}
