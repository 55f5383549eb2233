/** Reads the input of a decision in the cycle's transaction, and decides with the help of the victim finder. */
import type { PoolClient } from "pg";
import { fetchNextJobs } from "../db/jobs/queue.ts";
import { readNodes } from "../db/scheduling/nodes.ts";
import { readClaimedJobs, readReservedJobs } from "../db/scheduling/queue.ts";
import type { ClaimedJob, ReservedRead } from "../db/scheduling/queue.ts";
import { quotaId, readQuotas } from "../db/scheduling/quotas.ts";
import { findVictims } from "../db/scheduling/victims.ts";
import { decide as decideNow } from "../domain/scheduling/decide.ts";
import type { Decision } from "../domain/scheduling/decision.ts";
import { namespaceOf } from "../domain/redaction.ts";
import { likePattern } from "../domain/resource-types.ts";
import type { EvictionRejections } from "../domain/scheduling/eviction-rejection.ts";
import { typesOf } from "../domain/scheduling/quota.ts";
import type {
  LiveJob,
  QueuedJob,
  Quota,
  ReservedJob,
  Snapshot,
} from "../domain/scheduling/snapshot.ts";
import { setAside } from "../runtime/main-thread.ts";
import { readNamespaceQuotas } from "./namespace-quotas.ts";
import type { NamespaceQuotaSource } from "./namespace-quotas.ts";

export interface SnapshotOptions {
  readonly timeZone: string;
  /** Patterns of extended resources that are not metered (resource-types.ts). */
  readonly unmeteredResources: readonly string[];
  readonly namespaceQuotas: NamespaceQuotaSource;
  /** Maximum of jobs claimed by one cycle. */
  readonly claimLimit: number;
  /** For a question about one job: locks nothing, and includes the job wherever it is in the queue. */
  readonly asking?: { readonly jobId: string };
}

/** Leaves room in a claim for jobs of other scheduling signatures. */
const claimPerSignature = (claimLimit: number): number => Math.max(1, Math.floor(claimLimit / 5));

/**
 * The quotas that apply to a job: those of its project's owner and of all ancestors' owners, nearest first, for the types
 * it requests.
 */
const quotasOf = ({ job, ownerIds }: ClaimedJob | ReservedRead) =>
  ownerIds.flatMap((ownerId) => typesOf(job.perPod).map((type) => quotaId(ownerId, type)));

const queuedJob = (claimed: ClaimedJob, known: ReadonlySet<string>): QueuedJob => ({
  ...claimed.job,
  quotas: quotasOf(claimed).filter((id) => known.has(id)),
});

/** Includes quotas without a plan; no job counts under them. */
const reservedJob = (read: ReservedRead): ReservedJob => ({
  ...read.job,
  quotas: quotasOf(read),
});

/** Claims the next jobs of the pool's queue and reads nodes, quotas and reservations. */
export async function readSnapshot(
  options: SnapshotOptions,
  client: PoolClient,
  pool: string,
  now: Temporal.Instant,
): Promise<Snapshot> {
  const { claimLimit: limit, timeZone, asking } = options;
  const readOnly = asking !== undefined;
  const perSignature = claimPerSignature(limit);
  const fetched = await fetchNextJobs(client, { pool, limit, now, perSignature, readOnly });
  const asked = asking === undefined ? [] : [asking.jobId];
  const standing = { pool, unmetered: options.unmeteredResources.map(likePattern) };
  const claimed = await readClaimedJobs(client, standing, [
    ...new Set([...fetched.map(({ id }) => id), ...asked]),
  ]);
  const ownerIds = [...new Set(claimed.flatMap((entry) => entry.ownerIds))];
  const quotas: Quota[] = await readQuotas(
    client,
    pool,
    ownerIds,
    now.toZonedDateTimeISO(timeZone),
  );
  const known = new Set(quotas.map(({ id }) => id));
  const withMore = new Set(fetched.filter(({ hasMore }) => hasMore).map(({ id }) => id));
  const queue = claimed
    .map((entry) => queuedJob(entry, known))
    .map((job) => (withMore.has(job.id) ? { ...job, hasMore: true } : job));
  const reserved = (await readReservedJobs(client, standing, readOnly)).map(reservedJob);
  const namespaces = new Set([...queue, ...reserved].map(({ key }) => namespaceOf(key)));
  const source = options.namespaceQuotas;
  const namespaceQuotas = await readNamespaceQuotas(client, source, namespaces, readOnly);
  const isIdle = queue.length + reserved.length === 0;
  const resourceNames = new Set(
    [...queue, ...reserved].flatMap(({ perPod }) => Object.keys(perPod.byName ?? {})),
  );
  return {
    pool,
    nowSeconds: now.epochMilliseconds / 1000,
    // Of many nodes, megabytes of labels.
    nodes: isIdle ? [] : await readNodes(client, pool, [...resourceNames]),
    quotas,
    namespaceQuotas,
    queue,
    reserved,
  };
}

/** Whether the snapshot omits waiting jobs. */
export const isCut = ({ queue }: Snapshot): boolean => queue.some(({ hasMore }) => hasMore);

/** The cycle's metrics have its duration. */
const decide = (snapshot: Snapshot): Decision => setAside(() => decideNow(snapshot));

/** Maximum of calls to the finder in one cycle, each for several jobs; bounds the cycle's statements. */
const maxFinderRounds = 4;

/**
 * Decides. While blocked jobs may preempt, asks the finder for victims and decides again with them.
 * @param rejections jobs whose eviction is blocked now, by id, with the budget that blocks it
 */
export async function decideWithVictims(
  client: PoolClient,
  snapshot: Snapshot,
  rejections: () => EvictionRejections,
): Promise<Decision> {
  let decision = decide(snapshot);
  const victims = new Map<string, LiveJob>();
  const victimsFor: string[] = [];
  for (let round = 0; round < maxFinderRounds && decision.requests.length > 0; round += 1) {
    const { requests } = decision;
    const found = await findVictims(client, snapshot.pool, requests, rejections());
    for (const victim of found) victims.set(victim.id, victim);
    victimsFor.push(...requests.map(({ jobId }) => jobId));
    decision = decide({ ...snapshot, victims: [...victims.values()], victimsFor });
  }
  return decision;
}
