/**
 * Who could be evicted for blocked jobs: one statement that proposes a small superset, of which the decision picks.
 *
 * For each blocked job, per node: what is missing for one more of its pods, and what all jobs it may evict would
 * leave behind. Nodes where that is not enough drop out here, which makes a negative answer exact: when nothing is
 * proposed, evicting everybody would not help. Of the others the best are kept, by a lower bound of the pods to be
 * evicted there and by the set that taking jobs in order of preference would give; always so many that the whole
 * gang fits. Jobs under an exceeded ceiling are proposed in order of preference until the ceiling holds.
 *
 * Where GPUs alone are short, few nodes are looked at: those that lack least and those with the largest pods. Any
 * other lacks no less and frees no more per pod, which bounds it from below without a look at its jobs. Only when too
 * few of the nodes looked at are as good as that bound, all are.
 */
import type { LiveJob, Placement, VictimRequest } from "../domain/scheduling/types.ts";
import { run } from "./pool.ts";
import { prepared } from "./prepared.ts";
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
  const asked = requests.flatMap(eachWay);
  const powers = [...new Set(asked.map(powerOf))];
  const described = JSON.stringify(
    asked.map((request, index) => parameter(request, index, powers)),
  );
  const propose = (statement: typeof FIND, spared: readonly string[]): Promise<Row[]> =>
    run<Row>(db, statement, [
      pool,
      described,
      spared,
      limits.closeNodes,
      limits.nodes,
      limits.siblings,
    ]);
  const anyone = await propose(FIND, []);
  if (budgets.size === 0) return anyone.map((row) => liveJob(row, undefined));
  // Whoever may go, and those who could without the budgets: where these are in the way, the decision says so.
  const rows = [...anyone, ...(await propose(FIND_SPARING, [...budgets.keys()]))];
  const byId = new Map(rows.map((row) => [row.id, row]));
  return [...byId.values()].map((row) => liveJob(row, budgets.get(row.id)));
}

/**
 * A job past its ceiling may come to run inside it or as a borrower, and evicts others for the one than for the other:
 * nodes that are good for the first must not hide those that are for the second.
 */
const eachWay = (request: VictimRequest): VictimRequest[] =>
  request.over.length > 0 && request.borrows
    ? [
        { ...request, borrows: false },
        { ...request, over: [] },
      ]
    : [request];

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

/** Whether a power reaches a job; both are tables in scope. */
const reaches = (job: string, power = "power"): string => `(
        ${job}.priority < ${power}.priority AND (${power}.inside OR ${power}.claims OR ${job}.borrowing)
        OR (${power}.inside OR ${power}.claims) AND ${job}.borrowing
      )`;

/**
 * Allocations of jobs that a power reaches and that free something short, one scan for each power. In two parts, so
 * that the first is read from the index of GPU pods alone, and the second not at all when GPUs alone are short.
 */
const reached = (columns: string, where: string): string => `
      SELECT ${columns}
      FROM allocations AS own
      WHERE power.lacks_gpus AND own.pool = $1 AND own.evictable AND own.gpus > 0 AND ${reaches("own")} ${where}
      UNION ALL
      SELECT ${columns}
      FROM allocations AS own
      WHERE (power.lacks_cpu_millis OR power.lacks_memory_bytes OR power.lacks_pods) AND own.pool = $1
        AND own.evictable AND (own.gpus = 0 OR NOT power.lacks_gpus) AND (
          power.lacks_cpu_millis AND own.cpu_millis > 0 OR power.lacks_memory_bytes AND own.memory_bytes > 0
          OR power.lacks_pods
        )
        AND ${reaches("own")} ${where}`;

/**
 * For a `request` in scope: nodes that could take one of its pods if everybody left, and their room as its decision
 * sees it. OFFSET 0 keeps stages apart: pulled into one, expressions are computed over and over, and what the
 * planner guesses of the conditions makes it nest loops.
 */
const rooms = (where = ""): string => `
        SELECT name, gpus, cpu_millis, memory_bytes, pods, most_gpus
        FROM (
          SELECT room.name, coalesce(changed.gpus, room.gpus) AS gpus,
            coalesce(changed.cpu_millis, room.cpu_millis) AS cpu_millis,
            coalesce(changed.memory_bytes, room.memory_bytes) AS memory_bytes,
            coalesce(changed.pods, room.pods) AS pods,
            most_gpus, most_cpu_millis, most_memory_bytes, most_pods
          FROM room
          LEFT JOIN changed ON changed.preemptor = request.preemptor AND changed.node = room.name
          ${where}
          OFFSET 0
        ) AS everywhere
        WHERE least(
            most_gpus - nullif(request.gpus, 0), most_cpu_millis - nullif(request.cpu_millis, 0),
            most_memory_bytes - nullif(request.memory_bytes, 0), most_pods - 1
          ) >= 0
          AND (request.is_anywhere OR (request.preemptor, name) IN (SELECT preemptor, name FROM accepting))`;

/** The same where GPUs alone are short: what is missing for one more pod, and how many would fit on an empty node. */
const shortOfGpus = (where = ""): string => `
        SELECT name, gpus, fits, most_fits, (fits + 1) * request.gpus - gpus AS missing
        FROM (
          SELECT name, gpus, greatest(0, floor(gpus / request.gpus)) AS fits,
            least(request.parallelism, floor(most_gpus / request.gpus)) AS most_fits
          FROM (${rooms(where)}
          ) AS seen
          OFFSET 0
        ) AS counted
        WHERE most_fits > fits`;

/** How many nodes are listed by each of the two orders; `one` is a request or a power. */
const listed = (one: string): string => `greatest(($4::integer + 1) / 2, ${one}.parallelism)`;

/** `spared` is a condition on allocations, as `own`, that leaves out the jobs that budgets protect. */
const statement = (spared: string): string => `
  WITH request AS MATERIALIZED (
    SELECT *, jsonb_typeof(nodes) IS DISTINCT FROM 'array' AS is_anywhere
    FROM jsonb_to_recordset($2::jsonb) AS (
      preemptor integer, power integer, priority integer, inside boolean, claims boolean, borrows boolean, parallelism integer,
      gpus float8, cpu_millis float8, memory_bytes float8, nodes jsonb, over jsonb, changed jsonb
    )
  ),
  reserved AS (
    SELECT node_name, sum(gpus)::float8 AS gpus, sum(cpu_millis)::float8 AS cpu_millis,
      sum(memory_bytes)::float8 AS memory_bytes, sum(pods)::float8 AS pods
    FROM (
      SELECT node_name, -gpus AS gpus, -cpu_millis AS cpu_millis, -memory_bytes AS memory_bytes, -pods AS pods
      FROM allocations
      WHERE pool = $1 AND NOT evictable AND coalesce(leaves_by > now(), true)
      UNION ALL
      SELECT node_name, gpus, cpu_millis, memory_bytes, pods FROM holds
    ) AS leaving_or_held
    GROUP BY node_name
  ),
  -- Free once evicting pods have left and holds are used, as in the decision; and what it could be at most.
  room AS MATERIALIZED (
    SELECT node.name,
      gpus_allocatable - gpus_foreign - gpus_committed - coalesce(reserved.gpus, 0) AS gpus,
      cpu_millis_allocatable - cpu_millis_foreign - cpu_millis_committed
        - coalesce(reserved.cpu_millis, 0) AS cpu_millis,
      memory_bytes_allocatable - memory_bytes_foreign - memory_bytes_committed
        - coalesce(reserved.memory_bytes, 0) AS memory_bytes,
      pods_allocatable - pods_foreign - pods_committed - coalesce(reserved.pods, 0) AS pods,
      (gpus_allocatable - gpus_foreign)::float8 AS most_gpus,
      (cpu_millis_allocatable - cpu_millis_foreign)::float8 AS most_cpu_millis,
      (memory_bytes_allocatable - memory_bytes_foreign)::float8 AS most_memory_bytes,
      (pods_allocatable - pods_foreign)::float8 AS most_pods
    FROM nodes AS node
    LEFT JOIN reserved ON reserved.node_name = node.name
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
    WHERE NOT request.is_anywhere
  ),
  -- What each of these nodes has enough of for the whole gang, or nobody asks for, is not short, and null from here
  -- on: it drops out of every least and greatest. Of 100,000 pods this leaves the GPU pods, as a rule.
  lacking AS MATERIALIZED (
    SELECT request.*, short.*,
      short_gpus IS NOT NULL AND num_nonnulls(short_cpu_millis, short_memory_bytes, short_pods) = 0 AS only_gpus
    FROM request
    CROSS JOIN LATERAL (
      SELECT
        CASE WHEN min(gpus) < request.gpus * request.parallelism THEN nullif(request.gpus, 0) END AS short_gpus,
        CASE WHEN min(cpu_millis) < request.cpu_millis * request.parallelism
          THEN nullif(request.cpu_millis, 0) END AS short_cpu_millis,
        CASE WHEN min(memory_bytes) < request.memory_bytes * request.parallelism
          THEN nullif(request.memory_bytes, 0) END AS short_memory_bytes,
        CASE WHEN min(pods) < request.parallelism THEN 1::float8 END AS short_pods
      FROM (${rooms()}
      ) AS seen
    ) AS short
  ),
  power AS MATERIALIZED (
    SELECT power, priority, inside, claims, borrows, max(parallelism) AS parallelism, bool_or(only_gpus) AS only_gpus,
      bool_or(short_gpus IS NOT NULL) AS lacks_gpus, bool_or(short_cpu_millis IS NOT NULL) AS lacks_cpu_millis,
      bool_or(short_memory_bytes IS NOT NULL) AS lacks_memory_bytes, bool_or(short_pods IS NOT NULL) AS lacks_pods
    FROM lacking
    GROUP BY power, priority, inside, claims, borrows
  ),
  -- Where GPUs alone are short, the nodes that lack least and those with the largest pods are looked at first.
  nearest AS MATERIALIZED (
    SELECT request.preemptor, node.*
    FROM lacking AS request
    CROSS JOIN LATERAL (
      SELECT name, missing
      FROM (${shortOfGpus()}
      ) AS short
      ORDER BY missing, most_fits - fits DESC, name COLLATE "C"
      LIMIT ${listed("request")}
    ) AS node
    WHERE request.only_gpus
  ),
  largest AS MATERIALIZED (
    SELECT power.power, pod.*
    FROM power
    CROSS JOIN LATERAL (
      SELECT node_name AS name, gpus_per_pod
      FROM allocations AS own
      WHERE own.pool = $1 AND own.evictable AND own.gpus > 0 AND ${reaches("own")}
      ORDER BY own.gpus_per_pod DESC, own.node_name
      LIMIT ${listed("power")}
    ) AS pod
    WHERE power.only_gpus
  ),
  near AS MATERIALIZED (
    SELECT request.preemptor, short.name, could_fit - fits AS gain, missing AS missing_gpus,
      ceil(missing / gpus_per_pod - 1e-9) AS fewest_pods
    FROM lacking AS request
    CROSS JOIN LATERAL (${shortOfGpus(`
          WHERE (request.preemptor, room.name) IN (SELECT preemptor, name FROM nearest)
            OR (request.power, room.name) IN (SELECT power, name FROM largest)`)}
    ) AS short
    CROSS JOIN LATERAL (
      SELECT least(request.parallelism, floor((short.gpus + sum(own.gpus)) / request.gpus)) AS could_fit,
        max(own.gpus_per_pod) AS gpus_per_pod
      FROM allocations AS own
      WHERE own.pool = $1 AND own.evictable AND own.gpus > 0 AND own.node_name = short.name
        AND ${reaches("own", "request")} ${spared}
    ) AS freed
    WHERE request.only_gpus AND could_fit > fits
  ),
  -- Any other node lacks no less, and none of its pods frees more: so many pods at least must go there. Where enough
  -- of these nodes are as good, the others need no look.
  proven AS MATERIALIZED (
    SELECT request.preemptor
    FROM lacking AS request
    JOIN power USING (power)
    CROSS JOIN LATERAL (
      SELECT count(*) < ${listed("request")} AS is_all, max(missing) AS missing
      FROM nearest
      WHERE nearest.preemptor = request.preemptor
    ) AS beyond
    CROSS JOIN LATERAL (
      SELECT count(*) < ${listed("power")} AS is_all, min(gpus_per_pod) AS gpus_per_pod
      FROM largest
      WHERE largest.power = request.power
    ) AS smaller
    WHERE request.only_gpus AND (
      beyond.is_all OR smaller.is_all OR (
        SELECT count(*) >= greatest($5::integer, request.parallelism)
        FROM near
        WHERE near.preemptor = request.preemptor
          AND fewest_pods <= ceil(beyond.missing / smaller.gpus_per_pod - 1e-9)
      )
    )
  ),
  unproven AS MATERIALIZED (
    SELECT * FROM lacking WHERE preemptor NOT IN (SELECT preemptor FROM proven)
  ),
  freed AS MATERIALIZED (
    SELECT power.power, sums.*
    FROM power
    CROSS JOIN LATERAL (
      SELECT node_name, sum(gpus)::float8 AS gpus, sum(cpu_millis)::float8 AS cpu_millis,
        sum(memory_bytes)::float8 AS memory_bytes, sum(pods)::float8 AS pods,
        max(gpus_per_pod) AS gpus_per_pod, max(cpu_millis::float8 / gang) AS cpu_millis_per_pod,
        max(memory_bytes::float8 / gang) AS memory_bytes_per_pod, max(pods::float8 / gang) AS pods_per_pod
      FROM (${reached(
        "own.node_name, own.gpus, own.cpu_millis, own.memory_bytes, own.pods, own.gang, own.gpus_per_pod",
        spared,
      )}
      ) AS reached
      GROUP BY node_name
    ) AS sums
    WHERE power.power IN (SELECT power FROM unproven)
  ),
  -- At least so many pods must go for one more to fit: as if gangs could be evicted in part.
  bounded AS MATERIALIZED (
    SELECT request.preemptor, bounds.*
    FROM unproven AS request
    CROSS JOIN LATERAL (
      SELECT name, could_fit - fits AS gain, missing_gpus, missing_cpu_millis, missing_memory_bytes, missing_pods,
        ceil(greatest(
          missing_gpus / nullif(gpus_per_pod, 0), missing_cpu_millis / nullif(cpu_millis_per_pod, 0),
          missing_memory_bytes / nullif(memory_bytes_per_pod, 0), missing_pods / nullif(pods_per_pod, 0)
        ) - 1e-9) AS fewest_pods
      FROM (
        SELECT counted.*, (fits + 1) * request.short_gpus - gpus AS missing_gpus,
          (fits + 1) * request.short_cpu_millis - cpu_millis AS missing_cpu_millis,
          (fits + 1) * request.short_memory_bytes - memory_bytes AS missing_memory_bytes,
          (fits + 1) * request.short_pods - pods AS missing_pods
        FROM (
          SELECT seen.*, gpus_per_pod, cpu_millis_per_pod, memory_bytes_per_pod, pods_per_pod,
            greatest(0, least(
              floor(seen.gpus / request.short_gpus), floor(seen.cpu_millis / request.short_cpu_millis),
              floor(seen.memory_bytes / request.short_memory_bytes), seen.pods * request.short_pods
            )) AS fits,
            least(
              request.parallelism, floor((seen.gpus + freed.gpus) / request.short_gpus),
              floor((seen.cpu_millis + freed.cpu_millis) / request.short_cpu_millis),
              floor((seen.memory_bytes + freed.memory_bytes) / request.short_memory_bytes),
              (seen.pods + freed.pods) * request.short_pods
            ) AS could_fit
          FROM (${rooms()}
          ) AS seen
          JOIN freed ON freed.power = request.power AND freed.node_name = seen.name
          OFFSET 0
        ) AS counted
        WHERE could_fit > fits
        OFFSET 0
      ) AS missing
    ) AS bounds
    UNION ALL
    SELECT preemptor, name, gain, missing_gpus, NULL, NULL, NULL, fewest_pods
    FROM near
    WHERE preemptor IN (SELECT preemptor FROM proven)
  ),
  -- Each gains one pod at least: as many nodes as the gang has pods are enough, or all are there.
  roughly AS MATERIALIZED (
    SELECT best.*, request.power, request.parallelism
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
    SELECT power.power, reached.*
    FROM power
    CROSS JOIN LATERAL (${reached(
      `own.node_name, own.job_id AS id, own.gang, own.borrowing, own.priority, own.started_at,
        own.gpus::float8, own.cpu_millis::float8, own.memory_bytes::float8, own.pods::float8`,
      `AND own.node_name = ANY (ARRAY(SELECT name FROM close WHERE close.power = power.power)) ${spared}`,
    )}
    ) AS reached
  ),
  -- Taking jobs in order of preference: how far must one go on each of these nodes?
  running AS (
    SELECT close.preemptor, close.name, close.power, close.parallelism, close.gained_before, close.fewest_pods,
      placed.priority, placed.started_at,
      sum(placed.gang) OVER preferred AS pods_so_far,
      count(*) FILTER (WHERE NOT placed.borrowing) OVER preferred AS inside_so_far,
      sum(placed.gpus) OVER preferred >= coalesce(missing_gpus, 0)
        AND sum(placed.cpu_millis) OVER preferred >= coalesce(missing_cpu_millis, 0)
        AND sum(placed.memory_bytes) OVER preferred >= coalesce(missing_memory_bytes, 0)
        AND sum(placed.pods) OVER preferred >= coalesce(missing_pods, 0) AS is_enough
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
  planned AS MATERIALIZED (
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

const FIND = prepared("find_victims")`${statement("")}`;
/** A condition on job_id, even one that is always true, keeps the planner from reading the indexes alone. */
const FIND_SPARING = prepared(
  "find_victims_sparing",
)`${statement("AND own.job_id <> ALL ($3::uuid[])")}`;
