/** The controller's view of a job: its row and the nodes of its pods. */
import { jobReasonOf } from "../../api/reasons.ts";
import type { JobStatusName } from "../../api/job-states.ts";
import type { JobReason } from "../../api/reasons.ts";
import type { Placement, Resources } from "../../domain/scheduling/snapshot.ts";
import type { Fence } from "./admit.ts";
import type { AttemptEnd } from "./attempts.ts";
import { expungedText } from "../configs/commits.ts";
import { type PerPodRow, perPodColumns, perPodOf } from "./resources.ts";
import { run } from "../client/connection-pool.ts";
import { prepared } from "../client/prepared.ts";
import type { Queryable } from "../client/types.ts";

export interface JobView {
  readonly id: string;
  readonly namespace: string;
  readonly name: string;
  readonly pool: string;
  readonly status: JobStatusName;
  readonly attempt: number;
  readonly priority: number;
  readonly priorityClass: string;
  /** Whether its priority class may evict other jobs. */
  readonly preempts: boolean;
  readonly gpus: number;
  /** Number of pods in the gang. */
  readonly parallelism: number;
  /** Demand of one pod; its `pods` is 1. */
  readonly perPod: Resources;
  readonly borrowing: boolean;
  readonly suspended: boolean;
  readonly failures: number;
  readonly backoffLimit: number;
  /** Starts in a row that failed because of the job itself, or of what refuses its pods. */
  readonly failedStarts: number;
  /** Starts in a row that failed because of a node; three count as one failed start. */
  readonly nodeFailures: number;
  readonly configHash: string | undefined;
  /** Who expunged the content of its configuration, when and why; undefined if nobody did. */
  readonly expunged: string | undefined;
  readonly maxRuntimeSeconds: number | undefined;
  readonly reason: JobReason | undefined;
  readonly message: string | undefined;
  readonly queuedAt: Temporal.Instant;
  readonly notBefore: Temporal.Instant | undefined;
  readonly startedAt: Temporal.Instant | undefined;
  readonly finishedAt: Temporal.Instant | undefined;
  /** Of the current attempt; for a reserved job, its reserved nodes. */
  readonly placements: readonly Placement[];
  /** Indices of the current attempt's pods that succeeded; the pods may be gone. */
  readonly completed: readonly number[];
  /** Why the current attempt is being ended; undefined if it is not. */
  readonly ending: AttemptEnd | undefined;
  /** Longest grace period of its pods, once all have been asked to leave; undefined before. */
  readonly askedGraceSeconds: number | undefined;
  /** From the preemption log; only while evicting or evicted. */
  readonly eviction: EvictionEntry | undefined;
}

export interface EvictionEntry {
  /** The preemptor and the other victims, as a sentence. */
  readonly reason: string;
  /** namespace/name of the preemptor; null when a window closed. */
  readonly preemptor: string | null;
  /** The rule that allowed the eviction. */
  readonly rule: string;
  /** The jobs named in `reason`, as namespace/name. */
  readonly jobs: readonly string[];
  /** Seconds since the decision. */
  readonly ageSeconds: number;
  /** The preemptor no longer needs the capacity: it started elsewhere or ended, or its reservation was released. */
  readonly isSettled: boolean;
  /** There is no preemptor: a window closed. */
  readonly isForWindow: boolean;
  /** The PodDisruptionBudget (namespace/name) that no longer protects it; null: none. */
  readonly pastBudget: string | null;
}

interface Row extends PerPodRow {
  readonly id: string;
  readonly namespace: string;
  readonly name: string;
  readonly pool: string;
  readonly status: JobStatusName;
  readonly attempt: number;
  readonly priority: number;
  readonly priority_class: string;
  readonly preempts: boolean;
  readonly gpus: number;
  readonly parallelism: number;
  readonly borrowing: boolean;
  readonly suspended: boolean;
  readonly failures: number;
  readonly backoff_limit: number;
  readonly failed_starts: number;
  readonly node_failures: number;
  readonly config_hash: string | null;
  readonly expunged: string | null;
  readonly max_runtime_seconds: number | null;
  readonly reason: string | null;
  readonly message: string | null;
  readonly created_at: Temporal.Instant;
  readonly not_before: Temporal.Instant | null;
  readonly started_at: Temporal.Instant | null;
  readonly finished_at: Temporal.Instant | null;
  readonly placements: readonly Placement[] | null;
  readonly completed: readonly number[];
  readonly ending: AttemptEnd | null;
  readonly asked_grace_seconds: number | null;
  readonly eviction: EvictionEntry | null;
}

const viewOf = (row: Row): JobView => ({
  id: row.id,
  namespace: row.namespace,
  name: row.name,
  pool: row.pool,
  status: row.status,
  attempt: row.attempt,
  priority: row.priority,
  priorityClass: row.priority_class,
  preempts: row.preempts,
  gpus: row.gpus,
  parallelism: row.parallelism,
  perPod: perPodOf(row),
  borrowing: row.borrowing,
  suspended: row.suspended,
  failures: row.failures,
  backoffLimit: row.backoff_limit,
  failedStarts: row.failed_starts,
  nodeFailures: row.node_failures,
  configHash: row.config_hash ?? undefined,
  expunged: row.expunged ?? undefined,
  maxRuntimeSeconds: row.max_runtime_seconds ?? undefined,
  reason: jobReasonOf(row.reason),
  message: row.message ?? undefined,
  queuedAt: row.created_at,
  notBefore: row.not_before ?? undefined,
  startedAt: row.started_at ?? undefined,
  finishedAt: row.finished_at ?? undefined,
  placements: row.placements ?? [],
  completed: row.completed,
  ending: row.ending ?? undefined,
  askedGraceSeconds: row.asked_grace_seconds ?? undefined,
  eviction: row.eviction ?? undefined,
});

const selection = `
  SELECT job.id, job.namespace, job.name, job.pool, job.status, job.attempt, job.priority, job.priority_class, job.preempts,
    job.required_gpu AS gpus,
    job.parallelism, ${perPodColumns("job")},
    job.borrowing, job.suspended, job.failures, job.backoff_limit, job.failed_starts, job.node_failures, job.config_hash,
    (
      SELECT ${expungedText} FROM config_blobs AS blob WHERE blob.hash = job.config_hash AND blob.expunged_at IS NOT NULL
    ) AS expunged,
    job.max_runtime_seconds,
    job.reason, job.message, job.created_at, job.not_before, job.started_at, job.finished_at, job.ending, job.asked_grace_seconds,
    coalesce(
      (SELECT json_agg(json_build_object('node', node_name, 'pods', pods) ORDER BY node_name)
        FROM allocations WHERE job_id = job.id AND attempt = job.attempt),
      (SELECT json_agg(json_build_object('node', node_name, 'pods', pods) ORDER BY node_name)
        FROM reservations WHERE job_id = job.id)
    ) AS placements,
    ARRAY(SELECT pod_index FROM pod_completions WHERE job_id = job.id AND attempt = job.attempt) AS completed,
    CASE WHEN job.status IN ('evicting', 'evicted') THEN (
      SELECT json_build_object(
        'reason', preemption.reason || '; rule ' || victim.rule,
        'preemptor', preemption.preemptor,
        'rule', victim.rule,
        'ageSeconds', extract(epoch FROM now() - preemption.decided_at),
        'isSettled', preemption.outcome IS NOT NULL,
        'isForWindow', preemption.preemptor_job_id IS NULL,
        'pastBudget', victim.past_budget,
        'jobs', array_remove(
          preemption.preemptor || ARRAY(SELECT victim FROM preemption_victims WHERE preemption_id = preemption.id), NULL
        )
      )
      FROM preemption_victims AS victim
      JOIN preemptions AS preemption ON preemption.id = victim.preemption_id
      WHERE victim.victim_job_id = job.id AND victim.victim_attempt = job.attempt
        AND (victim.outcome IS NULL OR victim.outcome <> 'EvictionCancelled')
    ) END AS eviction
  FROM jobs AS job`;

/** The job with this uid, in any state; undefined if the database does not know it. */
export async function readJobView(db: Queryable, jobId: string): Promise<JobView | undefined> {
  const [row] = await run<Row>(db, prepared("read_job")`${selection} WHERE job.id = $1`, [jobId]);
  return row && viewOf(row);
}

/** Whether pods of the attempt may still be created. Ask right before: another operator may have ended the attempt since. */
export async function isStarting(db: Queryable, { id, attempt }: Fence): Promise<boolean> {
  const rows = await run(
    db,
    prepared("is_starting")`
    SELECT FROM jobs WHERE id = $1 AND attempt = $2 AND status = 'starting' AND ending IS NULL`,
    [id, attempt],
  );
  return rows.length > 0;
}

/** Unfinished jobs of this name. More than one if a job was deleted and created again. */
export async function readActiveJobsNamed(
  db: Queryable,
  namespace: string,
  name: string,
): Promise<JobView[]> {
  const rows = await run<Row>(
    db,
    prepared("read_jobs_named")`${selection}
    WHERE job.active_project_id = (SELECT id FROM projects WHERE namespace = $1) AND job.name = $2`,
    [namespace, name],
  );
  return rows.map(viewOf);
}

/** namespace/name of all unfinished jobs, to compare with the cluster at startup. */
export async function activeJobKeys(db: Queryable): Promise<string[]> {
  const rows = await run<{ key: string }>(
    db,
    "SELECT namespace || '/' || name AS key FROM jobs WHERE active_project_id IS NOT NULL",
  );
  return rows.map((row) => row.key);
}

/** Those of the jobs that have allocations: their pods are counted by these. */
export async function liveJobsOf(db: Queryable, ids: readonly string[]): Promise<Set<string>> {
  if (ids.length === 0) return new Set();
  const rows = await run<{ id: string }>(
    db,
    prepared(
      "live_jobs_of",
    )`SELECT id FROM jobs WHERE id = ANY ($1::uuid[]) AND job_is_live(status)`,
    [ids],
  );
  return new Set(rows.map(({ id }) => id));
}
