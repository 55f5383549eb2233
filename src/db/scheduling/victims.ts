/**
 * Possible victims for blocked jobs: one statement that proposes a small superset, from which the decision chooses.
 *
 * It sums, for each node, what the evictable jobs of each class (borrowing and priority) would free. From these sums follow
 * for each blocked job the first class in order of preference up to which its gang fits on all nodes together, and which
 * nodes gain room; so a negative answer is exact: if nothing is proposed, evicting every eligible job would not help. Of
 * these nodes it keeps the best, by a lower bound of the pods to evict and by the set that results from taking jobs in
 * order of preference; always enough nodes for the whole gang. Jobs under an exceeded quota are proposed in order of
 * preference until the quota holds.
 */
import { storableJson } from "../../domain/text.ts";
import type { VictimRequest } from "../../domain/scheduling/decision.ts";
import type { LiveJob, Placement } from "../../domain/scheduling/snapshot.ts";
import { run } from "../client/connection-pool.ts";
import { prepared } from "../client/prepared.ts";
import type { Queryable } from "../client/types.ts";

export interface FinderLimits {
  /** Nodes examined closely per blocked job: those with the lowest bound of pods to evict. */
  readonly closeNodes: number;
  /** Nodes proposed per blocked job, in addition to those that its gang needs. */
  readonly nodes: number;
  /** Jobs proposed per exceeded quota, in addition to those that relieve it. */
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
  readonly quotas: readonly string[];
}

/**
 * Proposed victims for all requests together. `budgets` maps job ids to the PodDisruptionBudget (namespace/name) that
 * protects them.
 */
export async function findVictims(
  db: Queryable,
  pool: string,
  requests: readonly VictimRequest[],
  budgets: ReadonlyMap<string, string> = new Map(),
  limits: FinderLimits = DEFAULT_LIMITS,
): Promise<LiveJob[]> {
  if (requests.length === 0) return [];
  const asked = requests.flatMap(eachWay);
  const described = storableJson(asked.map(parameter));
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
  // Victims without regard to budgets, and victims that no budget protects: the decision reports budgets that block it.
  const rows = [...anyone, ...(await propose(FIND_SPARING, [...budgets.keys()]))];
  const byId = new Map(rows.map((row) => [row.id, row]));
  return [...byId.values()].map((row) => liveJob(row, budgets.get(row.id)));
}

/**
 * A job over its quota can start either within quota (after evicting siblings) or as a borrower. The two have different
 * candidate victims, so each is searched separately: the best nodes for one must not hide those for the other.
 */
const eachWay = (request: VictimRequest): VictimRequest[] =>
  request.over.length > 0 && request.borrows
    ? [
        { ...request, borrows: false },
        { ...request, over: [] },
      ]
    : [request];

const parameter = (request: VictimRequest, index: number) => ({
  preemptor: index,
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
    quota: one.quotaId,
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
  quotas: row.quotas,
  ...(budget === undefined ? {} : { protected: budget }),
});

/**
 * Parameters as the statement uses them. The sub-select hides their values from the planner, so it keeps one generic
 * plan. Planning for each set of values took 5 ms, and the plan was never better.
 */
const POOL = "(SELECT $1::text)";
const SPARED = "(SELECT $3::uuid[])::uuid[]";
const CLOSE_NODES = "(SELECT $4::integer)";
const NODES = "(SELECT $5::integer)";
const SIBLINGS = "(SELECT $6::integer)";

/** Whether a request may evict a job, or the jobs of a class; both are tables in scope. */
const reaches = (job: string): string => `(
        ${job}.priority < request.priority AND (request.inside OR request.claims OR ${job}.borrowing)
        OR (request.inside OR request.claims) AND ${job}.borrowing
      )`;

/** Whether a class, or a job, is no later in the order of preference than a request's bar; both are tables in scope. */
const isUpTo = (job: string, bar = "bar"): string => `(
        CASE
          WHEN ${bar}.borrowing THEN ${job}.borrowing AND ${job}.priority <= ${bar}.priority
          ELSE ${job}.borrowing OR ${job}.priority <= ${bar}.priority
        END
      )`;

/**
 * Allocations `own` that may be evicted. Two parts: the first reads only the index of GPU pods; the second is skipped if
 * only GPUs are short, a condition without `own`.
 */
const evictable = (columns: string, takesOthers: string, where: string): string => `
        SELECT ${columns}
        FROM allocations AS own
        WHERE own.pool = ${POOL} AND own.evictable AND own.gpus > 0 ${where}
        UNION ALL
        SELECT ${columns}
        FROM allocations AS own
        WHERE (${takesOthers}) AND own.pool = ${POOL} AND own.evictable AND own.gpus = 0 ${where}`;

const amounts = ["gpus", "cpu_millis", "memory_bytes", "pods"] as const;

const free = (one: string): string => `${one}_allocatable - ${one}_other - ${one}_committed`;

const onNode = (room: (one: string) => string, from: string, where = ""): string => `
            SELECT node.name, ${amounts.map((one) => `${room(one)} AS ${one}`).join(", ")}
            FROM ${from}
            WHERE node.pool = ${POOL} AND node.present AND node.schedulable
              AND (
                gpus_allocatable - gpus_other < request.gpus
                OR cpu_millis_allocatable - cpu_millis_other < request.cpu_millis
                OR memory_bytes_allocatable - memory_bytes_other < request.memory_bytes
                OR pods_allocatable - pods_other < 1
              ) IS NOT TRUE
              AND (request.is_anywhere OR (request.preemptor, node.name) IN (SELECT preemptor, name FROM accepting)) ${where}`;

/**
 * For a `request` in scope: the nodes that could hold one of its pods if they were empty, the room that the decision
 * sees there once evicting pods have left and reservations are used, and how many of its pods fit. Two parts, because
 * most nodes have no evicting pods, reservations or changes. OFFSET 0 keeps the stages separate: inlined, expressions
 * would be computed repeatedly, and wrong estimates would make the planner nest loops.
 */
const ROOMS = `
        SELECT *,
          CASE
            WHEN gpus < request.gpus OR cpu_millis < request.cpu_millis OR memory_bytes < request.memory_bytes OR pods < 1
              THEN 0
            ELSE least(
              floor(gpus / request.gpus), floor(cpu_millis / request.cpu_millis),
              floor(memory_bytes / request.memory_bytes), pods
            )
          END AS fits
        FROM (${onNode(
          (one) => `(${free(one)})::float8`,
          "nodes AS node",
          `
              AND node.name NOT IN (SELECT name FROM unsettled)`,
        )}
            UNION ALL${onNode(
              (one) => `coalesce(changed.${one}, ${free(one)} - unsettled.${one})`,
              `nodes AS node
            JOIN unsettled USING (name)
            LEFT JOIN changed ON changed.preemptor = request.preemptor AND changed.node = node.name`,
            )}
          OFFSET 0
        ) AS room
        OFFSET 0`;

/**
 * What one more pod of a `request` in scope lacks on a node. Null for resources that are not requested or suffice for
 * the whole gang, so that they drop out of every least() and greatest().
 */
const missing = (node: string): string =>
  ["gpus", "cpu_millis", "memory_bytes"]
    .map(
      (one) => `CASE WHEN ${node}.${one} < request.${one} * request.parallelism
            THEN (${node}.fits + 1) * request.${one} - ${node}.${one} END AS missing_${one}`,
    )
    .join(", ").concat(`,
          CASE WHEN ${node}.pods < request.parallelism THEN ${node}.fits + 1 - ${node}.pods END AS missing_pods`);

/** What a node in scope has once `freed` amounts have left, in pods of the request in scope. */
const fitsWith = (freed: (one: string) => string): string => `greatest(0, least(
            request.parallelism,
            floor((node.gpus + ${freed("gpus")}) / request.gpus),
            floor((node.cpu_millis + ${freed("cpu_millis")}) / request.cpu_millis),
            floor((node.memory_bytes + ${freed("memory_bytes")}) / request.memory_bytes),
            node.pods + ${freed("pods")}
          ))`;

/** Totals of the classes in scope, those of borrowers alone, and the maximum that one of their pods frees. */
const FREED = amounts
  .map(
    (
      one,
    ) => `sum(class.${one}) AS ${one}, coalesce(sum(class.${one}) FILTER (WHERE class.borrowing), 0) AS borrowed_${one},
          max(class.${one}_per_pod) AS ${one}_per_pod,
          max(class.${one}_per_pod) FILTER (WHERE NOT class.borrowing) AS inside_${one}_per_pod`,
  )
  .join(",\n          ");

/** A lower bound of the pods that free what is missing, as if gangs could be evicted in part. */
const fewest = (missing: (one: string) => string, perPod: (one: string) => string): string =>
  `ceil(greatest(${amounts
    .map((one) => `(${missing(one)}) / nullif(freed.${perPod(one)}, 0)`)
    .join(", ")}) - 1e-9)`;

/** `spared` is a condition on the allocation `own` that excludes the jobs that budgets protect. */
const statement = (spared: string): string => `
  WITH request AS MATERIALIZED (
    SELECT preemptor, priority, inside, claims, borrows, parallelism, nullif(gpus, 0) AS gpus,
      nullif(cpu_millis, 0) AS cpu_millis, nullif(memory_bytes, 0) AS memory_bytes, nodes, over, changed,
      jsonb_typeof(nodes) IS DISTINCT FROM 'array' AS is_anywhere
    FROM jsonb_to_recordset($2::jsonb) AS (
      preemptor integer, priority integer, inside boolean, claims boolean, borrows boolean, parallelism integer,
      gpus float8, cpu_millis float8, memory_bytes float8, nodes jsonb, over jsonb, changed jsonb
    )
  ),
  changed AS MATERIALIZED (
    SELECT request.preemptor, change.*
    FROM request, jsonb_to_recordset(request.changed) AS change (
      node text, gpus float8, cpu_millis float8, memory_bytes float8, pods float8
    )
  ),
  -- Net reservations of nodes whose room differs from what is free: positive = reserved, negative = being released.
  unsettled AS MATERIALIZED (
    SELECT node_name AS name, sum(gpus)::float8 AS gpus, sum(cpu_millis)::float8 AS cpu_millis,
      sum(memory_bytes)::float8 AS memory_bytes, sum(pods)::float8 AS pods
    FROM (
      SELECT node_name, -gpus AS gpus, -cpu_millis AS cpu_millis, -memory_bytes AS memory_bytes, -pods AS pods
      FROM allocations
      WHERE pool = ${POOL} AND NOT evictable AND coalesce(leaves_by > now(), true)
      UNION ALL
      SELECT node_name, gpus, cpu_millis, memory_bytes, pods FROM reservations
      UNION ALL
      SELECT node, 0, 0, 0, 0 FROM changed
    ) AS leaving_or_reserved
    GROUP BY node_name
  ),
  accepting AS MATERIALIZED (
    SELECT request.preemptor, name
    FROM request, jsonb_array_elements_text(request.nodes) AS name
    WHERE NOT request.is_anywhere
  ),
  exceeded AS MATERIALIZED (
    SELECT request.preemptor, over.quota, split_part(over.quota, '/', 1)::bigint AS owner_id,
      over.resource_type, over.excess
    FROM request, jsonb_to_recordset(request.over) AS over (quota text, resource_type text, excess bigint)
  ),
  under_quota AS (
    SELECT DISTINCT exceeded.preemptor, exceeded.quota, exceeded.excess, job.id, job.parallelism AS gang_size,
      job.priority, job.started_at,
      CASE exceeded.resource_type WHEN 'GPU' THEN job.required_gpu ELSE job.cpu_millis END AS amount
    FROM exceeded
    JOIN request USING (preemptor)
    JOIN project_owners AS owned USING (owner_id)
    JOIN jobs AS job ON job.active_project_id = owned.project_id AND job.priority < request.priority AND NOT job.borrowing
    WHERE job.pool = ${POOL} AND job_may_be_evicted(job.status) AND job.id <> ALL (${SPARED})
  ),
  relieving AS MATERIALIZED (
    SELECT preemptor, quota, id, priority, excess,
      row_number() OVER preferred AS by_preference,
      sum(amount) OVER preferred AS relieved, sum(amount) OVER preferred - amount AS relieved_before,
      row_number() OVER largest AS by_amount
    FROM under_quota
    WHERE amount > 0
    WINDOW
      preferred AS (
        PARTITION BY preemptor, quota ORDER BY priority, started_at DESC, id
        ROWS UNBOUNDED PRECEDING
      ),
      largest AS (
        PARTITION BY preemptor, quota ORDER BY amount::float8 / gang_size DESC, priority, started_at DESC, id
      )
  ),
  node AS MATERIALIZED (
    SELECT request.preemptor, room.*, ${missing("room")}
    FROM request
    CROSS JOIN LATERAL (${ROOMS}
    ) AS room
  ),
  lacking AS MATERIALIZED (
    SELECT bool_or(num_nonnulls(missing_cpu_millis, missing_memory_bytes, missing_pods) > 0) AS others
    FROM node
    JOIN request USING (preemptor)
    WHERE fits < parallelism
  ),
  -- What the evictable jobs of each class occupy on each node.
  class AS MATERIALIZED (
    SELECT node_name, borrowing, priority,
      ${amounts.map((one) => `sum(${one}::float8) AS ${one}, max(${one}::float8 / gang_size) AS ${one}_per_pod`).join(",\n      ")}
    FROM (${evictable(
      `own.node_name, own.borrowing, own.priority, own.gang_size, ${amounts.map((one) => `own.${one}`).join(", ")}`,
      "(SELECT others FROM lacking)",
      `AND (own.borrowing OR own.priority < (SELECT max(priority) FROM request)) ${spared}`,
    )}
    ) AS own
    GROUP BY node_name, borrowing, priority
  ),
  -- How many of the preemptor's pods fit when the jobs of the classes up to this one have left.
  step AS MATERIALIZED (
    SELECT preemptor, class.borrowing, class.priority, node.name, node.fits,
      ${fitsWith((one) => `sum(class.${one}) OVER up_to_here`)} AS fits_then
    FROM request
    JOIN node USING (preemptor)
    JOIN class ON class.node_name = node.name AND ${reaches("class")}
    WHERE node.fits < request.parallelism
    WINDOW up_to_here AS (PARTITION BY preemptor, node.name ORDER BY class.borrowing DESC, class.priority)
  ),
  -- The first class with which the gang fits on all nodes together, or an exceeded quota holds: the last of these counts.
  sufficient AS MATERIALIZED (
    SELECT preemptor, borrowing, priority
    FROM (
      SELECT DISTINCT ON (preemptor) preemptor, borrowing, totals.priority
      FROM (
        SELECT preemptor, borrowing, priority,
          sum(gain) OVER (PARTITION BY preemptor ORDER BY borrowing DESC, priority) AS gained
        FROM (
          SELECT preemptor, borrowing, priority,
            fits_then - lag(fits_then, 1, fits::float8) OVER (PARTITION BY preemptor, name ORDER BY borrowing DESC, priority)
              AS gain
          FROM step
        ) AS gains
      ) AS totals
      JOIN request USING (preemptor)
      WHERE gained + (SELECT coalesce(sum(fits), 0) FROM node WHERE node.preemptor = totals.preemptor) >= parallelism
      ORDER BY preemptor, borrowing DESC, totals.priority
    ) AS of_nodes
    UNION ALL
    SELECT preemptor, false, min(priority) FROM relieving WHERE relieved >= excess GROUP BY preemptor, quota
  ),
  bar AS MATERIALIZED (
    SELECT preemptor, bool_and(borrowing) AS borrowing,
      coalesce(max(priority) FILTER (WHERE NOT borrowing), max(priority)) AS priority
    FROM sufficient
    GROUP BY preemptor
  ),
  bounded AS MATERIALIZED (
    SELECT node.*, gain, fewest_inside, fewest_pods
    FROM request
    JOIN node USING (preemptor)
    JOIN bar USING (preemptor)
    CROSS JOIN LATERAL (
      SELECT ${FREED}
      FROM class
      WHERE class.node_name = node.name AND ${reaches("class")} AND ${isUpTo("class")}
      HAVING count(*) > 0
      OFFSET 0
    ) AS freed
    CROSS JOIN LATERAL (
      SELECT ${fitsWith((one) => `freed.${one}`)} - node.fits AS gain,
        greatest(0, ${fewest(
          (one) => `missing_${one} - freed.borrowed_${one}`,
          (one) => `inside_${one}_per_pod`,
        )}) AS fewest_inside,
        ${fewest(
          (one) => `missing_${one}`,
          (one) => `${one}_per_pod`,
        )} AS fewest_pods
      OFFSET 0
    ) AS bound
    WHERE node.fits < request.parallelism AND gain > 0
  ),
  -- Each node gains at least one pod, so as many nodes as the gang has pods are enough, or all are listed.
  close AS MATERIALIZED (
    SELECT best.*, request.parallelism,
      sum(gain) OVER (
        PARTITION BY request.preemptor ORDER BY fewest_inside, fewest_pods, gain DESC, name COLLATE "C"
        ROWS UNBOUNDED PRECEDING
      ) - gain AS gained_before
    FROM request
    CROSS JOIN LATERAL (
      SELECT *
      FROM bounded
      WHERE bounded.preemptor = request.preemptor
      ORDER BY fewest_inside, fewest_pods, gain DESC, name COLLATE "C"
      LIMIT greatest(${CLOSE_NODES}, request.parallelism)
    ) AS best
  ),
  placed AS MATERIALIZED (${evictable(
    `own.node_name, own.job_id AS id, own.gang_size, own.borrowing, own.priority, own.started_at,
          own.gpus::float8, own.cpu_millis::float8, own.memory_bytes::float8, own.pods::float8`,
    "(SELECT others FROM lacking)",
    `AND own.node_name = ANY (ARRAY(SELECT name FROM close)) ${spared}`,
  )}
  ),
  -- Takes jobs in order of preference and finds how many each of these nodes needs.
  running AS MATERIALIZED (
    SELECT close.preemptor, close.name, close.parallelism, close.gained_before, close.fewest_inside, close.fewest_pods,
      placed.id, placed.priority, placed.started_at,
      sum(placed.gang_size) OVER preferred AS pods_so_far,
      coalesce(sum(placed.gang_size) FILTER (WHERE NOT placed.borrowing) OVER preferred, 0) AS inside_so_far,
      sum(placed.gpus) OVER preferred >= coalesce(missing_gpus, 0)
        AND sum(placed.cpu_millis) OVER preferred >= coalesce(missing_cpu_millis, 0)
        AND sum(placed.memory_bytes) OVER preferred >= coalesce(missing_memory_bytes, 0)
        AND sum(placed.pods) OVER preferred >= coalesce(missing_pods, 0) AS is_enough
    FROM close
    JOIN request USING (preemptor)
    JOIN bar USING (preemptor)
    JOIN placed ON placed.node_name = close.name AND ${reaches("placed")} AND ${isUpTo("placed")} AND (
      missing_gpus IS NOT NULL AND placed.gpus > 0 OR missing_cpu_millis IS NOT NULL AND placed.cpu_millis > 0
      OR missing_memory_bytes IS NOT NULL AND placed.memory_bytes > 0 OR missing_pods IS NOT NULL
    )
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
    SELECT preemptor, name, parallelism, gained_before,
      row_number() OVER (
        PARTITION BY preemptor
        ORDER BY inside_so_far, pods_so_far, priority, started_at DESC, name COLLATE "C"
      ) AS by_preference,
      row_number() OVER (
        PARTITION BY preemptor
        ORDER BY fewest_inside, fewest_pods, priority, started_at DESC, name COLLATE "C"
      ) AS by_bound
    FROM prefix
  ),
  chosen AS MATERIALIZED (
    SELECT preemptor, name
    FROM ordered
    WHERE by_preference <= ${NODES} OR by_bound <= ${NODES} OR gained_before < parallelism
  ),
  on_nodes AS (
    SELECT DISTINCT id FROM running JOIN chosen USING (preemptor, name)
  ),
  proposed AS MATERIALIZED (
    SELECT id FROM on_nodes
    UNION
    SELECT id FROM relieving
    WHERE relieved_before < excess OR by_preference <= ${SIBLINGS} OR by_amount <= ${SIBLINGS}
    UNION
    SELECT job.id
    FROM request
    JOIN jobs AS job ON ${reaches("job")}
    WHERE job.id = ANY (${SPARED}) AND job.pool = ${POOL} AND job_may_be_evicted(job.status)
  ),
  chains AS (
    SELECT DISTINCT project_id, owner_id
    FROM project_owners
    WHERE project_id IN (SELECT project_id FROM jobs WHERE id = ANY (ARRAY(SELECT id FROM proposed)))
  ),
  planned AS MATERIALIZED (
    SELECT DISTINCT chains.project_id, plan.resource_owner_id AS owner_id, plan.resource_type
    FROM chains
    JOIN resource_plans AS plan ON plan.resource_owner_id = chains.owner_id AND plan.pool = ${POOL}
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
        AND CASE planned.resource_type WHEN 'GPU' THEN job.required_gpu > 0 ELSE job.cpu_millis > 0 END
    ), '[]') AS quotas
  FROM jobs AS job
  -- An array, because the planner does not know that few jobs are proposed and would read all.
  WHERE job.id = ANY (ARRAY(SELECT id FROM proposed))
  ORDER BY job.id
`;

const FIND = prepared("find_victims")`${statement("")}`;
/** A condition on job_id, even if always true, prevents index-only scans; hence a second statement. */
const FIND_SPARING = prepared(
  "find_victims_sparing",
)`${statement(`AND own.job_id <> ALL (${SPARED})`)}`;
