import { backoffSeconds } from "../runtime/backoff.ts";
import { isDisruptionBudget } from "./errors.ts";
import type { KubeError } from "./errors.ts";
import { codeOf } from "./error-response.ts";

const backoff = { baseSeconds: 0.1, maxSeconds: 5 };

/** Errors that occur before any byte of the request is sent. */
const neverSent = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
]);

/**
 * Seconds to wait before the next attempt; undefined if there must be none. Idempotent calls (reads, apply, merge patch,
 * delete with preconditions) may be sent twice; others (create, evict) only if the first certainly had no effect.
 */
export function retryDelaySeconds(
  error: KubeError,
  idempotent: boolean,
  attempts: number,
): number | undefined {
  if (!mayRepeat(error, idempotent)) return undefined;
  const ownSeconds = backoffSeconds(attempts, backoff);
  return Math.max(ownSeconds, error.retryAfterSeconds ?? 0);
}

function mayRepeat(error: KubeError, idempotent: boolean): boolean {
  // A budget allows evictions again when pods become ready, not on a retry; the caller must know about the rejection.
  if (isDisruptionBudget(error)) return false;
  // Rejected by priority and fairness, or by a server that starts or stops: nothing was executed.
  if (error.status === 429) return true;
  if (error.status === 0) return mayRepeatUnanswered(error, idempotent);
  return idempotent && [500, 502, 503, 504].includes(error.status);
}

function mayRepeatUnanswered(error: KubeError, idempotent: boolean): boolean {
  if (error.reason !== "Unreachable" && error.reason !== "Timeout") return false;
  return idempotent || neverSent.has(codeOf(error.cause));
}
