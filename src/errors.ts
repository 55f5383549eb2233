/** Errors with a stable code for programs and a message for people. The catalogue is src/db/client/constraint-errors.ts. */

/** Codes never change their meaning: conditions, logs, metrics and the HTTP API show them. */
export type ErrorCode =
  | "AllocationInvalid"
  | "AlreadyExists"
  | "CommitLimitExceeded"
  | "ConfigurationImmutable"
  | "ContentExpunged"
  | "DatabaseRefusesLogin"
  | "DatabaseReplaced"
  | "DatabaseTooNew"
  | "DatabaseUnavailable"
  | "ExtensionMissing"
  | "HistoryImmutable"
  | "InternalError"
  | "InvalidConfiguration"
  | "InvalidValue"
  | "InvalidWindow"
  | "JobTransitionRejected"
  | "NodeNotFound"
  | "NodeOvercommitted"
  | "ParentCommitNotFound"
  | "ParentNotFound"
  | "PlanOverlap"
  | "ProjectCycle"
  | "ProjectHasChildren"
  | "ProjectHasJobs"
  | "ProjectNotFound"
  | "ReferenceNotFound"
  | "SchemaChanged"
  | "SerializationFailed"
  | "TagTaken"
  | "TimedOut";

export class RotaError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "RotaError";
    this.code = code;
  }
}

/** A plan's window that PostgreSQL rejected (23P01), with the window that it overlaps. */
export class PlanOverlapError extends RotaError {
  /** Name of the other plan; undefined if it has been deleted since. */
  readonly plan: string | undefined;
  /** Its window: "Mon 08:00-18:00". */
  readonly window: string;

  constructor(plan: string | undefined, window: string, options?: ErrorOptions) {
    super("PlanOverlap", `overlaps plan ${plan ?? "(deleted)"}, ${window}`, options);
    this.plan = plan;
    this.window = window;
  }
}
