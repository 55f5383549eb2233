/**
 * The invariants of docs/design.md, "Invariants", checked from outside: from the API server and PostgreSQL, not from
 * the operator. Some hold at every instant; those that compare cluster and database hold once nothing changes.
 */
import { expect } from "chai";
import type { ClusterView } from "../../dev/quickstart/cluster-view.ts";
import type { DatabasePool } from "../../src/db/client/connection-pool.ts";
import type { Pod } from "../../src/resources/types.ts";

type Database = Pick<DatabasePool, "query">;

/** Each statement returns the violations; an empty result is correct. */
const wrongRows: Readonly<Record<string, string>> = {
  "1: commitments within what nodes have": `
    SELECT name FROM nodes
    WHERE present AND (gpus_committed > gpus_allocatable OR cpu_millis_committed > cpu_millis_allocatable
      OR memory_bytes_committed > memory_bytes_allocatable OR pods_committed > pods_allocatable)`,
  "1: commitments are the sums of allocations": `
    SELECT node.name, node.pods_committed, node.gpus_committed FROM nodes AS node
    LEFT JOIN allocations AS allocation ON allocation.node_name = node.name
    GROUP BY node.name
    HAVING (gpus_committed, cpu_millis_committed, memory_bytes_committed, pods_committed) IS DISTINCT FROM (
      coalesce(sum(allocation.gpus), 0), coalesce(sum(allocation.cpu_millis), 0),
      coalesce(sum(allocation.memory_bytes), 0), coalesce(sum(allocation.pods), 0))`,
  "1: commitments without a column are within what nodes have, and the sums of allocations": `
    SELECT node_name, resource, committed, allocatable, coalesce(used.amount, 0) AS used
    FROM node_resources
    FULL JOIN (
      SELECT node_name, resource, sum(pods * amount_per_pod) AS amount
      FROM allocations JOIN job_resources USING (job_id)
      GROUP BY node_name, resource
    ) AS used USING (node_name, resource)
    JOIN nodes ON nodes.name = node_name
    WHERE committed IS DISTINCT FROM coalesce(used.amount, 0) OR present AND committed > allocatable`,
  "2: allocations belong to live jobs, of their present attempt": `
    SELECT allocation.job_id FROM allocations AS allocation
    LEFT JOIN jobs AS job ON job.id = allocation.job_id AND job.attempt = allocation.attempt
      AND job.status IN ('starting', 'running', 'evicting')
    WHERE job.id IS NULL`,
  "2: live jobs have allocations of their whole gang, of part of it while it leaves": `
    SELECT job.name, job.status
    FROM jobs AS job
    CROSS JOIN LATERAL (
      SELECT coalesce(sum(pods), 0) AS pods FROM allocations WHERE job_id = job.id AND attempt = job.attempt
    ) AS own
    WHERE job.status IN ('starting', 'running', 'evicting') AND own.pods <> job.parallelism AND NOT (
      (job.status = 'evicting' OR job.ending IS NOT NULL) AND own.pods BETWEEN 1 AND job.parallelism)`,
  "4: no overlapping plans": `
    SELECT one.plan_name FROM resource_plans AS one JOIN resource_plans AS other
      ON one.id < other.id AND one.resource_owner_id = other.resource_owner_id
      AND one.resource_type = other.resource_type AND one.pool = other.pool
      AND one.time_window && other.time_window`,
  "4: paths agree with parents": `
    SELECT project.name FROM projects AS project LEFT JOIN projects AS parent ON parent.id = project.parent_id
    WHERE project.path <> coalesce(parent.path, '') || replace(project.name, '-', '_')`,
  "4: hashes are those of the content": `
    SELECT hash FROM config_blobs WHERE hash <> encode(sha256(convert_to(canonical, 'UTF8')), 'hex')`,
  "5: evicted jobs wait, run again, or have ended": `
    SELECT victim.victim FROM preemption_victims AS victim
    JOIN jobs AS job ON job.id = victim.victim_job_id
    WHERE victim.outcome = 'Evicted' AND job.attempt = victim.victim_attempt
      AND job.status NOT IN ('evicted', 'reserved', 'failed', 'cancelled')`,
  "6: every eviction is in the preemption log, with a reason": `
    SELECT event.namespace, event.name FROM job_events AS event
    LEFT JOIN preemption_victims AS victim
      ON victim.victim_job_id = event.job_id AND victim.victim_attempt = event.attempt
    WHERE event.to_status = 'evicting' AND event.from_status IS DISTINCT FROM 'evicting' AND victim.victim IS NULL`,
  "6: preemptions without an outcome have a preemptor that is reserved, or a window": `
    SELECT preemption.preemptor FROM preemptions AS preemption
    JOIN jobs AS job ON job.id = preemption.preemptor_job_id
    WHERE preemption.outcome IS NULL AND job.status <> 'reserved'`,
  "each attempt is started once": `
    SELECT job_id, attempt FROM job_events
    WHERE to_status = 'starting' AND from_status IS DISTINCT FROM 'starting'
    GROUP BY job_id, attempt HAVING count(*) > 1`,
  "each job ends once": `
    SELECT job_id FROM job_events
    WHERE to_status IN ('succeeded', 'failed', 'cancelled') AND from_status IS DISTINCT FROM to_status
    GROUP BY job_id HAVING count(*) > 1`,
};

/** Checks the invariants that hold at every instant, in one snapshot of the database. */
export async function checkDatabase(database: Database): Promise<void> {
  for (const [invariant, statement] of Object.entries(wrongRows)) {
    const { rows } = await database.query(statement);
    expect(rows, invariant).to.deep.equal([]);
  }
}

interface LiveRow {
  readonly id: string;
  readonly key: string;
  readonly status: string;
  readonly attempt: number;
  readonly parallelism: number;
  readonly nodes: readonly string[];
}

async function liveJobs(database: Database): Promise<Map<string, LiveRow>> {
  const { rows } = await database.query<LiveRow>(`
    SELECT job.id, job.namespace || '/' || job.name AS key, job.status::text, job.attempt, job.parallelism,
      ARRAY(SELECT node_name FROM allocations WHERE job_id = job.id) AS nodes
    FROM jobs AS job WHERE status IN ('starting', 'running', 'evicting')`);
  return new Map(rows.map((row) => [row.id, row]));
}

/** The pods of jobs that have pods of two attempts. */
export function podsOfTwoAttempts(pods: readonly Pod[]): readonly Pod[] {
  const byJob = [...Map.groupBy(pods, ({ jobUid }) => jobUid).values()];
  return byJob.filter((own) => new Set(own.map(({ attempt }) => attempt)).size > 1).flat();
}

/** At no instant do pods of two attempts of a job run. */
export function checkAttempts(pods: readonly Pod[]): void {
  const found = podsOfTwoAttempts(pods).map(({ name, phase, deleting }) => ({
    name,
    phase,
    deleting,
  }));
  expect(found, "pods of two attempts of one job").to.deep.equal([]);
}

function checkGang(job: LiveRow, pods: readonly Pod[]): void {
  const strangers = pods.filter(({ attempt }) => attempt !== job.attempt);
  expect(strangers, `pods of former attempts of ${job.key}`).to.deep.equal([]);
  expect(pods.length, `pods of ${job.key}, which is ${job.status}`).to.be.at.most(job.parallelism);
  for (const { name, nodeName } of pods) {
    if (nodeName !== "") expect(job.nodes, `the node of ${name}`).to.include(nodeName);
  }
}

/** Call it when nothing changes any more: the cluster must match the rows. */
export async function checkInvariants(view: ClusterView, database: Database): Promise<void> {
  await checkDatabase(database);
  const pods = await view.pods();
  const live = await liveJobs(database);
  checkAttempts(pods);
  for (const pod of pods) {
    expect(live.has(pod.jobUid), `pod ${pod.name} belongs to a live job`).to.equal(true);
  }
  const byJob = Map.groupBy(pods, ({ jobUid }) => jobUid);
  for (const job of live.values()) {
    const own = byJob.get(job.id) ?? [];
    checkGang(job, own);
    if (job.status === "running")
      expect(own.length, `pods of running ${job.key}`).to.be.at.least(1);
  }
}
