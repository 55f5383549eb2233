/**
 * What a reconcile that fails, or gets no answer, tells the object's user: whatever the API server accepts has a status. One
 * rule for all kinds.
 */
import { conditionsOf, type Condition } from "../api/conditions.ts";
import type { Reason } from "../api/reasons.ts";
import { courseOf } from "../db/client/constraint-errors.ts";
import { RotaError } from "../errors.ts";
import { KubeError } from "../kube/errors.ts";
import type { ResourceName } from "../kube/resource.ts";
import type { Meta } from "../resources/meta.ts";
import type { ReconcileBatch } from "../runtime/batch-controller.ts";
import { startTimer } from "../runtime/clock.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Reconcile } from "../runtime/controller.ts";
import { errorText } from "../runtime/logger.ts";
import type { Context } from "./context.ts";
import { writeStatus } from "./report.ts";

export interface Failure {
  readonly reason: Extract<
    Reason,
    "InvalidValue" | "ReconcileFailed" | "AwaitingResponse" | "QuotaExceeded"
  >;
  readonly message: string;
  /** Another try does not help: a person has to change the object. */
  readonly isFinal: boolean;
}

interface Observed extends Meta {
  readonly status: {
    readonly observedGeneration?: number;
    readonly conditions?: readonly Condition[];
  };
}

/** Whether the status says nothing yet of this version of the object. */
export const isSilent = ({ generation, status }: Observed): boolean =>
  status.observedGeneration !== generation;

/** The next try, moments later, most likely goes through; a call without an answer takes as long again. */
function isOfMoment(error: unknown): boolean {
  if (error instanceof KubeError)
    return error.reason !== "Timeout" && [0, 404, 409, 429].includes(error.status);
  return error instanceof RotaError && courseOf(error.code) === "retried";
}

/**
 * In the words of the API server or the database. Undefined when there is nothing to tell: errors of the moment are news
 * only where nothing else has been said.
 */
export function failureOf(object: Observed, error: unknown): Failure | undefined {
  if (isOfMoment(error) && !isSilent(object)) return undefined;
  const message = errorText(error);
  const isFinal = error instanceof RotaError && courseOf(error.code) === "refused";
  if (isFinal) return { reason: "InvalidValue", message: `spec: ${message}`, isFinal };
  return { reason: "ReconcileFailed", message: `${message}; Rota retries`, isFinal };
}

/** Well under the ten seconds within which every object has a status. */
const patienceSeconds = 5;

export const awaitingResponse: Failure = {
  reason: "AwaitingResponse",
  message: `the API server, a webhook or the database has not responded for ${patienceSeconds} s`,
  isFinal: false,
};

/** Calls `tell` when an object that has no status yet still has none after a while. Returns what stops it. */
export function whenSlow(clock: Clock, object: Observed, tell: () => void): () => void {
  return isSilent(object) ? startTimer(clock, patienceSeconds, tell) : () => undefined;
}

/** Resources whose status is told so by what wraps their reconciles; a Job's own status says more. */
export interface FailingKind<Kind extends Observed> {
  readonly type: ResourceName;
  readonly find: (key: string) => Kind | undefined;
}

/** Never throws: the failure itself is what the controller acts on. */
export async function tellFailure<Kind extends Observed>(
  context: Pick<Context, "statuses" | "clock">,
  type: ResourceName,
  object: Kind,
  failure: Failure,
): Promise<void> {
  const { status, generation } = object;
  const health = failure.isFinal ? "Stalled" : "Reconciling";
  const conditions = conditionsOf(object, health, failure, context.clock.now());
  const told = { ...status, observedGeneration: generation, conditions };
  await writeStatus(context, type, object, told).catch(() => undefined);
}

async function tellError<Kind extends Observed>(
  context: Pick<Context, "statuses" | "clock">,
  { type, find }: FailingKind<Kind>,
  key: string,
  error: unknown,
): Promise<void> {
  const object = find(key);
  const failure = object && failureOf(object, error);
  if (object && failure) await tellFailure(context, type, object, failure);
}

/** A reconcile whose failures are told in the object's status. */
export function tellingFailures<Kind extends Observed>(
  context: Pick<Context, "statuses" | "clock">,
  kind: FailingKind<Kind>,
  reconcile: Reconcile,
): Reconcile {
  return async (key, signal) => {
    try {
      return await reconcile(key, signal);
    } catch (error) {
      if (!signal.aborted) await tellError(context, kind, key, error);
      throw error;
    }
  };
}

/** The same for many at once. */
export function tellingFailuresOfMany<Kind extends Observed>(
  context: Pick<Context, "statuses" | "clock">,
  kind: FailingKind<Kind>,
  reconcile: ReconcileBatch,
): ReconcileBatch {
  return async (keys, signal) => {
    const tell = (key: string, error: unknown): Promise<void> =>
      signal.aborted ? Promise.resolve() : tellError(context, kind, key, error);
    try {
      const results = await reconcile(keys, signal);
      for (const [key, result] of results)
        if (result.kind === "failed") await tell(key, result.error);
      return results;
    } catch (error) {
      for (const key of keys) await tell(key, error);
      throw error;
    }
  };
}
