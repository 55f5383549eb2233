/**
 * One scheduling cycle of one pool: claim, read, decide, write, in one transaction (design section 5). What has to be
 * carried out stands in the rows: jobs that are starting want pods, jobs that are evicting want evictions.
 */
import type { PoolClient } from "pg";
import { findVictims } from "../db/scheduling/victims.ts";
import { withTransaction } from "../db/client/connection-pool.ts";
import type { DatabasePool } from "../db/client/connection-pool.ts";
import type { Queryable } from "../db/client/types.ts";
import { fetchNextJobs } from "../db/jobs/queue.ts";
import { quotaId, readQuotas } from "../db/scheduling/quotas.ts";
import { lockPool } from "../db/scheduling/lock.ts";
import { secondsToNextRetry } from "../db/scheduling/next-retry.ts";
import { secondsToNextWindowEdge } from "../db/scheduling/next-window-edge.ts";
import { readPositions } from "../db/scheduling/positions.ts";
import { readNodes } from "../db/scheduling/nodes.ts";
import { readClaimedJobs, readReservedJobs } from "../db/scheduling/queue.ts";
import type { ClaimedJob, ReservedRead } from "../db/scheduling/queue.ts";
import { refreshBorrowing } from "../db/scheduling/entitlement.ts";
import { decide } from "../domain/scheduling/decide.ts";
import type {
  Quota,
  Decision,
  ReservedJob,
  LiveJob,
  QueuedJob,
  ResourceType,
  Snapshot,
  VictimRule,
} from "../domain/scheduling/types.ts";
import { secondOfWeek } from "../domain/windows.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import { rejectedForSeconds } from "./eviction-probe.ts";
import type { Candidate } from "./eviction-probe.ts";
import { collectRound } from "./wait-reasons/collect.ts";
import type { Round } from "./wait-reasons/publisher.ts";
import type { PositionPace } from "./wait-reasons/position-pace.ts";
import type { CycleReport } from "./pool-loop.ts";
import { closeWindows } from "./windows/enforce.ts";
import type { ClosesReport, WindowOptions } from "./windows/enforce.ts";
import { writeDecision } from "./apply-decision.ts";

export interface CycleDependencies extends WindowOptions {
  readonly db: DatabasePool;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly meteredTypes: readonly ResourceType[];
  readonly claimLimit: number;
  readonly reservationSeconds: number;
  readonly avoidNodeSeconds: number;
  /** Takes in what a cycle said of the pool's waiting jobs. */
  readonly explain: (pool: string, round: Round) => void;
  readonly positions: PositionPace;
  /** Jobs (namespace/name) whose row or explanation changed. */
  readonly onChanged: (keys: readonly string[]) => void;
  readonly observe: (report: CycleObservation) => void;
  /** Throws when the database is another one than before, and may lag behind the cluster. */
  readonly expectSameDatabase?: (db: Queryable) => Promise<void>;
  readonly checkpoint: (name: string) => void;
}

export interface CycleObservation {
  readonly pool: string;
  readonly seconds: number;
  readonly decisionSeconds: number;
  readonly looked: number;
  readonly verdicts: Readonly<Record<string, number>>;
  /** Gangs whose admission was written; the wait is that of a job that never ran before. */
  readonly admitted: readonly {
    readonly borrowing: boolean;
    readonly firstWaitSeconds: number | undefined;
  }[];
  /** Preemptions that were written: the rule of each victim. */
  readonly preempted: readonly (readonly VictimRule[])[];
}

interface Written {
  readonly decision: Decision;
  readonly snapshot: Snapshot;
  readonly decisionSeconds: number;
  readonly changedIds: readonly string[];
  /** Jobs whose row changed. */
  readonly changedKeys: readonly string[];
  /** Victims that nobody has asked the API server about yet; what needs them was not written. */
  readonly toProbe: readonly Candidate[];
  readonly progressed: boolean;
  readonly closes: ClosesReport;
  readonly round: Round;
  readonly nextInstantSeconds: number;
}

/** Waiting jobs that are told their position. */
const maxPositions = 10_000;

/** Looked at again at the latest, should a change have been missed. */
const maxIdleSeconds = 60;

/** Blocked jobs of one kind must leave room for the others' in a claim. */
const claimPerSignature = (claimLimit: number): number => Math.max(1, Math.floor(claimLimit / 5));

const asks = (job: Pick<QueuedJob, "perPod">, type: ResourceType): boolean =>
  type === "GPU" ? job.perPod.gpus > 0 : job.perPod.cpuMillis > 0;

/** Which quotas count for a job, those of the owners above it, by the types it asks for. */
const quotasOf = ({ job, ownerIds }: ClaimedJob | ReservedRead) =>
  (["GPU", "CPU"] as const)
    .filter((type) => asks(job, type))
    .map((type) => ({ type, ids: ownerIds.map((ownerId) => quotaId(ownerId, type)) }));

function queuedJob(
  claimed: ClaimedJob,
  known: ReadonlySet<string>,
  meteredTypes: readonly ResourceType[],
): QueuedJob {
  const planned = quotasOf(claimed).map(({ type, ids }) => ({
    type,
    ids: ids.filter((id) => known.has(id)),
  }));
  return {
    ...claimed.job,
    quotas: planned.flatMap(({ ids }) => ids),
    unplanned: planned.some(({ type, ids }) => meteredTypes.includes(type) && ids.length === 0),
  };
}

/** Quotas without a plan do no harm: nobody counts under them. */
const reservedJob = (read: ReservedRead): ReservedJob => ({
  ...read.job,
  quotas: quotasOf(read).flatMap(({ ids }) => ids),
});

export interface SnapshotOptions extends Pick<
  CycleDependencies,
  "timeZone" | "meteredTypes" | "claimLimit"
> {
  /** For a question about one job: nothing is locked, and the job is looked at wherever it is in the queue. */
  readonly asking?: { readonly jobId: string };
}

export async function readSnapshot(
  deps: SnapshotOptions,
  client: PoolClient,
  pool: string,
  now: Temporal.Instant,
): Promise<Snapshot> {
  const readOnly = deps.asking !== undefined;
  const perSignature = claimPerSignature(deps.claimLimit);
  const limit = deps.claimLimit;
  const fetched = await fetchNextJobs(client, { pool, limit, now, perSignature, readOnly });
  const asked = deps.asking === undefined ? [] : [deps.asking.jobId];
  const claimed = await readClaimedJobs(client, [
    ...new Set([...fetched.map(({ id }) => id), ...asked]),
  ]);
  const ownerIds = [...new Set(claimed.flatMap((entry) => entry.ownerIds))];
  const second = secondOfWeek(now, deps.timeZone);
  const quotas: Quota[] = await readQuotas(client, pool, ownerIds, second);
  const known = new Set(quotas.map(({ id }) => id));
  const withMore = new Set(fetched.filter(({ hasMore }) => hasMore).map(({ id }) => id));
  const queue = claimed
    .map((entry) => queuedJob(entry, known, deps.meteredTypes))
    .map((job) => (withMore.has(job.id) ? { ...job, hasMore: true } : job));
  return {
    pool,
    nowSeconds: now.epochMilliseconds / 1000,
    nodes: await readNodes(client, pool),
    quotas,
    queue,
    reserved: (await readReservedJobs(client, pool, readOnly)).map(reservedJob),
  };
}

/** Questions to the finder in one cycle, each about several jobs: bounds the cycle's statements. */
const finderRounds = 4;

/** Decides; while jobs are blocked that may preempt, again with what the finder proposes for them. */
export async function decideWithVictims(
  client: PoolClient,
  snapshot: Snapshot,
  rejections: () => ReadonlyMap<string, string>,
): Promise<Decision> {
  let decision = decide(snapshot);
  const victims = new Map<string, LiveJob>();
  const victimsFor: string[] = [];
  for (let round = 0; round < finderRounds && decision.requests.length > 0; round += 1) {
    const { requests } = decision;
    const found = await findVictims(client, snapshot.pool, requests, rejections());
    for (const victim of found) victims.set(victim.id, victim);
    victimsFor.push(...requests.map(({ jobId }) => jobId));
    decision = decide({ ...snapshot, victims: [...victims.values()], victimsFor });
  }
  return decision;
}

/** Nobody tells of a budget that has room again. */
const secondsToProbe = ({ probe }: CycleDependencies): number =>
  probe.rejections().size > 0 ? rejectedForSeconds : maxIdleSeconds;

function secondsToExpiry(snapshot: Snapshot): number {
  const expiries = snapshot.reserved.map((job) => job.expiresAtSeconds - snapshot.nowSeconds);
  return Math.max(1, Math.min(maxIdleSeconds, ...expiries));
}

/**
 * A borrower of high priority takes the entitlement of jobs below it as soon as it runs, victims and holds that are
 * given back leave theirs to others: said in the same transaction, so that no mark is ever wrong outside of one.
 */
const movesRanks = ({ verdicts }: Decision): boolean =>
  verdicts.some(
    (verdict) =>
      verdict.kind === "preempt" ||
      verdict.kind === "release" ||
      (verdict.kind === "admit" && verdict.borrowing),
  );

async function decideAndWrite(
  deps: CycleDependencies,
  client: PoolClient,
  pool: string,
): Promise<Written> {
  await deps.expectSameDatabase?.(client);
  const now = deps.clock.now();
  const second = secondOfWeek(now, deps.timeZone);
  await lockPool(client, pool);
  const refreshed = await refreshBorrowing(client, pool, second, deps.meteredTypes);
  const closes = await closeWindows(client, pool, now, refreshed.overQuota, deps);
  const snapshot = await readSnapshot(deps, client, pool, now);
  const isIdle = snapshot.queue.length + snapshot.reserved.length === 0;
  const checkpoint = isIdle ? () => undefined : deps.checkpoint;
  checkpoint("claimed");
  const begun = deps.clock.monotonicSeconds();
  const decision = await decideWithVictims(client, snapshot, () => deps.probe.rejections());
  const decisionSeconds = deps.clock.monotonicSeconds() - begun;
  checkpoint("decided");
  const written = await writeDecision(client, snapshot, decision, deps);
  const reranked = movesRanks(decision)
    ? (await refreshBorrowing(client, pool, second, deps.meteredTypes)).changedKeys
    : [];
  // The places of those that were not claimed are asked for now and then: a look at the whole queue.
  const isCut = snapshot.queue.some(({ hasMore }) => hasMore);
  const isDue = isCut && deps.positions.isDue(pool);
  const places = isDue ? await readPositions(client, pool, maxPositions) : undefined;
  const edge = (await secondsToNextWindowEdge(client, pool, second)) ?? maxIdleSeconds;
  const retry = (await secondsToNextRetry(client, pool)) ?? maxIdleSeconds;
  return {
    decision,
    snapshot,
    decisionSeconds,
    changedIds: written.changedIds,
    changedKeys: [
      ...refreshed.changedKeys,
      ...closes.changedKeys,
      ...written.changedKeys,
      ...reranked,
    ],
    toProbe: [...closes.toProbe, ...written.toProbe],
    progressed: written.progressed || closes.changedKeys.length > 0,
    closes,
    round: collectRound(snapshot, decision, places, isCut && !isDue),
    nextInstantSeconds: Math.min(
      edge,
      retry,
      closes.nextInstantSeconds ?? maxIdleSeconds,
      secondsToExpiry(snapshot),
      secondsToProbe(deps),
    ),
  };
}

function observationOf(written: Written, seconds: number): CycleObservation {
  const { pool, queue, nowSeconds } = written.snapshot;
  const { verdicts } = written.decision;
  const counts: Record<string, number> = {};
  for (const { kind } of verdicts) counts[kind] = (counts[kind] ?? 0) + 1;
  const changed = new Set(written.changedIds);
  const neverRan = new Map(
    queue.filter(({ attempt }) => attempt === 0).map((job) => [job.id, job.queuedAtSeconds]),
  );
  const admitted = verdicts.flatMap((verdict) => {
    if (verdict.kind !== "admit" && verdict.kind !== "activate") return [];
    if (!changed.has(verdict.jobId)) return [];
    const since = neverRan.get(verdict.jobId);
    const firstWaitSeconds = since === undefined ? undefined : Math.max(0, nowSeconds - since);
    return [{ borrowing: verdict.borrowing, firstWaitSeconds }];
  });
  const preempted = verdicts.flatMap((verdict) =>
    verdict.kind === "preempt" && changed.has(verdict.jobId)
      ? [verdict.victims.map(({ rule }) => rule)]
      : [],
  );
  const { decisionSeconds } = written;
  return {
    pool,
    seconds,
    decisionSeconds,
    looked: queue.length,
    verdicts: counts,
    admitted,
    preempted,
  };
}

/** What was decided and written, for the log: preemptions with their reasons, the rest in numbers. */
function logWritten({ logger }: CycleDependencies, written: Written): void {
  if (!written.progressed) return;
  const { pool } = written.snapshot;
  const changed = new Set(written.changedIds);
  for (const verdict of written.decision.verdicts.filter(({ jobId }) => changed.has(jobId))) {
    if (verdict.kind === "preempt")
      logger.info("preemption decided", { pool, reason: verdict.reason });
    if (verdict.kind === "release")
      logger.info("hold given back", { pool, reason: verdict.message });
  }
  if (written.closes.changedKeys.length > 0) {
    for (const { reason, jobs } of written.closes.evictions)
      logger.info("window closed", { pool, reason, jobs: jobs.map(({ key }) => key) });
  }
  logger.info("jobs changed", { pool, jobs: written.changedKeys });
}

export async function runCycle(
  deps: CycleDependencies,
  pool: string,
  signal: AbortSignal,
): Promise<CycleReport> {
  const started = deps.clock.monotonicSeconds();
  const written = await withTransaction(deps.db, (client) => decideAndWrite(deps, client, pool));
  if (written.progressed) deps.checkpoint("cycle-committed");
  if (written.decision.verdicts.some(({ kind }) => kind === "preempt") && written.progressed) {
    deps.checkpoint("preemption-committed");
  }
  logWritten(deps, written);
  const { nowSeconds } = written.snapshot;
  const warned = deps.notices.replace(pool, written.closes.notices, nowSeconds);
  deps.explain(pool, written.round);
  deps.onChanged([...new Set([...written.changedKeys, ...warned])]);
  deps.observe(observationOf(written, deps.clock.monotonicSeconds() - started));
  if (written.toProbe.length > 0) await deps.probe.ask(written.toProbe, signal);
  const isCut = written.snapshot.queue.some(({ hasMore }) => hasMore);
  // A job whose hold was given back was no part of the queue when this cycle read it.
  const isBackInQueue = written.decision.verdicts.some(({ kind }) => kind === "release");
  return {
    isUnfinished: written.toProbe.length > 0 || ((isCut || isBackInQueue) && written.progressed),
    nextInstantSeconds: written.nextInstantSeconds,
  };
}
