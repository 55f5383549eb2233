/**
 * What follows from a start that failed (docs/concepts/life-of-a-job.md). One that failed because of the job itself is tried
 * again after pauses that grow, and at last the job is Failed. One that failed because of a node is tried again on others;
 * three of these in a row count as one of the job's, since then it is hardly the nodes. What the API server refuses for now (a
 * quota, a webhook that is down) is tried again for ever. All of them limit whom the job may evict for its next start.
 */
import type { AttemptEnd } from "../../db/jobs/attempts.ts";
import type { JobView } from "../../db/jobs/read.ts";
import { backoffSeconds } from "../../runtime/backoff.ts";
import type { Settings } from "../../settings/read.ts";

export interface FailedStart {
  readonly failedStarts: number;
  readonly nodeFailures: number;
  /** Seconds until the next start; 0 after the last one. */
  readonly pauseSeconds: number;
  readonly isLast: boolean;
}

/** In a row. */
const nodeFailuresPerStart = 3;
const nodeBackoff = { baseSeconds: 2, maxSeconds: 60 };
const refusalBackoff = { baseSeconds: 20, maxSeconds: 1800 };
/** Multiples of the first pause. */
const pauses = [1, 5, 30, 120];

/** After a start that failed because of the job or a node; undefined if the attempt ended for another reason. */
export function failedStartOf(
  { failedStarts, nodeFailures }: Pick<JobView, "failedStarts" | "nodeFailures">,
  { failedStart }: Pick<AttemptEnd, "failedStart">,
  { startPauseSeconds, maxFailedStarts }: Pick<Settings, "startPauseSeconds" | "maxFailedStarts">,
): FailedStart | undefined {
  if (failedStart === undefined) return undefined;
  const onNodes = failedStart === "node" ? nodeFailures + 1 : nodeFailures;
  if (failedStart === "node" && onNodes < nodeFailuresPerStart) {
    const pauseSeconds = backoffSeconds(onNodes, nodeBackoff);
    return { failedStarts, nodeFailures: onNodes, pauseSeconds, isLast: false };
  }
  const count = failedStarts + 1;
  if (failedStart === "refused") {
    const pauseSeconds = backoffSeconds(count, refusalBackoff);
    return { failedStarts: count, nodeFailures, pauseSeconds, isLast: false };
  }
  const isLast = count >= maxFailedStarts;
  const multiple = pauses[Math.min(count, pauses.length) - 1] ?? 1;
  const pauseSeconds = isLast ? 0 : multiple * startPauseSeconds;
  return { failedStarts: count, nodeFailures: 0, pauseSeconds, isLast };
}
