/** Errors of the HTTP API, as problem+json (RFC 9457). Codes never change their meaning. */
import type { Problem } from "../api/http/schemas.ts";
import { errorRow } from "../db/client/constraint-errors.ts";
import { RotaError } from "../errors.ts";
import { isUnanswered } from "../kube/errors.ts";

export type ProblemCode =
  | "BodyRejected"
  | "CertificateRejected"
  | "Forbidden"
  | "InternalError"
  | "InvalidCursor"
  | "InvalidParameter"
  | "MethodNotAllowed"
  | "NotFound"
  | "Overloaded"
  | "TimedOut"
  | "TokenRejected"
  | "TooManyProjects"
  | "TooManyRequests"
  | "Unauthenticated"
  | "Unavailable";

/** Status and title of each code, for answers and the generated reference. */
export const problems: Readonly<
  Record<ProblemCode, { readonly status: number; readonly title: string }>
> = {
  BodyRejected: { status: 413, title: "Request bodies are not accepted" },
  CertificateRejected: { status: 401, title: "Invalid client certificate" },
  Forbidden: { status: 403, title: "Forbidden" },
  InternalError: { status: 500, title: "Internal error" },
  InvalidCursor: { status: 400, title: "Invalid cursor" },
  InvalidParameter: { status: 400, title: "Invalid parameter" },
  MethodNotAllowed: { status: 405, title: "Method not allowed: the API is read-only" },
  NotFound: { status: 404, title: "Not found" },
  Overloaded: { status: 503, title: "Server busy" },
  TimedOut: { status: 504, title: "Timed out" },
  TokenRejected: { status: 401, title: "Invalid token" },
  TooManyProjects: { status: 403, title: "Too many projects: name a namespace" },
  TooManyRequests: { status: 429, title: "Too many requests" },
  Unauthenticated: { status: 401, title: "Authentication required" },
  Unavailable: { status: 503, title: "A dependency of Rota does not answer" },
};

export class HttpProblem extends Error {
  readonly code: ProblemCode;
  readonly retryAfterSeconds: number | undefined;

  constructor(
    code: ProblemCode,
    detail: string,
    options: ErrorOptions & { readonly retryAfterSeconds?: number } = {},
  ) {
    super(detail, options);
    this.name = "HttpProblem";
    this.code = code;
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}

/** The problems that the error catalogue refers to by status. */
const byStatus = {
  400: "InvalidParameter",
  404: "NotFound",
  500: "InternalError",
  503: "Unavailable",
  504: "TimedOut",
} as const satisfies Readonly<Record<number, ProblemCode>>;

/** The problem to report for an error; details of unexpected errors stay in the log. */
export function problemOf(error: unknown): HttpProblem {
  if (error instanceof HttpProblem) return error;
  if (error instanceof RotaError) {
    const code = byStatus[errorRow(error.code).httpStatus ?? 500];
    const detail = code === "InternalError" ? "see the operator's log" : error.message;
    return new HttpProblem(code, detail, { cause: error });
  }
  if (isUnanswered(error)) {
    return new HttpProblem("Unavailable", "the cluster's API server does not answer the operator", {
      cause: error,
      retryAfterSeconds: 2,
    });
  }
  return new HttpProblem("InternalError", "see the operator's log", { cause: error });
}

export function problemBody({ code, message }: HttpProblem, instance: string): Problem {
  const { status, title } = problems[code];
  return { type: `urn:rota.dev:problem:${code}`, title, status, code, detail: message, instance };
}
