/**
 * Jobs of which a ResourceQuota has no room for even one pod. The API server does not say how such a pod would look
 * with its defaults, so they are queued when there is room: nothing about them has to change.
 */
import {
  type QuotaRefusal,
  quotaRefusalOf,
  quotaRefusalText,
} from "../../domain/namespace-quota-text.ts";
import type { Job, StoredQuota } from "../../resources/types.ts";
import type { Context } from "../context.ts";
import { recheckSeconds } from "./rejection.ts";
import type { Rejection } from "./rejection.ts";

export interface HeldBack extends Rejection {
  readonly reason: "QuotaExceeded";
  /** The cache shows room: the API server has not seen the quota's change yet. */
  readonly isOutdated: boolean;
}

export const isHeldBack = (found: object): found is HeldBack => "isOutdated" in found;

const hasRoom = (quota: StoredQuota, { entries }: QuotaRefusal): boolean =>
  entries.every(({ entry, requested }) => {
    const hard = quota.hard[entry];
    return hard === undefined || (quota.used[entry] ?? 0n) + requested <= hard;
  });

/** Undefined: the dry run failed for another reason. */
export function heldBackBy(
  { informers }: Pick<Context, "informers">,
  { namespace, spec }: Job,
  explanation: string,
): HeldBack | undefined {
  const refusal = quotaRefusalOf(explanation);
  if (refusal === undefined) return undefined;
  const quota = informers.resourceQuotas.store.get(`${namespace}/${refusal.name}`);
  return {
    reason: "QuotaExceeded",
    message: quotaRefusalText(refusal, namespace, spec.parallelism),
    isOutdated: quota === undefined || hasRoom(quota, refusal),
  };
}

const outdatedSeconds = 1;

/** When to judge it again, beside changes of the quota. */
export const heldBackSeconds = (
  { isOutdated }: HeldBack,
  job: Job,
  now: Temporal.Instant,
): number => (isOutdated ? outdatedSeconds : recheckSeconds(job, now));
