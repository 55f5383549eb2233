/** The scheduler's view of claimed and of reserved jobs: one statement each. */
import type { ResourceType } from "../../domain/resource-types.ts";
import type {
  ReservedJob,
  NodeSelectorTerm,
  Placement,
  PreferredTerm,
  QueuedJob,
  Toleration,
} from "../../domain/scheduling/snapshot.ts";
import { run } from "../client/connection-pool.ts";
import { podUsageOf, type PodUsageColumn } from "../jobs/pod-usage.ts";
import { type PerPodRow, perPodColumns, perPodOf } from "../jobs/resources.ts";
import type { Queryable } from "../client/types.ts";
import { standingJoins, standingOf, standingTables } from "./standing.ts";

/** A claimed job, with the owners of its project and of all ancestors, nearest first; their plans are its quotas. */
export interface ClaimedJob {
  readonly job: Omit<QueuedJob, "quotas">;
  readonly ownerIds: readonly number[];
}

interface QueueRow extends PerPodRow {
  readonly id: string;
  readonly key: string;
  readonly priority: number;
  readonly queued_at: number;
  readonly status: "pending" | "evicted";
  readonly attempt: number;
  readonly parallelism: number;
  readonly max_pods_per_node: number | null;
  readonly allows_borrowing: boolean;
  readonly preempts: boolean;
  readonly failed_starts: number;
  readonly max_runtime_seconds: number | null;
  readonly unplanned: boolean;
  readonly ungranted: readonly ResourceType[];
  readonly node_selector: Readonly<Record<string, string>>;
  readonly node_affinity: readonly NodeSelectorTerm[];
  readonly preferred_affinity: readonly PreferredTerm[];
  readonly storage_terms: readonly (readonly NodeSelectorTerm[])[];
  readonly pod_usage: PodUsageColumn;
  readonly tolerations: readonly Toleration[];
  readonly avoid_nodes: readonly string[];
  readonly owner_ids: readonly number[];
}

/** The API server refuses an affinity without terms, so an empty list means no requirement. */
function claimedJob(row: QueueRow): ClaimedJob {
  return {
    ownerIds: row.owner_ids,
    job: {
      id: row.id,
      key: row.key,
      priority: row.priority,
      queuedAtSeconds: row.queued_at,
      status: row.status,
      attempt: row.attempt,
      parallelism: row.parallelism,
      ...(row.max_pods_per_node === null ? {} : { maxPodsPerNode: row.max_pods_per_node }),
      perPod: perPodOf(row),
      podUsage: podUsageOf(row.pod_usage),
      allowsBorrowing: row.allows_borrowing,
      preempts: row.preempts,
      unplanned: row.unplanned,
      ...(row.ungranted.length > 0 && { ungranted: row.ungranted }),
      ...(row.failed_starts > 0 && { failedStarts: row.failed_starts }),
      ...(row.max_runtime_seconds === null ? {} : { maxRuntimeSeconds: row.max_runtime_seconds }),
      nodeSelector: row.node_selector,
      ...(row.node_affinity.length === 0 ? {} : { affinityTerms: row.node_affinity }),
      ...(row.preferred_affinity.length > 0 && { preferredTerms: row.preferred_affinity }),
      ...(row.storage_terms.length === 0 ? {} : { storageTerms: row.storage_terms }),
      tolerations: row.tolerations,
      avoidNodes: row.avoid_nodes,
    },
  };
}

/** The pool, and patterns of LIKE for extended resources that are not metered. */
export interface Standing {
  readonly pool: string;
  readonly unmetered: readonly string[];
}

const parameters = { pool: "$2::text", unmetered: "$3::text[]" };
const standing = standingOf("job");

/** Details of jobs that the caller has claimed, in queue order. */
export async function readClaimedJobs(
  db: Queryable,
  { pool, unmetered }: Standing,
  jobIds: readonly string[],
): Promise<ClaimedJob[]> {
  const rows = await run<QueueRow>(
    db,
    `
    WITH claimed AS MATERIALIZED (
      SELECT * FROM jobs WHERE id = ANY ($1::uuid[])
    ),
    ${standingTables("claimed", parameters)},
    inherited AS MATERIALIZED (
      SELECT project_id, borrowing,
        ARRAY(
          SELECT owner_id
          FROM project_owners
          WHERE project_owners.project_id = project_settings.project_id
          GROUP BY owner_id
          ORDER BY min(distance)
        ) AS owner_ids
      FROM project_settings
      WHERE project_id IN (SELECT project_id FROM claimed)
    )
    SELECT job.id, job.namespace || '/' || job.name AS key, job.priority,
      extract(epoch FROM job.created_at)::float8 AS queued_at, job.status, job.attempt, job.parallelism,
      ${perPodColumns("job")},
      job.allows_borrowing AND inherited.borrowing = 'Allow' OR ${standing.isFree} AS allows_borrowing,
      ${standing.isUnplanned} AS unplanned, ${standing.ungranted} AS ungranted,
      job_may_preempt(job.preempts, job.failed_starts) AS preempts,
      CASE WHEN job.preempts THEN job.failed_starts ELSE 0 END AS failed_starts, job.max_runtime_seconds,
      spec.max_pods_per_node,
      coalesce(spec.node_selector, '{}') AS node_selector,
      coalesce(spec.node_affinity, '[]') AS node_affinity,
      coalesce(spec.preferred_affinity, '[]') AS preferred_affinity,
      -- The current settings of the project: they may have changed while the job waited.
      coalesce((
        SELECT json_agg(storage.affinity_config -> 'nodeSelectorTerms' ORDER BY storage.name)
        FROM jsonb_array_elements(spec.storages) AS mounted
        JOIN storages AS storage ON storage.project_id = job.project_id AND storage.name = mounted ->> 'name'
        WHERE jsonb_typeof(storage.affinity_config -> 'nodeSelectorTerms') = 'array'
      ), '[]') AS storage_terms,
      coalesce(spec.tolerations, '[]') AS tolerations,
      coalesce(spec.pod_usage, '{}') AS pod_usage,
      ARRAY(
        SELECT node_name FROM avoided_nodes AS avoided WHERE avoided.job_id = job.id AND avoided.until > now()
      ) AS avoid_nodes,
      inherited.owner_ids
    FROM claimed AS job
    JOIN inherited USING (project_id)${standingJoins("job")}
    LEFT JOIN job_specs AS spec ON spec.job_id = job.id
    ORDER BY job.priority DESC, job.created_at, job.arrival
    `,
    [jobIds, pool, unmetered],
  );
  return rows.map(claimedJob);
}

interface ReservedRow extends PerPodRow {
  readonly id: string;
  readonly key: string;
  readonly priority: number;
  readonly attempt: number;
  readonly borrowing: boolean;
  readonly allows_borrowing: boolean;
  readonly expires_at: number;
  readonly placements: readonly Placement[];
  readonly pod_usage: PodUsageColumn;
  readonly owner_ids: readonly number[];
}

/** A reserved job, with the owners of its project and of all ancestors. */
export interface ReservedRead {
  readonly job: Omit<ReservedJob, "quotas">;
  readonly ownerIds: readonly number[];
}

/**
 * The pool's reserved jobs with their reservations, in queue order. Locked, so that no other operator activates them
 * meanwhile, unless the caller only reads.
 */
export async function readReservedJobs(
  db: Queryable,
  { pool, unmetered }: Standing,
  readOnly = false,
): Promise<ReservedRead[]> {
  const rows = await run<ReservedRow>(
    db,
    `
    WITH reserved AS MATERIALIZED (
      SELECT * FROM jobs WHERE pool = $1 AND status = 'reserved' ${readOnly ? "" : "FOR NO KEY UPDATE SKIP LOCKED"}
    ),
    ${standingTables("reserved", { pool: "$1", unmetered: "$2::text[]" })}
    SELECT job.id, job.namespace || '/' || job.name AS key, job.priority, job.attempt, job.borrowing,
      job.allows_borrowing AND (
        SELECT borrowing = 'Allow' FROM project_settings WHERE project_settings.project_id = job.project_id
      ) OR ${standing.isFree} AS allows_borrowing,
      ${perPodColumns("job")}, kept.expires_at, kept.placements,
      coalesce((SELECT pod_usage FROM job_specs WHERE job_specs.job_id = job.id), '{}') AS pod_usage,
      ARRAY(
        SELECT DISTINCT owner_id FROM project_owners WHERE project_owners.project_id = job.project_id
      ) AS owner_ids
    FROM reserved AS job${standingJoins("job")}
    JOIN LATERAL (
      SELECT extract(epoch FROM greatest(min(expires_at), (
          SELECT max(leaving.leaves_by)
          FROM reservations AS own
          JOIN allocations AS leaving USING (node_name)
          WHERE own.job_id = job.id AND NOT leaving.evictable
        )))::float8 AS expires_at,
        json_agg(json_build_object('node', node_name, 'pods', pods) ORDER BY node_name) AS placements
      FROM reservations
      WHERE reservations.job_id = job.id
    ) AS kept ON true
    ORDER BY job.priority DESC, job.created_at, job.arrival
    `,
    [pool, unmetered],
  );
  return rows.map(reservedJob);
}

const reservedJob = (row: ReservedRow): ReservedRead => ({
  ownerIds: row.owner_ids,
  job: {
    id: row.id,
    key: row.key,
    priority: row.priority,
    attempt: row.attempt,
    placements: row.placements,
    perPod: perPodOf(row),
    podUsage: podUsageOf(row.pod_usage),
    borrowing: row.borrowing,
    allowsBorrowing: row.allows_borrowing,
    expiresAtSeconds: row.expires_at,
  },
});
