/**
 * Which running jobs are inside their plans (design section 4, docs/decisions/0005).
 *
 * Jobs take their quotas' quantities in order of priority descending, then start; one that no longer fits under
 * each of its quotas is borrowing. A borrower takes nothing from the quantity, so jobs after it that still fit
 * keep their entitlement: otherwise a large borrower would turn the small entitled jobs behind it into borrowers,
 * the owner could be pushed below what the plan grants, and evictions would go in circles.
 */

/** What a job asks for under one quota. */
export interface QuotaClaim {
  readonly quotaId: string;
  /** GPUs, or CPU millicores, like the others. */
  readonly amount: number;
  readonly limit: number;
  /** What jobs before it use that are inside their plans and not listed. */
  readonly ahead: number;
}

export interface RankedJob {
  readonly id: string;
  /** Only for what it asks for. */
  readonly claims: readonly QuotaClaim[];
  /** Asks for a metered type that no plan on the way up grants. */
  readonly unplanned: boolean;
}

export interface Entitlement {
  readonly borrowing: boolean;
  /** Ids of the quotas under which it does not fit. */
  readonly overQuota: readonly string[];
}

/** Where each job stands, by id. The jobs come in the order of their rank. */
export function rankEntitlement(jobs: readonly RankedJob[]): ReadonlyMap<string, Entitlement> {
  const taken = new Map<string, number>();
  const isOverQuota = ({ quotaId, amount, limit, ahead }: QuotaClaim): boolean =>
    ahead + (taken.get(quotaId) ?? 0) + amount > limit;
  const entitlements = new Map<string, Entitlement>();
  for (const { id, claims, unplanned } of jobs) {
    const overQuota = claims.filter(isOverQuota).map(({ quotaId }) => quotaId);
    const borrowing = unplanned || overQuota.length > 0;
    entitlements.set(id, { borrowing, overQuota });
    if (borrowing) continue;
    for (const { quotaId, amount } of claims)
      taken.set(quotaId, (taken.get(quotaId) ?? 0) + amount);
  }
  return entitlements;
}

/** A job that occupies capacity and is past the quantity of quotas. */
export interface OverQuotaJob {
  readonly id: string;
  /** namespace/name */
  readonly key: string;
  readonly attempt: number;
  readonly status: "reserved" | "starting" | "running";
  /** Undefined for held jobs. */
  readonly admittedAtSeconds: number | undefined;
  /** Ids of the quotas. */
  readonly overQuota: readonly string[];
}
