import { CallTimeoutError, TooManyCallsError } from "./transport.ts";
import type { HttpResponse } from "./transport.ts";
import { KubeError } from "./errors.ts";
import type { ErrorCause } from "./errors.ts";

/** The attempted call, for the error message. */
export interface Attempt {
  readonly verb: string;
  readonly resource: string;
  readonly name: string;
}

/** The fields of metav1.Status that are read. */
interface Status {
  readonly kind?: string;
  readonly code?: number;
  readonly reason?: string;
  readonly message?: string;
  readonly details?: {
    readonly retryAfterSeconds?: number;
    readonly causes?: readonly { reason?: string; field?: string; message?: string }[];
  };
}

const maxExplanation = 1024;

/** The error for a response with a failure status. */
export function errorOfResponse(attempt: Attempt, response: HttpResponse): KubeError {
  const header = Number(response.headers["retry-after"]);
  const headerSeconds = Number.isFinite(header) && header > 0 ? header : undefined;
  return errorOfStatus(attempt, parseStatus(response.text), response.status, headerSeconds);
}

/** The error for a Status in a watch or response body; `undefined` without one. */
export function errorOfStatus(
  attempt: Attempt,
  status: Status | undefined,
  httpStatus?: number,
  retryAfterHeaderSeconds?: number,
): KubeError {
  const retryAfterSeconds = retryAfterHeaderSeconds ?? status?.details?.retryAfterSeconds;
  return new KubeError({
    ...attempt,
    status: httpStatus ?? status?.code ?? 0,
    reason: status?.reason ?? reasonOf(httpStatus),
    explanation: explanationOf(attempt, status),
    causes: attempt.resource === "secrets" ? [] : causesOf(status),
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  });
}

/** The error for a call without a response. */
export function errorWithoutAnswer(attempt: Attempt, error: unknown): KubeError {
  return new KubeError(
    { ...attempt, status: 0, reason: reasonWithoutAnswer(error), explanation: networkText(error) },
    { cause: error },
  );
}

/**
 * Parses the JSON of a response or of a part of it.
 * @throws KubeError "Malformed", without the text: it may contain secrets
 */
export function parseAnswer<T>(attempt: Attempt, text: string): T {
  try {
    const parsed: T = JSON.parse(text);
    return parsed;
  } catch {
    // Without the cause: V8 quotes the text in its message.
    const explanation = "the answer is no JSON";
    throw new KubeError({ ...attempt, status: 0, reason: "Malformed", explanation });
  }
}

function reasonWithoutAnswer(error: unknown): string {
  if (error instanceof CallTimeoutError) return "Timeout";
  if (error instanceof TooManyCallsError) return "Overloaded";
  const code = codeOf(error);
  return code.endsWith("_TIMEOUT") || code === "ETIMEDOUT" ? "Timeout" : "Unreachable";
}

/** The code of an error of Node.js or undici, such as ECONNREFUSED; "" without one. */
export function codeOf(error: unknown): string {
  if (!(error instanceof Error) || !("code" in error)) return "";
  return String(error.code);
}

function networkText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = codeOf(error);
  const text = error.message === "" ? error.name : error.message;
  return code === "" || text.includes(code) ? text : `${text} (${code})`;
}

/** A response without a Status is from a proxy or the priority-and-fairness filter; its body is not shown. */
function parseStatus(text: string): Status | undefined {
  if (!text.startsWith("{")) return undefined;
  try {
    const parsed: Status = JSON.parse(text);
    return parsed.kind === "Status" ? parsed : undefined;
  } catch {
    return undefined;
  }
}

function reasonOf(httpStatus: number | undefined): string {
  if (httpStatus === 401) return "Unauthorized";
  if (httpStatus === 403) return "Forbidden";
  if (httpStatus === 404) return "NotFound";
  if (httpStatus === 429) return "TooManyRequests";
  return "Unknown";
}

/** The rejection of a Secret may quote the rejected value. */
function explanationOf(attempt: Attempt, status: Status | undefined): string {
  const message = status?.message;
  if (message === undefined || message === "") return "the answer has no explanation";
  if (attempt.resource === "secrets") return "message withheld: it may quote a secret";
  return message.length > maxExplanation ? `${message.slice(0, maxExplanation)}…` : message;
}

function causesOf(status: Status | undefined): ErrorCause[] {
  return (status?.details?.causes ?? []).map(({ reason = "", field = "", message = "" }) => ({
    reason,
    field,
    message: message.slice(0, maxExplanation),
  }));
}
