/** The key waits for the next event, or is reconciled again after a time; named as in controller-runtime. */
export type Settled = Done | RequeueAfter;

interface Done {
  readonly kind: "done";
}

interface RequeueAfter {
  readonly kind: "requeueAfter";
  readonly seconds: number;
}

/** What a reconcile comes to. */
export type ReconcileResult =
  | Settled
  /** Tried again with the key's exponential back-off; a thrown error means the same. */
  | { readonly kind: "failed"; readonly error: unknown };

export const done = (): Done => ({ kind: "done" });
export const requeueAfter = (seconds: number): RequeueAfter => ({ kind: "requeueAfter", seconds });
export const failed = (error: unknown): ReconcileResult => ({ kind: "failed", error });

/** What becomes due first. */
export function earliest(one: Settled, other: Settled): Settled {
  if (one.kind === "done") return other;
  if (other.kind === "done") return one;
  return one.seconds <= other.seconds ? one : other;
}
