/** One reason the API server gave for refusing an object: `field` is a path in it, as far as known. */
export interface ErrorCause {
  readonly reason: string;
  readonly field: string;
  readonly message: string;
}

export interface KubeErrorFields {
  /** HTTP status, or 0 when no answer came. */
  readonly status: number;
  /**
   * metav1.StatusReason ("NotFound", "Conflict", ...), or our own when there was no Status: "Unreachable" (no connection,
   * or one that broke), "Timeout" (no answer in time), "Overloaded" (our own limit on waiting calls), "Malformed" (an
   * answer that is not the API server's), "Unknown".
   */
  readonly reason: string;
  readonly verb: string;
  readonly resource: string;
  /** The object's key, its namespace or "" for a collection. */
  readonly name: string;
  /** What went wrong, in the API server's words where it gave any. */
  readonly explanation: string;
  readonly retryAfterSeconds?: number;
  readonly causes?: readonly ErrorCause[];
}

/** A call to the API server that failed. Carries no body and no header: they may hold secrets. */
export class KubeError extends Error {
  override readonly name = "KubeError";
  readonly status: number;
  readonly reason: string;
  readonly verb: string;
  readonly resource: string;
  readonly objectName: string;
  readonly explanation: string;
  readonly retryAfterSeconds: number | undefined;
  readonly causes: readonly ErrorCause[];

  constructor(fields: KubeErrorFields, options?: ErrorOptions) {
    const subject = [fields.resource, fields.name].filter((word) => word !== "").join(" ");
    const status = fields.status === 0 ? fields.reason : `${fields.status} ${fields.reason}`;
    super(`${fields.verb} ${subject}: ${status}: ${fields.explanation}`, options);
    this.status = fields.status;
    this.reason = fields.reason;
    this.verb = fields.verb;
    this.resource = fields.resource;
    this.objectName = fields.name;
    this.explanation = fields.explanation;
    this.retryAfterSeconds = fields.retryAfterSeconds;
    this.causes = fields.causes ?? [];
  }
}

const isKubeError = (error: unknown): error is KubeError => error instanceof KubeError;

export const isNotFound = (error: unknown): boolean => isKubeError(error) && error.status === 404;

/** The object changed meanwhile, or a precondition (uid, resourceVersion) failed. */
export const isConflict = (error: unknown): boolean =>
  isKubeError(error) && error.status === 409 && error.reason !== "AlreadyExists";

export const isAlreadyExists = (error: unknown): boolean =>
  isKubeError(error) && error.reason === "AlreadyExists";

/** The object is not valid; `causes` say which fields. */
export const isInvalid = (error: unknown): boolean => isKubeError(error) && error.status === 422;

/** The object is not valid because of this field, among others perhaps. */
export const refusesField = (error: unknown, field: string): boolean =>
  isKubeError(error) && error.status === 422 && error.causes.some((cause) => cause.field === field);

export const isForbidden = (error: unknown): boolean => isKubeError(error) && error.status === 403;

export const isTooManyRequests = (error: unknown): boolean =>
  isKubeError(error) && error.status === 429;

/** A resource version or continue token that the API server no longer has. */
export const isExpired = (error: unknown): boolean =>
  isKubeError(error) && (error.status === 410 || error.reason === "Expired");

/** No answer came: the call may or may not have had its effect. */
export const isUnanswered = (error: unknown): boolean => isKubeError(error) && error.status === 0;

const budgetPattern = /^The disruption budget (\S+) /;

/** Name of the PodDisruptionBudget that refused an eviction; undefined where the API server does not name one. */
export function disruptionBudgetOf(error: unknown): string | undefined {
  if (!isDisruptionBudget(error)) return undefined;
  const { causes } = error as KubeError;
  return causes.map(({ message }) => budgetPattern.exec(message)?.[1]).find(Boolean);
}

/** Of a pod under several budgets the API server answers 500, without a reason or a cause, and names none of them. */
const severalBudgets = "more than one PodDisruptionBudget";

/** An eviction refused by a PodDisruptionBudget: for now (429 with this cause), or as long as the pod is under several. */
export const isDisruptionBudget = (error: unknown): boolean =>
  isKubeError(error) &&
  (error.status === 429
    ? error.causes.some((cause) => cause.reason === "DisruptionBudget")
    : error.status === 500 && error.explanation.includes(severalBudgets));
