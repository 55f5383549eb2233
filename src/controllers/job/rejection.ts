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
 * When to judge a rejected job again, beside changes of what it refers to: after as long as it has been rejected. What
 * nobody fixes costs less and less.
 */
export function recheckSeconds({ status }: Pick<Job, "status">, now: Temporal.Instant): number {
  const stalled = status.conditions?.find(({ type }) => type === "Stalled");
  if (stalled === undefined) return recheck.firstSeconds;
  const age = now.since(Temporal.Instant.from(stalled.lastTransitionTime)).total("seconds");
  return Math.min(recheck.maxSeconds, Math.max(recheck.firstSeconds, age));
}
