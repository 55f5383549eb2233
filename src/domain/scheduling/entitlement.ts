/**
 * Which running jobs are inside their plans (design section 4, docs/decisions/0005).
 *
 * Jobs take their ceilings' quantities in order of priority descending, then start; one that no longer fits under
 * each of its ceilings is borrowing. A borrower takes nothing from the quantity, so jobs after it that still fit
 * keep their entitlement: otherwise a large borrower would turn the small entitled jobs behind it into borrowers,
 * the owner could be pushed below what the plan grants, and evictions would go in circles.
 */

/** What a job asks for under one ceiling. */
export interface CeilingClaim {
  readonly ceilingId: string;
  /** GPUs, or CPU millicores, like the others. */
  readonly amount: number;
  readonly limit: number;
  /** What jobs before it use that are inside their plans and not listed. */
  readonly ahead: number;
}

export interface RankedJob {
  readonly id: string;
  /** Only for what it asks for. */
  readonly claims: readonly CeilingClaim[];
  /** Asks for a metered type that no plan on the way up grants. */
  readonly unplanned: boolean;
}

export interface Standing {
  readonly borrowing: boolean;
  /** Ids of the ceilings under which it does not fit. */
  readonly past: readonly string[];
}

/** Where each job stands, by id. The jobs come in the order of their rank. */
export function rankEntitlement(jobs: readonly RankedJob[]): ReadonlyMap<string, Standing> {
  const taken = new Map<string, number>();
  const isPast = ({ ceilingId, amount, limit, ahead }: CeilingClaim): boolean =>
    ahead + (taken.get(ceilingId) ?? 0) + amount > limit;
  const standings = new Map<string, Standing>();
  for (const { id, claims, unplanned } of jobs) {
    const past = claims.filter(isPast).map(({ ceilingId }) => ceilingId);
    const borrowing = unplanned || past.length > 0;
    standings.set(id, { borrowing, past });
    if (borrowing) continue;
    for (const { ceilingId, amount } of claims)
      taken.set(ceilingId, (taken.get(ceilingId) ?? 0) + amount);
  }
  return standings;
}

/** A job that occupies capacity and is past the quantity of ceilings. */
export interface PastJob {
  readonly id: string;
  /** namespace/name */
  readonly key: string;
  readonly attempt: number;
  readonly status: "held" | "starting" | "running";
  /** Undefined for held jobs. */
  readonly admittedAtSeconds: number | undefined;
  /** Ids of the ceilings. */
  readonly past: readonly string[];
}
