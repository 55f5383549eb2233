/** One reason why the API server rejected an object; `field` is the path of the field, if known. */
export interface ErrorCause {
  readonly reason: string;
  readonly field: string;
  readonly message: string;
}

export interface KubeErrorFields {
  /** HTTP status; 0 without a response. */
  readonly status: number;
  /**
   * metav1.StatusReason ("NotFound", "Conflict", ...), or one of the client without a Status: "Unreachable" (no
   * connection or a broken one), "Timeout" (no response in time), "Overloaded" (the client's limit of waiting calls),
   * "Malformed" (not a response of the API server), "Unknown".
   */
  readonly reason: string;
  readonly verb: string;
  readonly resource: string;
  /** Key of the object; namespace or "" for a collection. */
  readonly name: string;
  /** The message of the API server, if there is one. */
  readonly explanation: string;
  readonly retryAfterSeconds?: number;
  readonly causes?: readonly ErrorCause[];
}

/** A failed call to the API server. Without bodies and headers, which may contain secrets. */
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

/** The object, its kind or its namespace does not exist. */
export const isNotFound = (error: unknown): boolean => isKubeError(error) && error.status === 404;

/** The object changed concurrently, or a precondition (uid, resourceVersion) failed. */
export const isConflict = (error: unknown): boolean =>
  isKubeError(error) && error.status === 409 && error.reason !== "AlreadyExists";

/** An object of this name exists already. */
export const isAlreadyExists = (error: unknown): boolean =>
  isKubeError(error) && error.reason === "AlreadyExists";

/** The object is invalid; `causes` name the fields. */
export const isInvalid = (error: unknown): boolean => isKubeError(error) && error.status === 422;

/** The object is invalid because of this field, and possibly others. */
export const refusesField = (error: unknown, field: string): boolean =>
  isKubeError(error) && error.status === 422 && error.causes.some((cause) => cause.field === field);

/** RBAC, an admission policy or a quota refuses the call. */
export const isForbidden = (error: unknown): boolean => isKubeError(error) && error.status === 403;

/** A resource version or continue token that the API server no longer has. */
export const isExpired = (error: unknown): boolean =>
  isKubeError(error) && (error.status === 410 || error.reason === "Expired");

/** Without a response: the call may or may not have been executed. */
export const isUnanswered = (error: unknown): boolean => isKubeError(error) && error.status === 0;

const budgetPattern = /^The disruption budget (\S+) /;

/** Name of the PodDisruptionBudget that rejected an eviction; undefined if the API server does not name it. */
export function disruptionBudgetOf(error: unknown): string | undefined {
  if (!isDisruptionBudget(error)) return undefined;
  const { causes } = error as KubeError;
  return causes.map(({ message }) => budgetPattern.exec(message)?.[1]).find(Boolean);
}

/** For a pod under several budgets the API server responds with 500, without reason, cause or name. */
const severalBudgets = "more than one PodDisruptionBudget";

/**
 * An eviction that the API server refuses for another reason than a budget: an admission webhook that fails or says no,
 * a policy, a right that Rota lacks.
 */
export const isEvictionRefused = (error: unknown): boolean =>
  isKubeError(error) &&
  error.status >= 400 &&
  error.status !== 401 &&
  !isNotFound(error) &&
  !isConflict(error) &&
  !isDisruptionBudget(error);

/** An eviction rejected by a PodDisruptionBudget: temporarily (429 with this cause), or while the pod is under several. */
export const isDisruptionBudget = (error: unknown): boolean =>
  isKubeError(error) &&
  (error.status === 429
    ? error.causes.some((cause) => cause.reason === "DisruptionBudget")
    : error.status === 500 && error.explanation.includes(severalBudgets));
