/** The invariants of docs/design.md, "Invariants", that SQL can check after every step. */
import type { DatabasePool } from "../../src/db/client/connection-pool.ts";

interface Rule {
  readonly name: string;
  /** Finds what breaks the rule. */
  readonly query: string;
}

const rules: readonly Rule[] = [
  {
    name: "what is committed on a node is what its allocations say",
    query: `
      SELECT node.name, gpus_committed, cpu_millis_committed, pods_committed
      FROM nodes AS node
      LEFT JOIN (
        SELECT node_name, sum(gpus) AS gpus, sum(cpu_millis) AS cpu_millis, sum(memory_bytes) AS memory_bytes,
          sum(pods) AS pods
        FROM allocations GROUP BY node_name
      ) AS used ON used.node_name = node.name
      WHERE (gpus_committed, cpu_millis_committed, memory_bytes_committed, pods_committed) IS DISTINCT FROM (
        coalesce(used.gpus, 0)::int, coalesce(used.cpu_millis, 0)::bigint, coalesce(used.memory_bytes, 0)::bigint,
        coalesce(used.pods, 0)::int
      )`,
  },
  {
    name: "what is committed of a resource without a column is what the allocations say",
    query: `
      SELECT node_name, resource, committed, used.amount
      FROM node_resources
      FULL JOIN (
        SELECT node_name, resource, sum(pods * amount_per_pod) AS amount
        FROM allocations JOIN job_resources USING (job_id)
        GROUP BY node_name, resource
      ) AS used USING (node_name, resource)
      WHERE committed IS DISTINCT FROM coalesce(used.amount, 0)`,
  },
  {
    name: "a live job has allocations of its whole gang and its attempt; no other job has any",
    query: `
      SELECT job.name, job.status, job.attempt, job.parallelism, own.pods, own.attempts
      FROM jobs AS job
      FULL JOIN (
        SELECT job_id, sum(pods) AS pods, array_agg(DISTINCT attempt) AS attempts FROM allocations GROUP BY job_id
      ) AS own ON own.job_id = job.id
      WHERE CASE WHEN job.status IN ('starting', 'running', 'evicting') THEN
        own.pods IS DISTINCT FROM job.parallelism OR own.attempts <> ARRAY[job.attempt]
        ELSE own.job_id IS NOT NULL END`,
  },
  {
    name: "an allocation says of its job what the job says",
    query: `
      SELECT job.name, job.status, own.evictable, own.borrowing, own.priority
      FROM allocations AS own
      JOIN jobs AS job ON job.id = own.job_id
      WHERE (own.pool, own.gang_size, own.priority, own.borrowing, own.started_at, own.leaves_by, own.evictable)
        IS DISTINCT FROM (
          job.pool, job.parallelism, job.priority, job.borrowing, job.admitted_at, job.leaves_by,
          job.status IN ('starting', 'running') AND job.ending IS NULL
        )`,
  },
  {
    name: "a reserved job has reservations for its whole gang; no other job has any",
    query: `
      SELECT job.name, job.status, job.parallelism, kept.pods
      FROM jobs AS job
      FULL JOIN (SELECT job_id, sum(pods) AS pods FROM reservations GROUP BY job_id) AS kept ON kept.job_id = job.id
      WHERE CASE WHEN job.status = 'reserved' THEN kept.pods IS DISTINCT FROM job.parallelism
        ELSE kept.job_id IS NOT NULL END`,
  },
  {
    name: "a project's path is its parent's and its name",
    query: `
      SELECT project.name, project.path
      FROM projects AS project
      LEFT JOIN projects AS parent ON parent.id = project.parent_id
      WHERE project.path IS DISTINCT FROM
        coalesce(parent.path, '') || text2ltree(replace(project.name, '-', '_'))`,
  },
  {
    name: "no two plans of one owner, type and pool overlap",
    query: `
      SELECT one.plan_name, other.plan_name AS other
      FROM resource_plans AS one
      JOIN resource_plans AS other ON other.id > one.id AND other.resource_owner_id = one.resource_owner_id
        AND other.resource_type = one.resource_type AND other.pool = one.pool AND other.time_window && one.time_window`,
  },
  {
    name: "the preemption log explains every eviction",
    query: `
      SELECT event.name, event.attempt
      FROM job_events AS event
      LEFT JOIN preemption_victims AS victim ON victim_job_id = event.job_id AND victim_attempt = event.attempt
      LEFT JOIN preemptions AS preemption ON preemption.id = victim.preemption_id
      WHERE event.to_status = 'evicting' AND event.from_status <> 'evicting'
        AND (preemption.reason IS NULL OR preemption.reason = '')`,
  },
  {
    name: "a victim whose leaving is not noted is leaving",
    query: `
      SELECT victim.victim, job.status, job.attempt
      FROM preemption_victims AS victim
      LEFT JOIN jobs AS job ON job.id = victim.victim_job_id
      WHERE victim.outcome IS NULL
        AND (job.status, job.attempt) IS DISTINCT FROM ('evicting'::job_status, victim.victim_attempt)`,
  },
  {
    name: "a preemption without an outcome has a preemptor that is held",
    query: `
      SELECT preemption.preemptor, job.status
      FROM preemptions AS preemption
      LEFT JOIN jobs AS job ON job.id = preemption.preemptor_job_id
      WHERE preemption.preemptor_job_id IS NOT NULL AND preemption.outcome IS NULL
        AND job.status IS DISTINCT FROM 'reserved'`,
  },
  {
    // As it was decided: later its user may give the preemptor another priority, or a plan may change.
    name: "a victim makes way by a rule that is true of it",
    query: `
      SELECT preemption.preemptor, victim.victim, victim.rule
      FROM preemptions AS preemption
      JOIN preemption_victims AS victim ON victim.preemption_id = preemption.id
      JOIN jobs AS job ON job.id = victim.victim_job_id
      JOIN jobs AS preemptor ON preemptor.id = preemption.preemptor_job_id
      WHERE victim.outcome IS NULL AND preemptor.status = 'reserved' AND preemption.decided_at = now() AND CASE victim.rule
        WHEN 'BorrowerReclaimed' THEN NOT job.borrowing
        WHEN 'WindowClosed' THEN true
        ELSE job.priority >= preemptor.priority END`,
  },
  {
    name: "queue time is kept through evictions and retries",
    query: `
      SELECT job.name, job.created_at, first.at
      FROM jobs AS job
      JOIN LATERAL (SELECT min(at) AS at FROM job_events WHERE job_id = job.id) AS first ON true
      WHERE job.created_at <> first.at`,
  },
  {
    name: "history is without gaps: each event begins where the one before ended",
    query: `
      SELECT name, from_status, before
      FROM (
        SELECT name, from_status, lag(to_status) OVER (PARTITION BY job_id ORDER BY id) AS before FROM job_events
      ) AS event
      WHERE from_status IS DISTINCT FROM before`,
  },
  {
    name: "the periods of a project tile time, the last as the project is",
    query: `
      SELECT period.project_id, period.since, period.until
      FROM (
        SELECT *, lead(since) OVER (PARTITION BY project_id ORDER BY since) AS next,
          lag(until) OVER (PARTITION BY project_id ORDER BY since) AS former
        FROM project_periods
      ) AS period
      LEFT JOIN projects AS project ON project.id = period.project_id
      WHERE period.until <> coalesce(period.next, 'infinity') OR period.since <> coalesce(period.former, '-infinity')
        OR (period.next IS NULL AND project.path IS DISTINCT FROM period.path)`,
  },
];

const statement = rules
  .map(
    ({ query }, index) =>
      `SELECT ${index} AS rule, to_jsonb(broken) AS row FROM (${query}) AS broken`,
  )
  .join("\nUNION ALL\n");

/** Throws with the rules that do not hold and the rows that break them. */
export async function checkInvariants(db: DatabasePool): Promise<void> {
  const { rows } = await db.query<{ rule: number; row: object }>(statement);
  if (rows.length === 0) return;
  const said = rows.map(({ rule, row }) => `${rules[rule]?.name ?? ""}: ${JSON.stringify(row)}`);
  throw new Error(said.slice(0, 10).join("\n"));
}

interface Overcommitted {
  readonly name: string;
}

const overcommitted = `
  SELECT name FROM nodes
  WHERE gpus_committed + gpus_other > gpus_allocatable
    OR cpu_millis_committed + cpu_millis_other > cpu_millis_allocatable
    OR memory_bytes_committed + memory_bytes_other > memory_bytes_allocatable
    OR pods_committed + pods_other > pods_allocatable
    OR EXISTS (
      SELECT FROM node_resources WHERE node_name = name AND committed > 0 AND committed + other > allocatable
    )`;

/** Nodes that have less than is committed on them: only a node that shrank, or foreign pods, may do that. */
export class Overcommitment {
  #known = new Set<string>();

  /** Throws when a node became overcommitted although nothing was taken from it. */
  async check(db: DatabasePool, mayShrink: boolean): Promise<void> {
    const { rows } = await db.query<Overcommitted>(overcommitted);
    const fresh = rows.filter(({ name }) => !this.#known.has(name)).map(({ name }) => name);
    if (fresh.length > 0 && !mayShrink) throw new Error(`overcommitted: ${fresh.join(", ")}`);
    this.#known = new Set(rows.map(({ name }) => name));
  }
}
