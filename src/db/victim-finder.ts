/**
 * Who could be evicted for blocked jobs: one statement that proposes a small superset, of which the decision picks.
 *
 * For each blocked job, per node: what is missing for one more of its pods, and what all jobs it may evict would
 * leave behind. Nodes where that is not enough drop out here, which makes a negative answer exact: when nothing is
 * proposed, evicting everybody would not help. Of the others the best are kept, by a lower bound of the pods to be
 * evicted there and by the set that taking jobs in order of preference would give; always so many that the whole
 * gang fits. Jobs under an exceeded ceiling are proposed in order of preference until the ceiling holds.
 */
import type { LiveJob, Placement, VictimRequest } from "../domain/scheduling/types.ts";
import { run } from "./pool.ts";
import type { Queryable } from "./types.ts";

export interface FinderLimits {
  /** Nodes looked at closely per blocked job, after the rough bound. */
  readonly closeNodes: number;
  /** Nodes proposed per blocked job, besides those its gang cannot do without. */
  readonly nodes: number;
  /** Jobs proposed per exceeded ceiling, besides those it takes to relieve it. */
  readonly siblings: number;
}

export const DEFAULT_LIMITS: FinderLimits = { closeNodes: 256, nodes: 32, siblings: 32 };

interface Row {
  readonly id: string;
  readonly key: string;
  readonly attempt: number;
  readonly priority: number;
  readonly status: "starting" | "running";
  readonly started_at: number;
  readonly borrowing: boolean;
  readonly pod_gpus: number;
  readonly pod_cpu_millis: number;
  readonly pod_memory_bytes: number;
  readonly allocations: readonly Placement[];
  readonly ceilings: readonly string[];
}

/** Proposed victims for all requests together. `budgets` names, by job id, the PodDisruptionBudget (namespace/name) that protects it. */
export async function findVictims(
  db: Queryable,
  pool: string,
  requests: readonly VictimRequest[],
  budgets: ReadonlyMap<string, string> = new Map(),
  limits: FinderLimits = DEFAULT_LIMITS,
): Promise<LiveJob[]> {
  if (requests.length === 0) return [];
  const powers = [...new Set(requests.map(powerOf))];
  const rows = await run<Row>(db, STATEMENT, [
    pool,
    JSON.stringify(requests.map((request, index) => parameter(request, index, powers))),
    [...budgets.keys()],
    limits.closeNodes,
    limits.nodes,
    limits.siblings,
  ]);
  return rows.map((row) => liveJob(row, budgets.get(row.id)));
}

/** Requests of one power may evict the same jobs: these are looked up once for all of them. */
const powerOf = ({ priority, inside, over, borrows }: VictimRequest): string =>
  JSON.stringify([priority, inside, over.length > 0, borrows]);

const parameter = (request: VictimRequest, index: number, powers: readonly string[]) => ({
  preemptor: index,
  power: powers.indexOf(powerOf(request)),
  priority: request.priority,
  inside: request.inside,
  claims: request.over.length > 0,
  borrows: request.borrows,
  parallelism: request.parallelism,
  gpus: request.perPod.gpus,
  cpu_millis: request.perPod.cpuMillis,
  memory_bytes: request.perPod.memoryBytes,
  nodes: request.nodes ?? null,
  over: request.over.map((one) => ({
    ceiling: one.ceilingId,
    resource_type: one.resourceType,
    excess: one.excess,
  })),
  changed: request.changed.map(({ node, room }) => ({
    node,
    gpus: room.gpus,
    cpu_millis: room.cpuMillis,
    memory_bytes: room.memoryBytes,
    pods: room.pods,
  })),
});

const liveJob = (row: Row, budget: string | undefined): LiveJob => ({
  id: row.id,
  key: row.key,
  attempt: row.attempt,
  priority: row.priority,
  status: row.status,
  startedAtSeconds: row.started_at,
  borrowing: row.borrowing,
  perPod: {
    gpus: row.pod_gpus,
    cpuMillis: row.pod_cpu_millis,
    memoryBytes: row.pod_memory_bytes,
    pods: 1,
  },
  allocations: row.allocations,
  ceilings: row.ceilings,
  ...(budget === undefined ? {} : { protected: budget }),
});

/** Whether a request's power reaches a job; `power` and the table with the job's marks are in scope. */
const reaches = (job: string): string => `(
        ${job}.priority < power.priority AND (power.inside OR power.claims OR ${job}.borrowing)
        OR (power.inside OR power.claims) AND ${job}.borrowing
      )`;

/**
 * Allocations of jobs that a power reaches and that free something short, one scan for each power. In two parts, so
 * that the first is read from the index of GPU pods alone, and the second not at all when GPUs alone are short.
 */
const reached = (columns: string, where: string): string => `
      SELECT ${columns}
      FROM allocations AS own
      WHERE short.gpus AND own.pool = $1 AND own.evictable AND own.gpus > 0 AND ${reaches("own")} ${where}
      UNION ALL
      SELECT ${columns}
      FROM allocations AS own
      WHERE (short.cpu_millis OR short.memory_bytes OR short.pods) AND own.pool = $1 AND own.evictable
        AND (own.gpus = 0 OR NOT short.gpus)
        AND (short.cpu_millis AND own.cpu_millis > 0 OR short.memory_bytes AND own.memory_bytes > 0 OR short.pods)
        AND ${reaches("own")} ${where}`;

const STATEMENT = `
  WITH request AS MATERIALIZED (
    SELECT *
    FROM jsonb_to_recordset($2::jsonb) AS (
      preemptor integer, power integer, priority integer, inside boolean, claims boolean, borrows boolean, parallelism integer,
      gpus float8, cpu_millis float8, memory_bytes float8, nodes jsonb, over jsonb, changed jsonb
    )
  ),
  power AS MATERIALIZED (
    SELECT DISTINCT power, priority, inside, claims, borrows FROM request
  ),
  leaving AS (
    SELECT node_name, sum(gpus)::float8 AS gpus, sum(cpu_millis)::float8 AS cpu_millis,
      sum(memory_bytes)::float8 AS memory_bytes, sum(pods)::float8 AS pods
    FROM allocations
    WHERE pool = $1 AND NOT evictable
    GROUP BY node_name
  ),
  held AS (
    SELECT node_name, sum(gpus)::float8 AS gpus, sum(cpu_millis)::float8 AS cpu_millis,
      sum(memory_bytes)::float8 AS memory_bytes, sum(pods)::float8 AS pods
    FROM holds
    GROUP BY node_name
  ),
  -- Free once evicting pods have left and holds are used, as in the decision.
  room AS MATERIALIZED (
    SELECT node.name,
      gpus_allocatable - gpus_foreign - gpus_committed
        + coalesce(leaving.gpus, 0) - coalesce(held.gpus, 0) AS gpus,
      cpu_millis_allocatable - cpu_millis_foreign - cpu_millis_committed
        + coalesce(leaving.cpu_millis, 0) - coalesce(held.cpu_millis, 0) AS cpu_millis,
      memory_bytes_allocatable - memory_bytes_foreign - memory_bytes_committed
        + coalesce(leaving.memory_bytes, 0) - coalesce(held.memory_bytes, 0) AS memory_bytes,
      pods_allocatable - pods_foreign - pods_committed
        + coalesce(leaving.pods, 0) - coalesce(held.pods, 0) AS pods
    FROM nodes AS node
    LEFT JOIN leaving ON leaving.node_name = node.name
    LEFT JOIN held ON held.node_name = node.name
    WHERE node.pool = $1 AND node.present AND node.schedulable
  ),
  changed AS MATERIALIZED (
    SELECT request.preemptor, change.*
    FROM request, jsonb_to_recordset(request.changed) AS change (
      node text, gpus float8, cpu_millis float8, memory_bytes float8, pods float8
    )
  ),
  accepting AS MATERIALIZED (
    SELECT request.preemptor, name
    FROM request, jsonb_array_elements_text(request.nodes) AS name
    WHERE jsonb_typeof(request.nodes) = 'array'
  ),
  seen AS MATERIALIZED (
    SELECT request.preemptor, room.name,
      coalesce(changed.gpus, room.gpus) AS gpus, coalesce(changed.cpu_millis, room.cpu_millis) AS cpu_millis,
      coalesce(changed.memory_bytes, room.memory_bytes) AS memory_bytes, coalesce(changed.pods, room.pods) AS pods
    FROM request
    CROSS JOIN room
    LEFT JOIN changed ON changed.preemptor = request.preemptor AND changed.node = room.name
    WHERE jsonb_typeof(request.nodes) IS DISTINCT FROM 'array'
      OR EXISTS (SELECT FROM accepting WHERE accepting.preemptor = request.preemptor AND accepting.name = room.name)
  ),
  -- Jobs that free only what is nowhere short are no use: of 100,000 pods this leaves the GPU pods, as a rule.
  short AS MATERIALIZED (
    SELECT request.power,
      bool_or(least.gpus < request.gpus * request.parallelism) AS gpus,
      bool_or(least.cpu_millis < request.cpu_millis * request.parallelism) AS cpu_millis,
      bool_or(least.memory_bytes < request.memory_bytes * request.parallelism) AS memory_bytes,
      bool_or(least.pods < request.parallelism) AS pods
    FROM request
    JOIN (
      SELECT preemptor, min(gpus) AS gpus, min(cpu_millis) AS cpu_millis, min(memory_bytes) AS memory_bytes,
        min(pods) AS pods
      FROM seen
      GROUP BY preemptor
    ) AS least USING (preemptor)
    GROUP BY request.power
  ),
  freed AS MATERIALIZED (
    SELECT short.power, sums.*
    FROM short
    JOIN power USING (power)
    CROSS JOIN LATERAL (
      SELECT node_name, sum(gpus)::float8 AS gpus, sum(cpu_millis)::float8 AS cpu_millis,
        sum(memory_bytes)::float8 AS memory_bytes, sum(pods)::float8 AS pods,
        max(gpus::float8 / gang) AS gpus_per_pod, max(cpu_millis::float8 / gang) AS cpu_millis_per_pod,
        max(memory_bytes::float8 / gang) AS memory_bytes_per_pod, max(pods::float8 / gang) AS pods_per_pod
      FROM (${reached(
        "own.node_name, own.gpus, own.cpu_millis, own.memory_bytes, own.pods, own.gang",
        "AND (cardinality($3::uuid[]) = 0 OR own.job_id <> ALL ($3::uuid[]))",
      )}
      ) AS reached
      GROUP BY node_name
    ) AS sums
  ),
  -- Stages are kept apart: pulled into one, their expressions would be computed over and over.
  counted AS MATERIALIZED (
    SELECT seen.*, request.power, request.parallelism,
      request.gpus AS pod_gpus, request.cpu_millis AS pod_cpu_millis, request.memory_bytes AS pod_memory_bytes,
      gpus_per_pod, cpu_millis_per_pod, memory_bytes_per_pod, pods_per_pod,
      greatest(0, least(
        floor(seen.gpus / nullif(request.gpus, 0)), floor(seen.cpu_millis / nullif(request.cpu_millis, 0)),
        floor(seen.memory_bytes / nullif(request.memory_bytes, 0)), seen.pods
      )) AS fits,
      greatest(0, least(
        floor((seen.gpus + freed.gpus) / nullif(request.gpus, 0)),
        floor((seen.cpu_millis + freed.cpu_millis) / nullif(request.cpu_millis, 0)),
        floor((seen.memory_bytes + freed.memory_bytes) / nullif(request.memory_bytes, 0)),
        seen.pods + freed.pods
      )) AS could_fit
    FROM seen
    JOIN request USING (preemptor)
    JOIN freed ON freed.power = request.power AND freed.node_name = seen.name
  ),
  -- At least so many pods must go for one more to fit: as if gangs could be evicted in part.
  bounded AS MATERIALIZED (
    SELECT preemptor, power, name, parallelism, could_fit - fits AS gain,
      -- What is not asked for is not missing, even where more of it is kept than there is.
      CASE WHEN pod_gpus > 0 THEN greatest(0, (fits + 1) * pod_gpus - gpus) ELSE 0 END AS missing_gpus,
      CASE WHEN pod_cpu_millis > 0 THEN greatest(0, (fits + 1) * pod_cpu_millis - cpu_millis) ELSE 0 END
        AS missing_cpu_millis,
      CASE WHEN pod_memory_bytes > 0 THEN greatest(0, (fits + 1) * pod_memory_bytes - memory_bytes) ELSE 0 END
        AS missing_memory_bytes,
      greatest(0, fits + 1 - pods) AS missing_pods,
      ceil(greatest(
        CASE WHEN pod_gpus > 0 THEN ((fits + 1) * pod_gpus - gpus) / nullif(gpus_per_pod, 0) END,
        CASE WHEN pod_cpu_millis > 0 THEN ((fits + 1) * pod_cpu_millis - cpu_millis) / nullif(cpu_millis_per_pod, 0) END,
        CASE WHEN pod_memory_bytes > 0
          THEN ((fits + 1) * pod_memory_bytes - memory_bytes) / nullif(memory_bytes_per_pod, 0) END,
        (fits + 1 - pods) / nullif(pods_per_pod, 0), 0
      ) - 1e-9) AS fewest_pods
    FROM counted
    WHERE could_fit > fits
  ),
  -- Each gains one pod at least: as many nodes as the gang has pods are enough, or all are there.
  roughly AS MATERIALIZED (
    SELECT best.*
    FROM request
    CROSS JOIN LATERAL (
      SELECT *
      FROM bounded
      WHERE bounded.preemptor = request.preemptor
      ORDER BY fewest_pods, gain DESC, name COLLATE "C"
      LIMIT greatest($4::integer, request.parallelism)
    ) AS best
  ),
  close AS MATERIALIZED (
    SELECT roughly.*, sum(gain) OVER (
      PARTITION BY preemptor ORDER BY fewest_pods, gain DESC, name COLLATE "C" ROWS UNBOUNDED PRECEDING
    ) - gain AS gained_before
    FROM roughly
  ),
  placed AS MATERIALIZED (
    SELECT short.power, reached.*
    FROM short
    JOIN power USING (power)
    CROSS JOIN LATERAL (${reached(
      `own.node_name, own.job_id AS id, own.gang, own.borrowing, own.priority, own.started_at,
        own.gpus::float8, own.cpu_millis::float8, own.memory_bytes::float8, own.pods::float8`,
      "AND own.job_id <> ALL ($3::uuid[]) AND own.node_name = ANY (ARRAY(SELECT name FROM close))",
    )}
    ) AS reached
  ),
  -- Taking jobs in order of preference: how far must one go on each of these nodes?
  running AS (
    SELECT close.preemptor, close.name, close.power, close.parallelism, close.gained_before, close.fewest_pods,
      placed.priority, placed.started_at,
      sum(placed.gang) OVER preferred AS pods_so_far,
      count(*) FILTER (WHERE NOT placed.borrowing) OVER preferred AS inside_so_far,
      sum(placed.gpus) OVER preferred >= missing_gpus
        AND sum(placed.cpu_millis) OVER preferred >= missing_cpu_millis
        AND sum(placed.memory_bytes) OVER preferred >= missing_memory_bytes
        AND sum(placed.pods) OVER preferred >= missing_pods AS is_enough
    FROM close
    JOIN placed ON placed.power = close.power AND placed.node_name = close.name
    WINDOW preferred AS (
      PARTITION BY close.preemptor, close.name
      ORDER BY placed.borrowing DESC, placed.priority, placed.started_at DESC, placed.id
      ROWS UNBOUNDED PRECEDING
    )
  ),
  prefix AS (
    SELECT DISTINCT ON (preemptor, name) *
    FROM running
    WHERE is_enough
    ORDER BY preemptor, name, pods_so_far
  ),
  ordered AS (
    SELECT power, name, parallelism, gained_before,
      row_number() OVER (
        PARTITION BY preemptor
        ORDER BY pods_so_far, inside_so_far, priority, started_at DESC, name COLLATE "C"
      ) AS by_preference,
      row_number() OVER (
        PARTITION BY preemptor
        ORDER BY fewest_pods, inside_so_far, priority, started_at DESC, name COLLATE "C"
      ) AS by_bound
    FROM prefix
  ),
  chosen AS MATERIALIZED (
    SELECT DISTINCT power, name
    FROM ordered
    WHERE by_preference <= $5::integer OR by_bound <= $5::integer OR gained_before < parallelism
  ),
  on_nodes AS (
    SELECT DISTINCT placed.id
    FROM placed
    JOIN chosen ON chosen.power = placed.power AND chosen.name = placed.node_name
  ),
  exceeded AS MATERIALIZED (
    SELECT request.preemptor, over.ceiling, split_part(over.ceiling, '/', 1)::bigint AS owner_id,
      over.resource_type, over.excess
    FROM request, jsonb_to_recordset(request.over) AS over (ceiling text, resource_type text, excess bigint)
  ),
  under_ceiling AS (
    SELECT DISTINCT exceeded.preemptor, exceeded.ceiling, exceeded.excess, job.id, job.parallelism AS gang,
      job.priority, job.started_at,
      CASE exceeded.resource_type WHEN 'GPU' THEN job.gpus ELSE job.cpu_millis END AS amount
    FROM exceeded
    JOIN request USING (preemptor)
    JOIN projects AS owned ON owned.owner_id = exceeded.owner_id
    JOIN projects AS project ON project.path <@ owned.path
    JOIN jobs AS job ON job.active_project_id = project.id AND job.priority < request.priority AND NOT job.borrowing
    WHERE job.pool = $1 AND job.status IN ('starting', 'running') AND job.id <> ALL ($3::uuid[])
  ),
  relieving AS (
    SELECT id, excess,
      row_number() OVER preferred AS by_preference,
      sum(amount) OVER preferred - amount AS relieved_before,
      row_number() OVER largest AS by_amount
    FROM under_ceiling
    WHERE amount > 0
    WINDOW
      preferred AS (
        PARTITION BY preemptor, ceiling ORDER BY priority, started_at DESC, id
        ROWS UNBOUNDED PRECEDING
      ),
      largest AS (
        PARTITION BY preemptor, ceiling ORDER BY amount::float8 / gang DESC, priority, started_at DESC, id
      )
  ),
  proposed AS MATERIALIZED (
    SELECT id FROM on_nodes
    UNION
    SELECT id FROM relieving
    WHERE relieved_before < excess OR by_preference <= $6::integer OR by_amount <= $6::integer
    UNION
    SELECT job.id
    FROM power
    JOIN jobs AS job ON ${reaches("job")}
    WHERE job.id = ANY ($3::uuid[]) AND job.pool = $1 AND job.status IN ('starting', 'running')
  ),
  chains AS (
    SELECT DISTINCT project.id AS project_id, ancestor.owner_id
    FROM projects AS project
    JOIN projects AS ancestor ON ancestor.path @> project.path AND ancestor.owner_id IS NOT NULL
    WHERE project.id IN (SELECT project_id FROM jobs WHERE id = ANY (ARRAY(SELECT id FROM proposed)))
  ),
  planned AS (
    SELECT DISTINCT chains.project_id, plan.resource_owner_id AS owner_id, plan.resource_type
    FROM chains
    JOIN resource_plans AS plan ON plan.resource_owner_id = chains.owner_id AND plan.pool = $1
  )
  SELECT job.id, job.namespace || '/' || job.name AS key, job.attempt, job.priority, job.status,
    extract(epoch FROM job.started_at)::float8 AS started_at, job.borrowing,
    job.pod_gpus, job.pod_cpu_millis, job.pod_memory_bytes,
    (
      SELECT json_agg(json_build_object('node', node_name, 'pods', pods) ORDER BY node_name)
      FROM allocations
      WHERE job_id = job.id AND attempt = job.attempt
    ) AS allocations,
    coalesce((
      SELECT json_agg(planned.owner_id || '/' || planned.resource_type ORDER BY planned.owner_id, planned.resource_type)
      FROM planned
      WHERE planned.project_id = job.project_id
        AND CASE planned.resource_type WHEN 'GPU' THEN job.gpus > 0 ELSE job.cpu_millis > 0 END
    ), '[]') AS ceilings
  FROM jobs AS job
  -- As an array, because the planner cannot know that few are proposed and would read all jobs.
  WHERE job.id = ANY (ARRAY(SELECT id FROM proposed))
  ORDER BY job.id
`;
