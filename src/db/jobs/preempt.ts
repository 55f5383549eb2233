/** Preemption: victims, preemptor, reservation and preemption log change together or not at all. */
import { storableJson } from "../../domain/text.ts";
import type { Fence, Placed } from "./admit.ts";
import { run } from "../client/connection-pool.ts";
import { settleVictims } from "./settle-victims.ts";
import type { Queryable } from "../client/types.ts";

export type PreemptionRule = "BorrowerReclaimed" | "LowerPriority" | "OwnQuota" | "WindowClosed";

export interface VictimInput extends Fence {
  readonly rule: PreemptionRule;
  /** The PodDisruptionBudget (namespace/name) that no longer protects it; absent: none. */
  readonly pastBudget?: string | undefined;
}

export interface PreemptionInput {
  /** A new uuid. */
  readonly id: string;
  readonly pool: string;
  /** The job that capacity is freed for; absent when a window closed. */
  readonly preemptor?:
    | (Fence & {
        readonly borrowing: boolean;
        readonly placements: readonly Placed[];
        readonly reservationSeconds: number;
      })
    | undefined;
  readonly rule: PreemptionRule;
  /** For the preemption log: preemptor, rule and numbers in one sentence. */
  readonly reason: string;
  /** Rejected victim sets, as JSON. */
  readonly alternatives: readonly unknown[];
  readonly victims: readonly VictimInput[];
}

/**
 * Marks the victims as evicting, reserves their capacity for the preemptor, and writes the preemption log, in one
 * statement. It first locks and checks all jobs: if a victim or the preemptor has changed, nothing happens and the
 * result is false. An eviction at the close of a window has no preemptor.
 */
export async function preempt(db: Queryable, preemption: PreemptionInput): Promise<boolean> {
  const { preemptor, victims } = preemption;
  const rows = await run<{ valid: boolean }>(
    db,
    `
    WITH victim AS (
      SELECT *
      FROM unnest($1::uuid[], $2::int[], $3::preemption_rule[], $15::text[]) AS victim (id, attempt, rule, past_budget)
    ), locked AS MATERIALIZED (
      SELECT job.id, job.status
      FROM jobs AS job
      LEFT JOIN victim ON victim.id = job.id
      WHERE job.id = ANY ($1 || $4::uuid)
        AND CASE
          WHEN job.id = $4 THEN job.attempt = $5 AND job_is_waiting(job.status) AND NOT job.suspended
          ELSE job.attempt = victim.attempt AND job.evictable
        END
      ORDER BY job.id
      FOR UPDATE OF job
    ), verdict AS MATERIALIZED (
      SELECT count(*) = cardinality($1) + ($4::uuid IS NOT NULL)::int AS valid FROM locked
    ), changed AS (
      UPDATE jobs
      SET status = CASE WHEN jobs.id = $4 THEN 'reserved' ELSE 'evicting' END::job_status,
        borrowing = CASE WHEN jobs.id = $4 THEN $6 ELSE jobs.borrowing END,
        admitted_at = CASE WHEN jobs.id = $4 THEN clock_timestamp() ELSE jobs.admitted_at END,
        not_before = NULL,
        reason = CASE WHEN jobs.id = $4 THEN 'Reserved' WHEN $4 IS NULL THEN 'WindowClosed' ELSE 'Preempted' END,
        message = NULL
      FROM locked, verdict
      WHERE jobs.id = locked.id AND verdict.valid
      RETURNING jobs.*
    ), kept AS (
      INSERT INTO reservations (job_id, node_name, pods, gpus, cpu_millis, memory_bytes, expires_at)
      SELECT job.id, place.node, place.pods, place.pods * job.pod_gpus, place.pods * job.pod_cpu_millis,
        place.pods * job.pod_memory_bytes, now() + make_interval(secs => $10)
      FROM changed AS job
      CROSS JOIN unnest($8::text[], $9::int[]) AS place (node, pods)
      WHERE job.id = $4
    ), entry AS (
      INSERT INTO preemptions (
        id, preemptor_job_id, preemptor_attempt, preemptor, pool, rule, reason, alternatives
      )
      SELECT $11, $4, $5, (SELECT namespace || '/' || name FROM changed WHERE id = $4), $12, $13, $7, $14
      FROM verdict
      WHERE valid
    ), listed AS (
      INSERT INTO preemption_victims (
        preemption_id, victim_job_id, victim_attempt, victim, pods, nodes, gpus, rule, past_budget
      )
      SELECT $11, job.id, job.attempt, job.namespace || '/' || job.name, job.parallelism,
        ARRAY(
          SELECT node_name FROM allocations
          WHERE job_id = job.id AND attempt = job.attempt ORDER BY node_name
        ),
        job.required_gpu, victim.rule, victim.past_budget
      FROM changed AS job
      JOIN victim ON victim.id = job.id
    )
    SELECT valid FROM verdict
    `,
    [
      victims.map((victim) => victim.id),
      victims.map((victim) => victim.attempt),
      victims.map((victim) => victim.rule),
      preemptor?.id ?? null,
      preemptor?.attempt ?? null,
      preemptor?.borrowing ?? false,
      preemption.reason,
      preemptor?.placements.map(({ node }) => node) ?? [],
      preemptor?.placements.map(({ pods }) => pods) ?? [],
      preemptor?.reservationSeconds ?? 0,
      preemption.id,
      preemption.pool,
      preemption.rule,
      storableJson(preemption.alternatives),
      victims.map((victim) => victim.pastBudget ?? null),
    ],
  );
  return rows[0]?.valid ?? false;
}

/**
 * Returns a victim to the queue with its old queue time and frees its capacity. Call it when all its pods are gone.
 * True if the job was evicting in this attempt.
 */
export async function markEvicted(db: Queryable, victim: Fence): Promise<boolean> {
  const rows = await run(
    db,
    `
    WITH evicted AS (
      UPDATE jobs
      SET status = 'evicted', borrowing = false, reason = 'Evicted', ending = NULL, leaves_by = NULL,
        asked_grace_seconds = NULL
      WHERE id = $1 AND attempt = $2 AND status = 'evicting'
      RETURNING id, attempt
    ), settled AS (${settleVictims("evicted", "Evicted")}
    )
    SELECT id FROM evicted
    `,
    [victim.id, victim.attempt],
  );
  return rows.length === 1;
}

/**
 * Returns a victim that still has all its pods to running, in the same attempt, if its capacity is no longer needed:
 * the preemptor has started elsewhere or ended, its reservation was released, or a window closed and there was no
 * preemptor. No other job may have a reservation on its nodes either, since it may count on the same capacity. False if
 * the capacity is still needed.
 */
export async function cancelEviction(db: Queryable, victim: Fence): Promise<boolean> {
  const rows = await run(
    db,
    `
    WITH cancelled AS (
      UPDATE jobs
      SET status = 'running', reason = 'EvictionCancelled', message = NULL, leaves_by = NULL, asked_grace_seconds = NULL
      WHERE id = $1 AND attempt = $2 AND status = 'evicting' AND EXISTS (
        SELECT FROM preemption_victims AS victim
        JOIN preemptions AS preemption ON preemption.id = victim.preemption_id
        WHERE victim.victim_job_id = $1 AND victim.victim_attempt = $2 AND victim.outcome IS NULL
          AND (preemption.outcome IS NOT NULL OR preemption.preemptor_job_id IS NULL)
      ) AND parallelism = (
        SELECT sum(pods) FROM allocations WHERE allocations.job_id = $1
      ) AND NOT EXISTS (
        SELECT FROM allocations JOIN reservations USING (node_name) WHERE allocations.job_id = $1
      )
      RETURNING id, attempt
    ), settled AS (${settleVictims("cancelled", "EvictionCancelled")}
    )
    SELECT id FROM cancelled
    `,
    [victim.id, victim.attempt],
  );
  return rows.length === 1;
}
