/**
 * The ResourceQuotas of a decision (docs/decisions/0024): what the API server counts, and what is decided and not
 * counted yet, of all pools.
 */
import type { PoolClient } from "pg";
import { lockNamespaces } from "../db/scheduling/lock.ts";
import { readOccupyingJobs } from "../db/scheduling/occupants.ts";
import type { OccupyingJob } from "../db/scheduling/occupants.ts";
import { quotaInUse } from "../domain/namespace-quota.ts";
import type { NamespaceQuota, Occupant, QuotaInUse } from "../domain/namespace-quota.ts";

/** Pods of one job in the cache. */
export interface CachedPods {
  /** Of the attempt. */
  readonly made: number;
  /** Of any attempt: those that have neither ended nor been asked to leave. */
  readonly counted: number;
  /** Of any attempt. */
  readonly existing: number;
}

/** The cluster's side of ResourceQuotas, from caches. */
export interface NamespaceQuotaSource {
  quotasOf(namespace: string): readonly NamespaceQuota[];
  podsOf(job: Pick<OccupyingJob, "id" | "namespace" | "name" | "attempt">): CachedPods;
}

function occupantOf(job: OccupyingJob, source: NamespaceQuotaSource): Occupant {
  const { made, counted, existing } = source.podsOf(job);
  const missing = { reserved: job.parallelism, starting: job.parallelism - made, other: 0 };
  return { usage: job.usage, missing: Math.max(0, missing[job.stage]), counted, existing };
}

/**
 * Those of the namespaces with what is used of them. Locks the namespaces that have any until the transaction ends,
 * unless the caller only reads: another pool must not decide about the same room meanwhile.
 */
export async function readNamespaceQuotas(
  client: PoolClient,
  source: NamespaceQuotaSource,
  namespaces: ReadonlySet<string>,
  readOnly: boolean,
): Promise<QuotaInUse[]> {
  const limited = [...namespaces].filter((one) => source.quotasOf(one).length > 0);
  if (limited.length === 0) return [];
  if (!readOnly) await lockNamespaces(client, limited);
  const jobs = await readOccupyingJobs(client, limited);
  // The caches are read after the rows, all at once: what is missing in them is not made yet, or on its way.
  const occupants = Map.groupBy(jobs, ({ namespace }) => namespace);
  return limited.flatMap((namespace) => {
    const own = (occupants.get(namespace) ?? []).map((job) => occupantOf(job, source));
    return source.quotasOf(namespace).map((quota) => quotaInUse(quota, own));
  });
}
