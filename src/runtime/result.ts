/** The key waits for the next event, or is reconciled again after a time; named as in controller-runtime. */
export type Settled = Done | RequeueAfter;

interface Done {
  readonly kind: "done";
}

interface RequeueAfter {
  readonly kind: "requeueAfter";
  readonly seconds: number;
}

/** The result of a reconcile. */
export type ReconcileResult =
  | Settled
  /** Retried with the key's exponential back-off; a thrown error has the same effect. */
  | { readonly kind: "failed"; readonly error: unknown };

/** Wait for the next event. */
export const done = (): Done => ({ kind: "done" });
/** Reconcile again after this time; an event may come first. 0: at once. */
export const requeueAfter = (seconds: number): RequeueAfter => ({ kind: "requeueAfter", seconds });
/** Retry with back-off. */
export const failed = (error: unknown): ReconcileResult => ({ kind: "failed", error });

/** The result that is due first. */
export function earliest(one: Settled, other: Settled): Settled {
  if (one.kind === "done") return other;
  if (other.kind === "done") return one;
  return one.seconds <= other.seconds ? one : other;
}
