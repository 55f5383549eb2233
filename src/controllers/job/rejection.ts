/** Why a job is not queued, and what must change. */
import type { JobReason } from "../../api/reasons.ts";
import type { Job } from "../../resources/types.ts";

export interface Rejection {
  readonly reason: JobReason;
  readonly message: string;
}

/** The message names the field, its value and what would be valid. */
export const refuse = (reason: JobReason, message: string): Rejection => ({ reason, message });

const recheck = { firstSeconds: 30, maxSeconds: 600 };

/**
 * When to judge a job again that is rejected or held back, beside changes of what it refers to: after as long as it has
 * been so. What nobody fixes costs less and less.
 */
export function recheckSeconds({ status }: Pick<Job, "status">, now: Temporal.Instant): number {
  const since = status.conditions?.find(({ type }) => type === "Stalled" || type === "Reconciling");
  if (since === undefined) return recheck.firstSeconds;
  const age = now.since(Temporal.Instant.from(since.lastTransitionTime)).total("seconds");
  return Math.min(recheck.maxSeconds, Math.max(recheck.firstSeconds, age));
}
