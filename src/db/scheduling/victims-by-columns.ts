/**
 * The search of the victim finder for jobs that GPUs, CPU, memory or pods keep from starting.
 *
 * For each blocked job and node it computes what one more pod lacks, and what would be free if all evictable jobs left.
 * It drops the nodes where that is not enough, so a negative answer is exact: if nothing is proposed, evicting every
 * eligible job would not help. It keeps the best of the others, by a lower bound of the pods to evict and by the last
 * job that is needed when jobs are taken in order of preference; always enough nodes for the whole gang. Jobs under an
 * exceeded quota are proposed in order of preference until the quota holds.
 *
 * It first reads the jobs of few nodes: those with the largest pods, and those with the lowest bound of pods to evict,
 * assuming that their pods are no larger than the largest elsewhere. By its GPUs alone, no other node can have a lower
 * bound. It reads the jobs of all nodes only if too few of these nodes reach the bound, or if they lack more than GPUs.
 */
import { CLOSE_NODES, NODES, POOL, reaches, REQUESTS } from "./victims-shared.ts";

interface Reading {
  readonly columns: string;
  /** A condition on `power`: true if pods without GPUs also free something that is short. */
  readonly takesOthers: string;
  /** A condition on the allocation `own`. */
  readonly where: string;
}

/**
 * Allocations of jobs that a power may evict. Two parts: the first reads only the index of GPU pods; the second is
 * skipped if only GPUs are short.
 */
const reached = ({ columns, takesOthers, where }: Reading): string => `
        SELECT ${columns}
        FROM allocations AS own
        WHERE own.pool = ${POOL} AND own.evictable AND own.gpus > 0 AND ${reaches("own")} ${where}
        UNION ALL
        SELECT ${columns}
        FROM allocations AS own
        WHERE (${takesOthers}) AND own.pool = ${POOL} AND own.evictable AND own.gpus = 0 AND ${reaches("own")} ${where}`;

const amounts = ["gpus", "cpu_millis", "memory_bytes", "pods"] as const;

const free = (one: string): string => `${one}_allocatable - ${one}_other - ${one}_committed`;

const onNode = (room: (one: string) => string, from: string, where: string): string => `
            SELECT node.name, ${amounts.map((one) => `${room(one)} AS ${one}`).join(", ")},
              gpus_allocatable - gpus_other AS most_gpus
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
const rooms = (where = ""): string => `
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
              AND node.name NOT IN (SELECT name FROM unsettled) ${where}`,
        )}
            UNION ALL${onNode(
              (one) => `coalesce(changed.${one}, ${free(one)} - unsettled.${one})`,
              `nodes AS node
            JOIN unsettled USING (name)
            LEFT JOIN changed ON changed.preemptor = request.preemptor AND changed.node = node.name`,
              where,
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

/** Totals over allocations in scope that a power may evict, and the maximum that one of their pods frees. */
const FREED = `sum(gpus)::float8 AS gpus, sum(cpu_millis)::float8 AS cpu_millis,
          sum(memory_bytes)::float8 AS memory_bytes, sum(pods)::float8 AS pods,
          max(gpus_per_pod) AS gpus_per_pod, max(cpu_millis::float8 / gang_size) AS cpu_millis_per_pod,
          max(memory_bytes::float8 / gang_size) AS memory_bytes_per_pod, max(pods::float8 / gang_size) AS pods_per_pod`;
const FREEING =
  "own.node_name, own.gpus, own.cpu_millis, own.memory_bytes, own.pods, own.gang_size, own.gpus_per_pod";

/**
 * A lower bound of the pods to evict from a `node` in scope so that one more fits, as if gangs could be evicted in
 * part; and how many more fit if all leave. Tables in scope: request, node with its missing amounts, freed.
 */
const BOUND = `
      CROSS JOIN LATERAL (
        SELECT
          least(
            request.per_node,
            CASE WHEN missing_gpus IS NOT NULL THEN floor((node.gpus + freed.gpus) / request.gpus) END,
            CASE WHEN missing_cpu_millis IS NOT NULL
              THEN floor((node.cpu_millis + freed.cpu_millis) / request.cpu_millis) END,
            CASE WHEN missing_memory_bytes IS NOT NULL
              THEN floor((node.memory_bytes + freed.memory_bytes) / request.memory_bytes) END,
            CASE WHEN missing_pods IS NOT NULL THEN node.pods + freed.pods END
          ) - node.fits AS gain,
          ceil(greatest(
            missing_gpus / nullif(gpus_per_pod, 0), missing_cpu_millis / nullif(cpu_millis_per_pod, 0),
            missing_memory_bytes / nullif(memory_bytes_per_pod, 0), missing_pods / nullif(pods_per_pod, 0)
          ) - 1e-9) AS fewest_pods
        OFFSET 0
      ) AS bound`;

/** How many nodes each of the two orders lists; `one` is a request or a power. */
const listed = (one: string): string => `greatest((${CLOSE_NODES} + 1) / 2, ${one}.parallelism)`;

/** `spared` is a condition on the allocation `own` that excludes the jobs that budgets protect. */
export const searchByColumns = (spared: string): string => `${REQUESTS}
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
  -- Every pair of borrowing and priority among evictable jobs with GPUs, one index probe for each.
  class AS (
    (
      SELECT borrowing, priority
      FROM allocations
      WHERE pool = ${POOL} AND evictable AND gpus > 0
      ORDER BY borrowing, priority
      LIMIT 1
    )
    UNION ALL
    SELECT next.borrowing, next.priority
    FROM class
    CROSS JOIN LATERAL (
      SELECT borrowing, priority
      FROM allocations AS own
      WHERE own.pool = ${POOL} AND own.evictable AND own.gpus > 0
        AND (own.borrowing, own.priority) > (class.borrowing, class.priority)
      ORDER BY own.borrowing, own.priority
      LIMIT 1
    ) AS next
  ),
  largest AS MATERIALIZED (
    SELECT power.power, pod.*
    FROM power
    CROSS JOIN LATERAL (
      SELECT own.*
      FROM class
      CROSS JOIN LATERAL (
        SELECT node_name AS name, gpus_per_pod
        FROM allocations
        WHERE pool = ${POOL} AND evictable AND gpus > 0 AND borrowing = class.borrowing AND priority = class.priority
        ORDER BY gpus_per_pod DESC, node_name
        LIMIT ${listed("power")}
      ) AS own
      WHERE ${reaches("class")}
      ORDER BY gpus_per_pod DESC, name
      LIMIT ${listed("power")}
    ) AS pod
  ),
  -- No pod elsewhere frees more, so each missing GPU needs at least this many evicted pods.
  smaller AS MATERIALIZED (
    SELECT power.power, least.pods_per_gpu
    FROM power
    CROSS JOIN LATERAL (
      SELECT CASE WHEN count(*) < ${listed("power")} THEN 'Infinity' ELSE 1 / min(gpus_per_pod) END AS pods_per_gpu
      FROM largest
      WHERE largest.power = power.power
    ) AS least
  ),
  -- The nodes with the lowest bound of pods to evict; the part "largest" has those with the largest pods.
  nearest AS MATERIALIZED (
    SELECT request.preemptor, request.power, node.*
    FROM request
    JOIN smaller USING (power)
    CROSS JOIN LATERAL (
      SELECT name, gpus, cpu_millis, memory_bytes, pods, fits, least_pods
      FROM (
        SELECT room.*,
          CASE WHEN request.parallelism > 1 THEN least(
            request.per_node, floor(most_gpus / request.gpus)
          ) - fits END AS most_gain,
          CASE WHEN gpus < (fits + 1) * request.gpus THEN ((fits + 1) * request.gpus - gpus) * pods_per_gpu ELSE 0 END
            AS least_pods
        FROM (${rooms()}
        ) AS room
        OFFSET 0
      ) AS every
      WHERE fits < request.parallelism AND least_pods < 'Infinity'
      ORDER BY least_pods, most_gain DESC, name COLLATE "C"
      LIMIT ${listed("request")}
    ) AS node
    WHERE request.gpus IS NOT NULL
  ),
  looked AS MATERIALIZED (
    SELECT node.*, ${missing("node")}
    FROM request
    JOIN (
      SELECT * FROM nearest
      UNION ALL
      SELECT request.preemptor, request.power, room.name, room.gpus, room.cpu_millis, room.memory_bytes, pods, fits, NULL::float8
      FROM request
      CROSS JOIN LATERAL (${rooms("AND node.name = ANY (ARRAY(SELECT name FROM largest WHERE largest.power = request.power))")}
      ) AS room
      WHERE request.gpus IS NOT NULL AND fits < request.parallelism AND (preemptor, name) NOT IN (SELECT preemptor, name FROM nearest)
    ) AS node USING (preemptor)
  ),
  near AS MATERIALIZED (
    SELECT node.*, gain, fewest_pods
    FROM request
    JOIN looked AS node USING (preemptor)
    CROSS JOIN LATERAL (
      SELECT ${FREED}
      FROM (
        SELECT ${FREEING}
        FROM allocations AS own
        WHERE own.pool = ${POOL} AND own.evictable AND own.gpus > 0 AND own.node_name = node.name
          AND ${reaches("own", "request")} ${spared}
      ) AS own
      OFFSET 0
    ) AS freed
    ${BOUND}
    WHERE gain > 0
  ),
  -- No other node is better than the last in "nearest". If enough nodes reach its bound, the others need not be read.
  proven AS MATERIALIZED (
    SELECT request.preemptor
    FROM request
    CROSS JOIN LATERAL (
      SELECT count(*) AS nodes, max(least_pods) AS least_pods
      FROM nearest
      WHERE nearest.preemptor = request.preemptor
    ) AS last
    WHERE request.gpus IS NOT NULL
      AND NOT EXISTS (
        SELECT
        FROM looked
        WHERE looked.preemptor = request.preemptor
          AND num_nonnulls(missing_cpu_millis, missing_memory_bytes, missing_pods) > 0
      )
      AND (
        last.nodes < ${listed("request")} OR (
          SELECT count(*)
          FROM near
          WHERE near.preemptor = request.preemptor AND fewest_pods <= ceil(last.least_pods - 1e-9)
        ) >= greatest(${NODES}, request.parallelism)
      )
  ),
  unproven AS MATERIALIZED (
    SELECT * FROM request WHERE preemptor NOT IN (SELECT preemptor FROM proven)
  ),
  lacking AS MATERIALIZED (
    SELECT power, bool_or(lacks_others) AS lacks_others
    FROM unproven AS request
    CROSS JOIN LATERAL (
      SELECT bool_or(
        cpu_millis < request.cpu_millis * request.parallelism OR memory_bytes < request.memory_bytes * request.parallelism
        OR pods < request.parallelism
      ) AS lacks_others
      FROM (${rooms()}
      ) AS room
    ) AS short
    GROUP BY power
  ),
  freed AS MATERIALIZED (
    SELECT power.power, sums.*
    FROM power
    JOIN lacking USING (power)
    CROSS JOIN LATERAL (
      SELECT node_name, ${FREED}
      FROM (${reached({ columns: FREEING, takesOthers: "lacking.lacks_others", where: spared })}
      ) AS own
      GROUP BY node_name
    ) AS sums
  ),
  bounded AS MATERIALIZED (
    SELECT request.preemptor, request.power, bounds.*
    FROM unproven AS request
    CROSS JOIN LATERAL (
      SELECT node.name, missing_gpus, missing_cpu_millis, missing_memory_bytes, missing_pods, gain, fewest_pods
      FROM (
        SELECT room.*, ${missing("room")}
        FROM (${rooms()}
        ) AS room
      ) AS node
      JOIN freed ON freed.power = request.power AND freed.node_name = node.name
      ${BOUND}
      WHERE gain > 0
      OFFSET 0
    ) AS bounds
    UNION ALL
    SELECT preemptor, power, name, missing_gpus, missing_cpu_millis, missing_memory_bytes, missing_pods, gain, fewest_pods
    FROM near
    WHERE preemptor IN (SELECT preemptor FROM proven)
  ),
  -- Each node gains at least one pod, so as many nodes as the gang has pods are enough, or all are listed.
  roughly AS MATERIALIZED (
    SELECT best.*, request.parallelism
    FROM request
    CROSS JOIN LATERAL (
      SELECT *
      FROM bounded
      WHERE bounded.preemptor = request.preemptor
      ORDER BY fewest_pods, gain DESC, name COLLATE "C"
      LIMIT greatest(${CLOSE_NODES}, request.parallelism)
    ) AS best
  ),
  close AS MATERIALIZED (
    SELECT roughly.*, num_nonnulls(missing_cpu_millis, missing_memory_bytes, missing_pods) > 0 AS lacks_others,
      sum(gain) OVER (
        PARTITION BY preemptor ORDER BY fewest_pods, gain DESC, name COLLATE "C" ROWS UNBOUNDED PRECEDING
      ) - gain AS gained_before
    FROM roughly
  ),
  placed AS MATERIALIZED (
    SELECT power.power, reached.*
    FROM power
    CROSS JOIN LATERAL (${reached({
      columns: `own.node_name, own.job_id AS id, own.gang_size, own.borrowing, own.priority, own.started_at,
          own.gpus::float8, own.cpu_millis::float8, own.memory_bytes::float8, own.pods::float8`,
      takesOthers:
        "EXISTS (SELECT FROM close WHERE close.power = power.power AND close.lacks_others)",
      where: `AND own.node_name = ANY (ARRAY(SELECT name FROM close WHERE close.power = power.power)) ${spared}`,
    })}
    ) AS reached
  ),
  -- Takes jobs in order of preference and finds how many each of these nodes needs.
  running AS MATERIALIZED (
    SELECT close.preemptor, close.name, close.parallelism, close.gained_before, close.fewest_pods,
      placed.id, placed.borrowing, placed.priority, placed.started_at,
      sum(placed.gang_size) OVER preferred AS pods_so_far,
      coalesce(sum(placed.gang_size) FILTER (WHERE NOT placed.borrowing) OVER preferred, 0) AS inside_so_far,
      sum(placed.gpus) OVER preferred >= coalesce(missing_gpus, 0)
        AND sum(placed.cpu_millis) OVER preferred >= coalesce(missing_cpu_millis, 0)
        AND sum(placed.memory_bytes) OVER preferred >= coalesce(missing_memory_bytes, 0)
        AND sum(placed.pods) OVER preferred >= coalesce(missing_pods, 0) AS is_enough
    FROM close
    JOIN placed ON placed.power = close.power AND placed.node_name = close.name AND (
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
        ORDER BY borrowing DESC, priority, inside_so_far, pods_so_far, started_at DESC, name COLLATE "C"
      ) AS by_preference,
      row_number() OVER (
        PARTITION BY preemptor
        ORDER BY fewest_pods, borrowing DESC, priority, inside_so_far, started_at DESC, name COLLATE "C"
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
  ),`;
