/** A pool as the database tells it: read before and after a cycle, so that what the cycle did can be judged. */
import type { DatabasePool } from "../../../src/db/client/connection-pool.ts";
import {
  fpga,
  quotasOver,
  type NaiveJob,
  type NaivePlan,
  type NaiveProject,
  type QuotasOver,
} from "./plans.ts";

/** GPUs, millicores, bytes, pods, FPGAs, and the host port, of which every node has one. */
export type Amounts = readonly number[];
/** Pods by node. */
export type Places = Readonly<Record<string, number>>;

export interface WorldNode {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly taints: readonly object[];
  readonly usable: boolean;
  readonly allocatable: Amounts;
  /** Allocatable, without what pods of others use. */
  readonly whole: Amounts;
}

export interface WorldJob extends NaiveJob, QuotasOver {
  /** Of the gang. */
  readonly gpus: number;
  readonly key: string;
  readonly status: string;
  readonly attempt: number;
  readonly queuedAtSeconds: number;
  readonly startedAtSeconds: number;
  /** As it is marked. */
  readonly borrowing: boolean;
  /** By its own word and its project's. */
  readonly mayBorrow: boolean;
  readonly preempts: boolean;
  /** On one node; null: no limit. */
  readonly maxPodsPerNode: number | null;
  readonly maxRuntimeSeconds: number | null;
  readonly nodeSelector: Readonly<Record<string, string>>;
  readonly toleratesAll: boolean;
  readonly avoids: readonly string[];
  readonly isDue: boolean;
  readonly allocated: Places;
  readonly kept: Places;
  readonly keptUntilSeconds: number | null;
}

export interface World {
  readonly pool: string;
  readonly nowSeconds: number;
  readonly local: Temporal.ZonedDateTime;
  readonly nodes: readonly WorldNode[];
  readonly jobs: ReadonlyMap<string, WorldJob>;
  readonly projects: ReadonlyMap<string, NaiveProject>;
  readonly plans: readonly NaivePlan[];
  /** The last entry of the history. */
  readonly lastEvent: number;
}

export interface Moment {
  readonly now: Temporal.Instant;
  readonly timeZone: string;
  readonly plans: readonly NaivePlan[];
}

/** The one exclusive resource in the simulation. */
export const port = "hostport:TCP:8080";

type JobRow = Omit<WorldJob, keyof QuotasOver>;

const readNodes = (db: DatabasePool, pool: string) =>
  db.query<WorldNode>(
    `
    SELECT name, labels, taints, schedulable AS usable,
      ARRAY[
        gpus_allocatable, cpu_millis_allocatable, memory_bytes_allocatable, pods_allocatable, coalesce(fpgas.allocatable, 0),
        1
      ]::float8[] AS allocatable,
      ARRAY[
        gpus_allocatable - gpus_other, cpu_millis_allocatable - cpu_millis_other,
        memory_bytes_allocatable - memory_bytes_other, pods_allocatable - pods_other,
        coalesce(fpgas.allocatable - fpgas.other, 0), 1 - coalesce(ports.other, 0)
      ]::float8[] AS whole
    FROM nodes
    LEFT JOIN node_resources AS fpgas ON fpgas.node_name = name AND fpgas.resource = '${fpga}'
    LEFT JOIN node_resources AS ports ON ports.node_name = name AND ports.resource = '${port}'
    WHERE pool = $1 AND present
    ORDER BY name
    `,
    [pool],
  );

const readJobs = (db: DatabasePool, pool: string) =>
  db.query<JobRow>(
    `
    SELECT job.id, job.namespace || '/' || job.name AS key, job.project_id AS "projectId", job.pool, job.priority,
      job.status, job.attempt, job.required_gpu AS gpus,
      extract(epoch FROM job.created_at)::float8 AS "queuedAtSeconds",
      extract(epoch FROM job.admitted_at)::float8 AS "admittedAtSeconds",
      extract(epoch FROM job.started_at)::float8 AS "startedAtSeconds",
      job.borrowing, job.preempts, job.parallelism, job.max_runtime_seconds AS "maxRuntimeSeconds",
      ARRAY[
        pod_gpus, pod_cpu_millis, pod_memory_bytes, 1,
        coalesce((SELECT amount_per_pod FROM job_resources WHERE job_id = job.id AND resource = '${fpga}'), 0),
        coalesce((SELECT amount_per_pod FROM job_resources WHERE job_id = job.id AND resource = '${port}'), 0)
      ]::float8[] AS "perPod",
      job.allows_borrowing AND coalesce((
        SELECT above.borrowing FROM projects AS above JOIN projects AS own ON own.id = job.project_id
        WHERE above.path @> own.path AND above.borrowing IS NOT NULL ORDER BY nlevel(above.path) DESC LIMIT 1
      ), 'Allow') = 'Allow' AS "mayBorrow",
      spec.max_pods_per_node AS "maxPodsPerNode",
      spec.node_selector AS "nodeSelector", spec.tolerations <> '[]' AS "toleratesAll",
      ARRAY(SELECT node_name FROM avoided_nodes WHERE job_id = job.id AND until > now()) AS avoids,
      NOT job.suspended AND coalesce(job.not_before <= now(), true) AS "isDue",
      coalesce((SELECT jsonb_object_agg(node_name, pods) FROM allocations WHERE job_id = job.id), '{}') AS allocated,
      coalesce((SELECT jsonb_object_agg(node_name, pods) FROM reservations WHERE job_id = job.id), '{}') AS kept,
      (SELECT extract(epoch FROM min(expires_at))::float8 FROM reservations WHERE job_id = job.id) AS "keptUntilSeconds"
    FROM jobs AS job JOIN job_specs AS spec ON spec.job_id = job.id
    WHERE job.pool = $1 AND job.finished_at IS NULL
    ORDER BY job.priority DESC, job.created_at, job.arrival
    `,
    [pool],
  );

const readProjects = (db: DatabasePool) =>
  db.query<NaiveProject>(
    `SELECT project.id, parent_id AS "parentId", owner.name AS owner
     FROM projects AS project LEFT JOIN owners AS owner ON owner.id = owner_id`,
  );

export async function readWorld(db: DatabasePool, pool: string, moment: Moment): Promise<World> {
  const { now, timeZone, plans } = moment;
  const [nodes, jobs, found, last] = await Promise.all([
    readNodes(db, pool),
    readJobs(db, pool),
    readProjects(db),
    db.query<{ id: number }>(
      "SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence('job_events', 'id')), 0)::float8 AS id",
    ),
  ]);
  const local = now.toZonedDateTimeISO(timeZone);
  const projects = new Map(found.rows.map((row) => [row.id, row]));
  const withQuotas = jobs.rows.map((row): WorldJob => {
    const over = quotasOver(row, projects, plans, local);
    return { ...row, ...over, mayBorrow: row.mayBorrow || over.isFree };
  });
  return {
    pool,
    nowSeconds: now.epochMilliseconds / 1000,
    local,
    nodes: nodes.rows,
    jobs: new Map(withQuotas.map((job) => [job.id, job])),
    projects,
    plans,
    lastEvent: last.rows[0]?.id ?? 0,
  };
}

export const isWaiting = ({ status }: WorldJob): boolean =>
  status === "pending" || status === "evicted";
export const isLive = ({ status }: WorldJob): boolean =>
  status === "starting" || status === "running";
export const occupies = (job: WorldJob): boolean => isLive(job) || job.status === "reserved";

/** Priority, then queue time; equals stay in the order of their arrival, in which the rows come. */
export const inQueueOrder = (jobs: readonly WorldJob[]): WorldJob[] =>
  jobs.toSorted(
    (one, other) => other.priority - one.priority || one.queuedAtSeconds - other.queuedAtSeconds,
  );
