/** Decisions looked at from outside: are marks true, victims needed, waiting jobs rightly waiting, and told why? */
import type { DatabasePool } from "../../src/db/pool.ts";
import type { Explanations } from "../../src/scheduler/explanations.ts";
import {
  borrowers,
  ceilingsOver,
  type NaiveJob,
  type NaivePlan,
  type NaiveProject,
} from "./naive.ts";

interface NodeRow {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly taints: readonly object[];
  readonly usable: boolean;
  /** GPUs, millicores, bytes, pods; numeric, as text. */
  readonly free: readonly string[];
  readonly leaving: readonly string[];
  readonly held: readonly string[];
}

interface JobRow extends NaiveJob {
  readonly name: string;
  readonly status: string;
  readonly borrowing: boolean;
  readonly parallelism: number;
  readonly perPod: readonly string[];
  readonly nodeSelector: Readonly<Record<string, string>>;
  readonly toleratesAll: boolean;
  readonly isDue: boolean;
  /** How often it was started or held; after the first time it may avoid nodes. */
  readonly starts: number;
}

interface World {
  readonly nodes: readonly NodeRow[];
  readonly jobs: readonly JobRow[];
  readonly projects: ReadonlyMap<string, NaiveProject>;
}

const amounts = (prefix: string): string =>
  `ARRAY[${prefix}gpus, ${prefix}cpu_millis, ${prefix}memory_bytes, ${prefix}pods]::numeric[]`;

async function readWorld(db: DatabasePool, pool: string): Promise<World> {
  const nodes = await db.query<NodeRow>(
    `
    SELECT name, labels, taints, present AND schedulable AS usable,
      ARRAY[gpus_allocatable - gpus_foreign - gpus_committed,
        cpu_millis_allocatable - cpu_millis_foreign - cpu_millis_committed,
        memory_bytes_allocatable - memory_bytes_foreign - memory_bytes_committed,
        pods_allocatable - pods_foreign - pods_committed]::numeric[] AS free,
      coalesce((
        SELECT ARRAY[sum(own.gpus), sum(own.cpu_millis), sum(own.memory_bytes), sum(own.pods)]::numeric[]
        FROM allocations AS own JOIN jobs ON jobs.id = own.job_id
        WHERE own.node_name = nodes.name AND jobs.status = 'evicting'
      ), '{0,0,0,0}') AS leaving,
      coalesce((
        SELECT ARRAY[sum(gpus), sum(cpu_millis), sum(memory_bytes), sum(pods)]::numeric[]
        FROM holds WHERE node_name = nodes.name
      ), '{0,0,0,0}') AS held
    FROM nodes WHERE pool = $1`,
    [pool],
  );
  const jobs = await db.query<JobRow>(
    `
    SELECT job.id, job.project_id AS "projectId", job.pool, job.priority, job.status = 'held' AS held,
      extract(epoch FROM job.admitted_at)::float8 AS "admittedAtSeconds", job.gpus, job.cpu_millis AS "cpuMillis",
      job.name, job.status, job.borrowing, job.parallelism,
      ARRAY[pod_gpus, pod_cpu_millis, pod_memory_bytes, 1]::numeric[] AS "perPod",
      spec.node_selector AS "nodeSelector", spec.tolerations <> '[]' AS "toleratesAll",
      NOT job.suspended AND coalesce(job.not_before <= now(), true) AS "isDue",
      (SELECT count(*)::int FROM job_events
        WHERE job_id = job.id AND from_status IN ('pending', 'evicted') AND to_status IN ('held', 'starting')) AS starts
    FROM jobs AS job JOIN job_specs AS spec ON spec.job_id = job.id
    WHERE job.pool = $1 AND job.finished_at IS NULL`,
    [pool],
  );
  const projects = await db.query<NaiveProject>(
    `SELECT project.id, parent_id AS "parentId", owner.name AS owner
     FROM projects AS project LEFT JOIN owners AS owner ON owner.id = owner_id`,
  );
  return {
    nodes: nodes.rows,
    jobs: jobs.rows,
    projects: new Map(projects.rows.map((row) => [row.id, row])),
  };
}

const accepts = (node: NodeRow, job: JobRow): boolean =>
  node.usable &&
  (node.taints.length === 0 || job.toleratesAll) &&
  Object.entries(job.nodeSelector).every(([key, value]) => node.labels[key] === value);

/** Pods of the job that fit, with so much room on each node. */
const podsThatFit = (
  job: JobRow,
  nodes: readonly NodeRow[],
  roomOf: (node: NodeRow, dimension: number) => number,
): number =>
  nodes
    .filter((node) => accepts(node, job))
    .reduce((sum, node) => {
      const counts = job.perPod.flatMap((demand, dimension) =>
        Number(demand) > 0 ? [Math.floor(roomOf(node, dimension) / Number(demand))] : [],
      );
      return sum + Math.max(0, Math.min(...counts));
    }, 0);

const free = (node: NodeRow, at: number): number => Number(node.free[at]);

export interface Judgement {
  readonly pool: string;
  readonly plans: readonly NaivePlan[];
  readonly explanations: Pick<Explanations, "get">;
  readonly local: Temporal.ZonedDateTime;
}

const isWaiting = ({ status }: JobRow): boolean => status === "pending" || status === "evicted";

/** Throws when the marks differ from a naive reading, or a waiting job has no answer, or waits for nothing. */
export async function judgePool(db: DatabasePool, judgement: Judgement): Promise<void> {
  const { pool, plans, explanations, local } = judgement;
  const world = await readWorld(db, pool);
  const occupying = world.jobs.filter(({ status }) =>
    ["held", "starting", "running"].includes(status),
  );
  const expected = borrowers(occupying, world.projects, plans, local);
  for (const { id, name, borrowing } of occupying) {
    if (expected.has(id) !== borrowing)
      throw new Error(`${name} is marked ${borrowing ? "borrowing" : "entitled"}, and is not`);
  }
  const waiting = world.jobs.filter((job) => isWaiting(job) && job.isDue);
  for (const { id, name } of waiting) {
    const told = explanations.get(id);
    if (told === undefined || told.message === "")
      throw new Error(`${name} waits and is not told why`);
  }
  const [only] = waiting;
  if (only && waiting.length === 1) judgeOnlyOne(only, world, occupying, judgement);
}

/** A job that waits alone, is inside its plans and fits, has no reason to wait. */
function judgeOnlyOne(
  job: JobRow,
  { nodes, jobs, projects }: World,
  occupying: readonly JobRow[],
  { plans, local, explanations }: Judgement,
): void {
  if (job.starts > 0 || jobs.some(({ status }) => status === "held" || status === "evicting"))
    return;
  const told = explanations.get(job.id);
  // A window that evicts at its end is no hindrance of space or quantity.
  if (told?.reason === "WindowClosesTooSoon" || told?.reason === "WindowClosed") return;
  const { ceilings, unplanned } = ceilingsOver(job, projects, plans, local);
  const isInside = ceilings.every(({ id, limit, demand }) => {
    const used = occupying
      .flatMap((other) => ceilingsOver(other, projects, plans, local).ceilings)
      .filter((ceiling) => ceiling.id === id)
      .reduce((sum, ceiling) => sum + ceiling.demand, 0);
    return used + demand <= limit;
  });
  if (unplanned || !isInside || podsThatFit(job, nodes, free) < job.parallelism) return;
  throw new Error(`${job.name} is alone, entitled and fits, and waits: ${told?.message ?? ""}`);
}

interface VictimRow {
  readonly preemptor: string;
  readonly victim: string;
  readonly allocations: Readonly<Record<string, readonly number[]>>;
}

/**
 * Inclusion-minimality of the one preemption of a cycle, seen after it: with any victim back where it was, the preemptor
 * would not fit. Left out are victims for the sake of a ceiling, and preemptors that may avoid nodes or are not the
 * first; false for these.
 */
export async function judgeVictims(
  db: DatabasePool,
  pool: string,
  preemptionId: string,
): Promise<boolean> {
  const { rows: victims } = await db.query<VictimRow>(
    `
    SELECT preemption.preemptor_job_id AS preemptor, victim.victim, (
      SELECT jsonb_object_agg(node_name, jsonb_build_array(gpus, cpu_millis, memory_bytes, pods))
      FROM allocations WHERE job_id = victim.victim_job_id
    ) AS allocations
    FROM preemptions AS preemption
    JOIN preemption_victims AS victim ON victim.preemption_id = preemption.id
    WHERE preemption.id = $1 AND NOT EXISTS (
      SELECT FROM preemption_victims AS other
      WHERE other.preemption_id = preemption.id AND other.rule IN ('OwnCeiling', 'WindowClosed')
    )`,
    [preemptionId],
  );
  if (victims.length === 0) return false;
  const { nodes, jobs } = await readWorld(db, pool);
  const preemptor = jobs.find(({ id }) => id === victims[0]?.preemptor);
  if (!preemptor) throw new Error(`the preemptor of ${preemptionId} is not there`);
  if (preemptor.starts > 1) return false;
  // Free space may be kept for a job that waits before it: of a borrower, that is any that is entitled.
  const isBefore = ({ priority }: JobRow) => preemptor.borrowing || priority >= preemptor.priority;
  if (jobs.some((job) => isWaiting(job) && job.isDue && isBefore(job))) return false;
  const own = await ownHolds(db, preemptor.id);
  for (const { victim, allocations } of victims) {
    const fitting = podsThatFit(preemptor, nodes, (node, at) => {
      const kept = Number(node.held[at]) - (own.get(node.name)?.[at] ?? 0);
      const back = allocations[node.name]?.[at] ?? 0;
      return free(node, at) + Number(node.leaving[at]) - kept - back;
    });
    if (fitting >= preemptor.parallelism)
      throw new Error(`${victim} is evicted for ${preemptor.name}, which fits without that`);
  }
  return true;
}

async function ownHolds(
  db: DatabasePool,
  jobId: string,
): Promise<ReadonlyMap<string, readonly number[]>> {
  const { rows } = await db.query<{ node_name: string; kept: readonly string[] }>(
    `SELECT node_name, ${amounts("")} AS kept FROM holds WHERE job_id = $1`,
    [jobId],
  );
  return new Map(rows.map(({ node_name, kept }) => [node_name, kept.map(Number)]));
}
