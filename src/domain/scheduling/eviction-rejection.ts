/** Why a running job cannot be evicted at present. */
export interface EvictionRejection {
  /** The PodDisruptionBudget, as namespace/name; undefined: the API server refuses it for another reason. */
  readonly budget: string | undefined;
  /** It has blocked for so long that it no longer protects a job that borrows. */
  readonly isOverdue: boolean;
  /** Of the job: the next one is another gang. */
  readonly attempt: number;
}

/** By the id of a job. */
export type EvictionRejections = ReadonlyMap<string, EvictionRejection>;

/** Undefined: none, or one of another attempt. */
export function rejectionOf(
  { id, attempt }: { readonly id: string; readonly attempt: number },
  rejections: EvictionRejections,
): EvictionRejection | undefined {
  const rejection = rejections.get(id);
  return rejection?.attempt === attempt ? rejection : undefined;
}
