/** What a reconcile says of its key. */
export type ReconcileResult =
  | { readonly kind: "done" }
  | { readonly kind: "again"; readonly afterSeconds: number }
  /** Tried again with the key's exponential back-off; a thrown error means the same. */
  | { readonly kind: "failed"; readonly error: unknown }
  /** Not tried again until the key is enqueued for another reason. */
  | { readonly kind: "fatal"; readonly error: unknown };

export const done = (): ReconcileResult => ({ kind: "done" });
export const requeueAfter = (afterSeconds: number): ReconcileResult => ({
  kind: "again",
  afterSeconds,
});
export const failed = (error: unknown): ReconcileResult => ({ kind: "failed", error });
export const fatal = (error: unknown): ReconcileResult => ({ kind: "fatal", error });
