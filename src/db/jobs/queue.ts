/** Jobs waiting: how they get into the queue, are claimed from it, and what their users may change there. */
import type { NodeSelectorTerm, Toleration } from "../../domain/scheduling/snapshot.ts";
import { run } from "../client/connection-pool.ts";
import { prepared } from "../client/prepared.ts";
import { placementOf } from "./recover.ts";
import type { ObservedState } from "./recover.ts";
import type { Queryable } from "../client/types.ts";

/** Demand of one pod. */
export interface PodDemand {
  readonly gpus: number;
  readonly cpuMillis: number;
  readonly memoryBytes: number;
}

export interface NewJob {
  /** uid of the custom resource */
  readonly id: string;
  readonly projectId: string;
  readonly namespace: string;
  readonly name: string;
  readonly pool: string;
  readonly priority: number;
  readonly priorityClass: string;
  readonly preempts: boolean;
  /** Pods of the gang. */
  readonly parallelism: number;
  readonly perPod: PodDemand;
  readonly allowsBorrowing: boolean;
  readonly maxRuntimeSeconds?: number | undefined;
  readonly backoffLimit: number;
  readonly suspended: boolean;
  readonly configHash?: string | undefined;
  /** Its place among jobs of the same priority, kept through evictions. */
  readonly queuedAt: Temporal.Instant;
  readonly nodeSelector: object;
  /** Required node affinity; absent or empty: no requirement. */
  readonly affinityTerms?: readonly NodeSelectorTerm[] | undefined;
  readonly tolerations: readonly Toleration[];
  readonly storages: readonly object[];
}

const fresh: ObservedState = { status: "pending", attempt: 0, failures: 0, placements: [] };

/**
 * Queues a job; false when it is there already, whatever became of it. One statement, so that a job
 * never lacks its spec. Throws RotaError: ProjectNotFound, InvalidValue.
 */
export function insertJob(db: Queryable, job: NewJob): Promise<boolean> {
  return adoptJob(db, job, fresh);
}

/**
 * Takes a job over as the cluster has it, after the database's content was lost: a running one with its
 * allocations, an ended one as history. False when it is there already. Throws RotaError: ProjectNotFound,
 * InvalidValue, NodeNotFound, NodeOvercommitted, AllocationInvalid.
 */
export async function adoptJob(
  db: Queryable,
  job: NewJob,
  observed: ObservedState,
): Promise<boolean> {
  const rows = await run<{ id: string }>(
    db,
    prepared("adopt_job")`
    WITH arrived AS (
      INSERT INTO jobs (
        id, project_id, namespace, name, pool, priority, priority_class, preempts, parallelism,
        pod_gpus, pod_cpu_millis, pod_memory_bytes, allows_borrowing, max_runtime_seconds, backoff_limit,
        suspended, config_hash, created_at, status, attempt, failures, started_at, finished_at, placement,
        admitted_at, constraints_hash
      )
      VALUES (
        $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24,
        CASE WHEN job_is_live($19) THEN coalesce($22, now()) END, md5($29)::uuid
      )
      ON CONFLICT (id) DO NOTHING
      RETURNING id
    ), specified AS (
      INSERT INTO job_specs (job_id, node_selector, node_affinity, tolerations, storages)
      SELECT id, $25, $26, $27, $28 FROM arrived
    )
    SELECT id FROM arrived
    `,
    [
      ...identity(job),
      ...whereabouts(observed),
      ...constraints(job),
      JSON.stringify(constraints(job)),
    ],
  );
  return rows.length === 1;
}

const identity = (job: NewJob): unknown[] => [
  job.id,
  job.projectId,
  job.namespace,
  job.name,
  job.pool,
  job.priority,
  job.priorityClass,
  job.preempts,
  job.parallelism,
  job.perPod.gpus,
  job.perPod.cpuMillis,
  job.perPod.memoryBytes,
  job.allowsBorrowing,
  job.maxRuntimeSeconds ?? null,
  job.backoffLimit,
  job.suspended,
  job.configHash ?? null,
  job.queuedAt.toString(),
];

const whereabouts = (observed: ObservedState): unknown[] => [
  observed.status,
  observed.attempt,
  observed.failures,
  observed.startedAt?.toString() ?? null,
  observed.finishedAt?.toString() ?? null,
  placementOf(observed),
];

const constraints = (job: NewJob): unknown[] => [
  JSON.stringify(job.nodeSelector),
  job.affinityTerms === undefined || job.affinityTerms.length === 0
    ? null
    : JSON.stringify(job.affinityTerms),
  JSON.stringify(job.tolerations),
  JSON.stringify(job.storages),
];

export interface ClaimedJob {
  readonly id: string;
  readonly projectId: string;
  /** The fence of every transition. */
  readonly attempt: number;
  /** The last claimed of its kind, and not the last that waits: others like it are behind it, unseen. */
  readonly hasMore: boolean;
}

/** Kinds of which a claim sees at least the first job; there are more only where nearly every job is unlike the others. */
const maxKinds = 5000;

export interface Claim {
  readonly pool: string;
  /** Most jobs, at least 1. */
  readonly limit: number;
  /** Jobs in back-off until later are passed over. */
  readonly now: Temporal.Instant;
  /**
   * Most jobs of one kind in one project, so that no number of blocked jobs can hide others; absent: any number. The
   * first of each kind is claimed even past the limit.
   */
  readonly perSignature?: number | undefined;
  /** Only looks: nothing is locked or passed over. For questions, which run in a transaction that cannot write. */
  readonly readOnly?: boolean | undefined;
}

/**
 * Claims the next jobs of a pool in the order of the queue and locks them to the transaction's end; jobs
 * that others have locked are passed over, so that parallel workers never take the same one.
 */
export function fetchNextJobs(db: Queryable, claim: Claim): Promise<ClaimedJob[]> {
  return claim.perSignature === undefined
    ? claimInOrder(db, claim)
    : claimPerSignature(db, claim, claim.perSignature);
}

const lockClause = (claim: Claim, ofTable = ""): string =>
  claim.readOnly === true ? "" : `FOR UPDATE${ofTable} SKIP LOCKED`;

/** FOR UPDATE beside LIMIT at the top: inside IN (...) it may run again for each row, and lock many more. */
function claimInOrder(db: Queryable, claim: Claim): Promise<ClaimedJob[]> {
  return run<ClaimedJob>(
    db,
    prepared(claim.readOnly === true ? "read_queue" : "claim_jobs")`
    SELECT id, project_id AS "projectId", attempt, false AS "hasMore"
    FROM jobs
    WHERE pool = $1 AND status IN ('pending', 'evicted') AND NOT suspended
      AND (not_before IS NULL OR not_before <= $3)
    ORDER BY priority DESC, created_at, id
    LIMIT $2
    ${lockClause(claim)}
    `,
    [claim.pool, claim.limit, claim.now.toString()],
  );
}

/**
 * The kinds of waiting jobs come from a skip scan of the index: one probe each, however many jobs they have. 50,000
 * blocked jobs of one kind cost a claim nothing: only its first few are read. Half of a claim goes by the order of the
 * queue, so that much can start at once where there is room; in the rest the first of every kind comes before the second
 * of any, up to mostKinds.
 */
function claimPerSignature(
  db: Queryable,
  claim: Claim,
  perSignature: number,
): Promise<ClaimedJob[]> {
  return run<ClaimedJob>(
    db,
    prepared(claim.readOnly === true ? "read_queue_per_kind" : "claim_jobs_per_kind")`
    WITH RECURSIVE waiting AS (
      (
        SELECT project_id, kind FROM jobs
        WHERE pool = $1 AND status IN ('pending', 'evicted') AND NOT suspended
        ORDER BY project_id, kind LIMIT 1
      )
      UNION ALL
      SELECT next.project_id, next.kind
      FROM waiting
      CROSS JOIN LATERAL (
        SELECT job.project_id, job.kind FROM jobs AS job
        WHERE job.pool = $1 AND job.status IN ('pending', 'evicted') AND NOT job.suspended
          AND (job.project_id, job.kind) > (waiting.project_id, waiting.kind)
        ORDER BY job.project_id, job.kind LIMIT 1
      ) AS next
    ), heads AS MATERIALIZED (
      SELECT head.*, waiting.project_id, waiting.kind
      FROM waiting
      CROSS JOIN LATERAL (
        SELECT id, priority, created_at, row_number() OVER (ORDER BY priority DESC, created_at, id) AS place
        FROM jobs
        WHERE pool = $1 AND project_id = waiting.project_id AND kind = waiting.kind
          AND status IN ('pending', 'evicted') AND NOT suspended
          AND (not_before IS NULL OR not_before <= $4)
        ORDER BY priority DESC, created_at, id
        LIMIT $3::int + 1
      ) AS head
    ), chosen AS (
      SELECT id, project_id, kind, place
      FROM (
        SELECT heads.*, row_number() OVER (ORDER BY priority DESC, created_at, id) AS in_line FROM heads
      ) AS head
      WHERE place <= $3
      -- Half of a claim in the order of the queue: what starts ends where a kind's next job was not claimed. The
      -- other half in tiers: the first, then two more, then four more of each kind.
      ORDER BY in_line > $2 / 2, floor(log(2, place::numeric)), priority DESC, created_at, id
      LIMIT (SELECT greatest($2::bigint, $2 / 2 + least(count(*), $5::bigint)) FROM waiting)
    ), first AS MATERIALIZED (
      SELECT chosen.id, chosen.place = last.place AND last.place < last.known AS has_more
      FROM chosen
      JOIN (
        SELECT project_id, kind, max(chosen.place) AS place, max(heads.place) AS known
        FROM heads
        LEFT JOIN chosen USING (id, project_id, kind)
        GROUP BY project_id, kind
      ) AS last USING (project_id, kind)
    )
    SELECT job.id, job.project_id AS "projectId", job.attempt, first.has_more AS "hasMore"
    FROM first
    JOIN jobs AS job ON job.id = first.id
    WHERE job.pool = $1 AND job.status IN ('pending', 'evicted') AND NOT job.suspended
    ORDER BY job.priority DESC, job.created_at, job.id
    ${lockClause(claim, " OF job")}
    `,
    [claim.pool, claim.limit, perSignature, claim.now.toString(), maxKinds],
  );
}

/** Keeps a job out of the queue, or lets it in. A live job's pods are the caller's to stop. */
export async function setSuspended(
  db: Queryable,
  change: { readonly id: string; readonly suspended: boolean },
): Promise<void> {
  await run(db, "UPDATE jobs SET suspended = $2 WHERE id = $1 AND suspended <> $2", [
    change.id,
    change.suspended,
  ]);
}

export interface PriorityChange {
  readonly id: string;
  readonly priorityClass: string;
  readonly priority: number;
  readonly preempts: boolean;
}

/** Gives a waiting job another class; false when it does not wait any more. */
export async function setPriority(db: Queryable, change: PriorityChange): Promise<boolean> {
  const rows = await run(
    db,
    `
    UPDATE jobs SET priority = $2, priority_class = $3, preempts = $4
    WHERE id = $1 AND status IN ('pending', 'evicted', 'reserved')
    RETURNING id
    `,
    [change.id, change.priority, change.priorityClass, change.preempts],
  );
  return rows.length === 1;
}

export interface WaitNote {
  readonly id: string;
  /** CamelCase */
  readonly reason: string;
  readonly message: string;
}

/** Notes why jobs wait; writes only what changed, and returns the ids of these. */
export async function noteWaiting(db: Queryable, notes: readonly WaitNote[]): Promise<string[]> {
  const rows = await run<{ id: string }>(
    db,
    prepared("note_waiting")`
    UPDATE jobs
    SET reason = note.reason, message = note.message
    FROM unnest($1::uuid[], $2::text[], $3::text[]) AS note (id, reason, message)
    WHERE jobs.id = note.id AND jobs.status IN ('pending', 'evicted')
      AND (jobs.reason, jobs.message) IS DISTINCT FROM (note.reason, note.message)
    RETURNING jobs.id
    `,
    [
      notes.map((note) => note.id),
      notes.map((note) => note.reason),
      notes.map((note) => note.message),
    ],
  );
  return rows.map((row) => row.id);
}
