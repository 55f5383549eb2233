import { backoffSeconds } from "../runtime/backoff.ts";
import { isDisruptionBudget } from "./errors.ts";
import type { KubeError } from "./errors.ts";
import { codeOf } from "./error-response.ts";

/**
 * What may be sent twice. `repeatable` calls have the same effect once or twice (reads, apply, merge patch, delete with
 * preconditions); `once` calls (create, evict) are repeated only when the first certainly had no effect.
 */
export type Safety = "repeatable" | "once";

const backoff = { baseSeconds: 0.1, maxSeconds: 5 };

/** Errors before a byte of the request was sent. */
const neverSent = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
]);

/** How long to wait before call number `attempts + 1`, or undefined when it must not be made. */
export function retryDelaySeconds(
  error: KubeError,
  safety: Safety,
  attempts: number,
): number | undefined {
  if (!mayRepeat(error, safety)) return undefined;
  const ownSeconds = backoffSeconds(attempts, backoff);
  return Math.max(ownSeconds, error.retryAfterSeconds ?? 0);
}

function mayRepeat(error: KubeError, safety: Safety): boolean {
  // A budget gives way when pods come back, not when asked again; and the planner must hear of it.
  if (isDisruptionBudget(error)) return false;
  // Refused by priority and fairness, or a server that is starting or going away: nothing has been done.
  if (error.status === 429) return true;
  if (error.status === 0) return mayRepeatUnanswered(error, safety);
  return safety === "repeatable" && [500, 502, 503, 504].includes(error.status);
}

function mayRepeatUnanswered(error: KubeError, safety: Safety): boolean {
  if (error.reason !== "Unreachable" && error.reason !== "Timeout") return false;
  return safety === "repeatable" || neverSent.has(codeOf(error.cause));
}
