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

/** What each code is, for answers and the generated reference. */
export const problems: Readonly<
  Record<ProblemCode, { readonly status: number; readonly title: string }>
> = {
  BodyRejected: { status: 413, title: "Requests have no body" },
  CertificateRejected: { status: 401, title: "The client certificate does not prove who you are" },
  Forbidden: { status: 403, title: "You may not see this" },
  InternalError: { status: 500, title: "Something is wrong in Rota" },
  InvalidCursor: { status: 400, title: "The cursor is not one of this list" },
  InvalidParameter: { status: 400, title: "A parameter is not valid" },
  MethodNotAllowed: { status: 405, title: "The API is for reading" },
  NotFound: { status: 404, title: "There is no such thing" },
  Overloaded: { status: 503, title: "Too many questions at once" },
  TimedOut: { status: 504, title: "The answer took too long" },
  TokenRejected: { status: 401, title: "The token does not prove who you are" },
  TooManyProjects: { status: 403, title: "Name a namespace" },
  TooManyRequests: { status: 429, title: "You ask too often" },
  Unauthenticated: { status: 401, title: "Say who you are" },
  Unavailable: { status: 503, title: "Something Rota needs does not answer" },
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
    return new HttpProblem("Unavailable", "the API server does not answer the operator", {
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
