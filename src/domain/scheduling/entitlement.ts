/**
 * Which running jobs are within quota and which borrow (docs/design.md, "Quota"; docs/decisions/0005).
 *
 * Jobs claim their quotas by priority, highest first, then by admission time. A job that no longer fits under each of
 * its quotas borrows. A borrower uses up no quota, so a later job that still fits stays within quota. Otherwise one
 * large borrower would turn the small jobs behind it into borrowers, the owner could be pushed below what its plans
 * grant, and evictions would go in circles.
 */

/** What a job requests under one quota. */
export interface QuotaClaim {
  readonly quotaId: string;
  /** In the unit of demand of the quota's type; `limit` too. */
  readonly amount: number;
  readonly limit: number;
}

export interface RankedJob {
  readonly id: string;
  /** Only of the resource types that the job requests. */
  readonly claims: readonly QuotaClaim[];
  /** No plan of the project or its ancestors grants anything, or something metered that it requests. */
  readonly unplanned: boolean;
}

export interface Entitlement {
  readonly borrowing: boolean;
  /** Ids of the quotas under which the job does not fit. */
  readonly overQuota: readonly string[];
}

/** The entitlement of each job, by id. `jobs` must hold every job under the claimed quotas, in rank order. */
export function rankEntitlement(jobs: readonly RankedJob[]): ReadonlyMap<string, Entitlement> {
  const used = new Map<string, number>();
  const entitlements = new Map<string, Entitlement>();
  for (const { id, claims, unplanned } of jobs) {
    const overQuota = claims
      .filter(({ quotaId, amount, limit }) => (used.get(quotaId) ?? 0) + amount > limit)
      .map(({ quotaId }) => quotaId);
    const borrowing = unplanned || overQuota.length > 0;
    entitlements.set(id, { borrowing, overQuota });
    if (borrowing) continue;
    for (const { quotaId, amount } of claims) used.set(quotaId, (used.get(quotaId) ?? 0) + amount);
  }
  return entitlements;
}

/** A job that occupies capacity and is over quota. */
export interface OverQuotaJob {
  readonly id: string;
  /** namespace/name */
  readonly key: string;
  readonly attempt: number;
  readonly status: "reserved" | "starting" | "running";
  /** Undefined for reserved jobs. */
  readonly admittedAtSeconds: number | undefined;
  /** Ids of the quotas. */
  readonly overQuota: readonly string[];
}
