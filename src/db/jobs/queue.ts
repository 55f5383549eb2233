/** Waiting jobs: enqueue, claim, and changes by their users. */
import { sumOf, typeOfOther } from "../../domain/resource-types.ts";
import { storableJson } from "../../domain/text.ts";
import type { PodDemand } from "../../domain/pod-demand.ts";
import type { PodUsage } from "../../domain/pod-usage.ts";
import type {
  NodeSelectorTerm,
  PreferredTerm,
  Toleration,
} from "../../domain/scheduling/snapshot.ts";
import { run } from "../client/connection-pool.ts";
import { prepared } from "../client/prepared.ts";
import { podUsageColumn } from "./pod-usage.ts";
import type { ObservedState } from "./recover.ts";
import type { Queryable } from "../client/types.ts";

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
  /** Number of pods in the gang. */
  readonly parallelism: number;
  readonly perPod: PodDemand;
  /** Names in `perPod.byName` that are GPUs of other vendors; absent: none. */
  readonly gpuResources?: readonly string[] | undefined;
  /** What each pod counts for under ResourceQuotas. */
  readonly podUsage: PodUsage;
  readonly allowsBorrowing: boolean;
  readonly maxRuntimeSeconds?: number | undefined;
  readonly backoffLimit: number;
  readonly suspended: boolean;
  readonly configHash?: string | undefined;
  /** Rank among jobs of the same priority; evictions do not change it. */
  readonly queuedAt: Temporal.Instant;
  readonly nodeSelector: object;
  /** Required node affinity; absent or empty: no requirement. */
  readonly affinityTerms?: readonly NodeSelectorTerm[] | undefined;
  /** Preferred node affinity; absent or empty: none. */
  readonly preferredTerms?: readonly PreferredTerm[] | undefined;
  readonly tolerations: readonly Toleration[];
  readonly storages: readonly object[];
  /** Pods of the gang on one node; absent: no limit. */
  readonly maxPodsPerNode?: number | undefined;
}

const fresh: ObservedState = { status: "pending", attempt: 0, failures: 0, placements: [] };

/**
 * Queues a job in one statement, so that a job never lacks its spec. False if the job exists already, in any state.
 * Throws RotaError: ProjectNotFound, InvalidValue.
 */
export function insertJob(db: Queryable, job: NewJob): Promise<boolean> {
  return adoptJob(db, job, fresh);
}

/**
 * Adopts a job from the cluster after the database lost its content: a running job with its allocations, an ended one
 * as history. False if the job exists already. Throws RotaError: ProjectNotFound, InvalidValue, NodeNotFound,
 * NodeOvercommitted, AllocationInvalid.
 */
export async function adoptJob(
  db: Queryable,
  job: NewJob,
  observed: ObservedState,
): Promise<boolean> {
  const rows = await run<{ id: string }>(
    db,
    prepared("adopt_job")`
    WITH job AS (
      SELECT *
      FROM jsonb_to_record($1::jsonb) AS job (
        id uuid, project_id uuid, namespace text, name text, pool text, priority int, priority_class text,
        preempts boolean, parallelism int, pod_gpus int, pod_other_gpus int, pod_cpu_millis bigint, pod_memory_bytes bigint,
        allows_borrowing boolean, max_runtime_seconds int, backoff_limit int, suspended boolean, config_hash text,
        created_at timestamptz, status job_status, attempt int, failures int, started_at timestamptz,
        finished_at timestamptz, placement jsonb,
        node_selector jsonb, node_affinity jsonb, preferred_affinity jsonb, tolerations jsonb, storages jsonb, max_pods_per_node integer, resources jsonb,
        pod_usage jsonb
      )
    ), arrived AS (
      INSERT INTO jobs (
        id, project_id, namespace, name, pool, priority, priority_class, preempts, parallelism,
        pod_gpus, pod_other_gpus, pod_cpu_millis, pod_memory_bytes, allows_borrowing, max_runtime_seconds, backoff_limit,
        suspended, config_hash, created_at, status, attempt, failures, started_at, finished_at, placement,
        admitted_at, constraints_hash
      )
      SELECT id, project_id, namespace, name, pool, priority, priority_class, preempts, parallelism,
        pod_gpus, pod_other_gpus, pod_cpu_millis, pod_memory_bytes, allows_borrowing, max_runtime_seconds, backoff_limit,
        suspended, config_hash, created_at, status, attempt, failures, started_at, finished_at, placement,
        CASE WHEN job_is_live(status) THEN coalesce(started_at, now()) END,
        md5(
          jsonb_build_array(
            node_selector, node_affinity, preferred_affinity, tolerations, storages, max_pods_per_node, resources,
            pod_usage
          )::text
        )::uuid
      FROM job
      ON CONFLICT (id) DO NOTHING
      RETURNING id
    ), demanding AS (
      INSERT INTO job_resources (job_id, resource, amount_per_pod, resource_type)
      SELECT id, wanted.resource, wanted.amount, wanted.type
      FROM arrived
      JOIN job USING (id)
      CROSS JOIN LATERAL jsonb_to_recordset(job.resources) AS wanted (resource text, amount bigint, type text)
    )
    INSERT INTO job_specs (
      job_id, node_selector, node_affinity, preferred_affinity, tolerations, storages, max_pods_per_node, pod_usage
    )
    SELECT id, node_selector, node_affinity, preferred_affinity, tolerations, storages, max_pods_per_node, pod_usage
    FROM arrived
    JOIN job USING (id)
    RETURNING job_id AS id
    `,
    [storableJson({ ...columnsOf(job), ...columnsOfState(observed), ...specOf(job) })],
  );
  return rows.length === 1;
}

/** Keys are the statement's columns; absent values are null. */
const columnsOf = (job: NewJob) => ({
  id: job.id,
  project_id: job.projectId,
  namespace: job.namespace,
  name: job.name,
  pool: job.pool,
  priority: job.priority,
  priority_class: job.priorityClass,
  preempts: job.preempts,
  parallelism: job.parallelism,
  pod_gpus: job.perPod.gpus,
  pod_other_gpus: sumOf(job.perPod.byName, job.gpuResources ?? []),
  pod_cpu_millis: job.perPod.cpuMillis,
  pod_memory_bytes: job.perPod.memoryBytes,
  allows_borrowing: job.allowsBorrowing,
  max_runtime_seconds: job.maxRuntimeSeconds,
  backoff_limit: job.backoffLimit,
  suspended: job.suspended,
  config_hash: job.configHash,
  created_at: job.queuedAt.toString(),
});

const columnsOfState = (observed: ObservedState) => ({
  status: observed.status,
  attempt: observed.attempt,
  failures: observed.failures,
  started_at: observed.startedAt?.toString(),
  finished_at: observed.finishedAt?.toString(),
  placement: observed.placements.length === 0 ? undefined : observed.placements,
});

const specOf = (job: NewJob) => ({
  node_selector: job.nodeSelector,
  node_affinity: job.affinityTerms?.length === 0 ? undefined : job.affinityTerms,
  preferred_affinity: job.preferredTerms?.length === 0 ? undefined : job.preferredTerms,
  tolerations: job.tolerations,
  storages: job.storages,
  max_pods_per_node: job.maxPodsPerNode,
  resources: Object.entries(job.perPod.byName ?? {}).map(([resource, amount]) => ({
    resource,
    amount,
    type: typeOfOther(resource, job.gpuResources ?? []),
  })),
  pod_usage: podUsageColumn(job.podUsage),
});

export interface ClaimedJob {
  readonly id: string;
  readonly projectId: string;
  /** Fences every transition. */
  readonly attempt: number;
  /** True for the last claimed job of its signature if more jobs of that signature wait. */
  readonly hasMore: boolean;
}

/** Maximum of signatures per claim. It is exceeded only if almost every job differs from all others. */
const maxSignatures = 5000;

export interface Claim {
  readonly pool: string;
  /** Maximum of jobs; at least 1. */
  readonly limit: number;
  /** Jobs whose back-off ends later are skipped. */
  readonly now: Temporal.Instant;
  /**
   * Maximum of jobs of one scheduling signature in one project, so that blocked jobs cannot hide others; absent: no
   * maximum. The first job of each signature is claimed even beyond the limit.
   */
  readonly perSignature?: number | undefined;
  /** Locks and skips nothing. For read-only transactions, which answer questions about the queue. */
  readonly readOnly?: boolean | undefined;
}

/**
 * Claims the next jobs of a pool in queue order and locks them until the transaction ends. Skips jobs locked by others,
 * so that parallel workers never claim the same job.
 */
export function fetchNextJobs(db: Queryable, claim: Claim): Promise<ClaimedJob[]> {
  return claim.perSignature === undefined
    ? claimInOrder(db, claim)
    : claimPerSignature(db, claim, claim.perSignature);
}

const lockClause = (claim: Claim, ofTable = ""): string =>
  claim.readOnly === true ? "" : `FOR UPDATE${ofTable} SKIP LOCKED`;

/**
 * FOR UPDATE must be next to LIMIT at the top level: a subquery in IN (...) may run once per row and lock many more.
 */
function claimInOrder(db: Queryable, claim: Claim): Promise<ClaimedJob[]> {
  return run<ClaimedJob>(
    db,
    prepared(claim.readOnly === true ? "read_queue" : "claim_jobs")`
    SELECT id, project_id AS "projectId", attempt, false AS "hasMore"
    FROM jobs
    WHERE pool = $1 AND job_is_waiting(status) AND NOT suspended
      AND (not_before IS NULL OR not_before <= $3)
    ORDER BY priority DESC, created_at, arrival
    LIMIT $2
    ${lockClause(claim)}
    `,
    [claim.pool, claim.limit, claim.now.toString()],
  );
}

/**
 * A skip scan of the index finds the signatures of waiting jobs with one probe each, however many jobs they have.
 * 50,000 blocked jobs of one signature cost nothing, because only the first few are read. Half of a claim follows queue
 * order, so that many jobs can start at once. The other half takes the first job of every signature before the second
 * of any, up to maxSignatures.
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
        SELECT project_id, scheduling_signature FROM jobs
        WHERE pool = $1 AND job_is_waiting(status) AND NOT suspended
        ORDER BY project_id, scheduling_signature LIMIT 1
      )
      UNION ALL
      SELECT next.project_id, next.scheduling_signature
      FROM waiting
      CROSS JOIN LATERAL (
        SELECT job.project_id, job.scheduling_signature FROM jobs AS job
        WHERE job.pool = $1 AND job_is_waiting(job.status) AND NOT job.suspended
          AND (job.project_id, job.scheduling_signature) > (waiting.project_id, waiting.scheduling_signature)
        ORDER BY job.project_id, job.scheduling_signature LIMIT 1
      ) AS next
    ), heads AS MATERIALIZED (
      SELECT head.*, waiting.project_id, waiting.scheduling_signature
      FROM waiting
      CROSS JOIN LATERAL (
        SELECT id, priority, created_at, arrival, row_number() OVER (ORDER BY priority DESC, created_at, arrival) AS place
        FROM jobs
        WHERE pool = $1 AND project_id = waiting.project_id AND scheduling_signature = waiting.scheduling_signature
          AND job_is_waiting(status) AND NOT suspended
          AND (not_before IS NULL OR not_before <= $4)
        ORDER BY priority DESC, created_at, arrival
        LIMIT $3::int + 1
      ) AS head
    ), chosen AS (
      SELECT id, project_id, scheduling_signature, place
      FROM (
        SELECT heads.*, row_number() OVER (ORDER BY priority DESC, created_at, arrival) AS in_line FROM heads
      ) AS head
      WHERE place <= $3
      -- Half of a claim is in queue order: a run of starts stops where a signature's next job was not claimed. The
      -- other half is in tiers: the first job, then two more, then four more of each signature.
      ORDER BY in_line > $2 / 2, floor(log(2, place::numeric)), priority DESC, created_at, arrival
      LIMIT (SELECT greatest($2::bigint, $2 / 2 + least(count(*), $5::bigint)) FROM waiting)
    ), first AS MATERIALIZED (
      SELECT chosen.id, chosen.place = last.place AND last.place < last.known AS has_more
      FROM chosen
      JOIN (
        SELECT project_id, scheduling_signature, max(chosen.place) AS place, max(heads.place) AS known
        FROM heads
        LEFT JOIN chosen USING (id, project_id, scheduling_signature)
        GROUP BY project_id, scheduling_signature
      ) AS last USING (project_id, scheduling_signature)
    )
    SELECT job.id, job.project_id AS "projectId", job.attempt, first.has_more AS "hasMore"
    FROM first
    JOIN jobs AS job ON job.id = first.id
    WHERE job.pool = $1 AND job_is_waiting(job.status) AND NOT job.suspended
    ORDER BY job.priority DESC, job.created_at, job.arrival
    ${lockClause(claim, " OF job")}
    `,
    [claim.pool, claim.limit, perSignature, claim.now.toString(), maxSignatures],
  );
}

/** Takes a job out of the queue or puts it back. The caller stops the pods of a live job. */
export async function setSuspended(
  db: Queryable,
  change: { readonly id: string; readonly suspended: boolean },
): Promise<void> {
  await run(
    db,
    `
    UPDATE jobs
    SET suspended = $2,
      not_before = CASE WHEN $2 THEN not_before END,
      failed_starts = CASE WHEN $2 THEN failed_starts ELSE 0 END,
      node_failures = CASE WHEN $2 THEN node_failures ELSE 0 END
    WHERE id = $1 AND suspended <> $2
    `,
    [change.id, change.suspended],
  );
}

export interface PriorityChange {
  readonly id: string;
  readonly priorityClass: string;
  readonly priority: number;
  readonly preempts: boolean;
}

/** Changes the priority class of a waiting job; false if it no longer waits. */
export async function setPriority(db: Queryable, change: PriorityChange): Promise<boolean> {
  const rows = await run(
    db,
    `
    UPDATE jobs SET priority = $2, priority_class = $3, preempts = $4
    WHERE id = $1 AND (job_is_waiting(status) OR status = 'reserved')
    RETURNING id
    `,
    [change.id, change.priority, change.priorityClass, change.preempts],
  );
  return rows.length === 1;
}
