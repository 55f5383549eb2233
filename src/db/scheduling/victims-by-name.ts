/**
 * The search of the victim finder for jobs that a resource without a column may keep from starting. The decision names
 * the nodes that could hold one of their pods, and what one more pod lacks there: {node: {lacks: {resource: amount},
 * lacking: how many of these amounts are positive}}. A join with them would be a nested loop over all allocations.
 *
 * On each node it takes the jobs in order of preference until every resource that is lacking is covered. It drops the
 * nodes where all of them are not enough, so a negative answer is exact for the nodes that are named, and orders the
 * others by the last job that is needed. Each of these nodes gains at least one pod, so it proposes at least as many as
 * the gang has pods.
 */
import { CLOSE_NODES, NODES, POOL, reaches, REQUESTS } from "./victims-shared.ts";

/** `spared` is a condition on the allocation `own` that excludes the jobs that budgets protect. */
export const searchByName = (spared: string): string => `${REQUESTS}
  running AS MATERIALIZED (
    SELECT request.preemptor, own.node_name AS node, freed.resource, (room.lacks ->> freed.resource)::float8 AS missing,
      room.lacking, own.job_id AS id, own.borrowing, own.priority, own.started_at,
      sum(freed.amount) OVER preferred AS so_far, sum(own.gang_size) OVER preferred AS pods_so_far
    FROM request
    JOIN allocations AS own ON own.pool = ${POOL} AND own.evictable AND ${reaches("own", "request")} ${spared}
      AND request.rooms ? own.node_name
    CROSS JOIN LATERAL (
      SELECT place -> 'lacks' AS lacks, (place -> 'lacking')::integer AS lacking
      FROM (SELECT request.rooms -> own.node_name AS place OFFSET 0) AS one
      OFFSET 0
    ) AS room
    CROSS JOIN LATERAL (
      SELECT resource, amount::float8
      FROM (
        VALUES ('gpus', own.gpus::bigint), ('cpuMillis', own.cpu_millis), ('memoryBytes', own.memory_bytes),
          ('pods', own.pods::bigint)
      ) AS columns (resource, amount)
      WHERE amount > 0
      UNION ALL
      SELECT resource, (own.pods * amount_per_pod)::float8
      FROM job_resources
      WHERE job_resources.job_id = own.job_id
    ) AS freed
    WHERE room.lacks ? freed.resource
    WINDOW preferred AS (
      PARTITION BY request.preemptor, own.node_name COLLATE "C", freed.resource
      ORDER BY own.borrowing DESC, own.priority, own.started_at DESC, own.job_id
      ROWS UNBOUNDED PRECEDING
    )
  ),
  covered AS (
    SELECT DISTINCT ON (preemptor, node, resource) *
    FROM running
    WHERE so_far >= missing
    ORDER BY preemptor, node, resource, borrowing DESC, priority, started_at DESC, id
  ),
  -- The last job that a node needs: of all its resources the one that is covered last.
  able AS (
    SELECT DISTINCT ON (preemptor, node) *
    FROM (SELECT *, count(*) OVER (PARTITION BY preemptor, node) AS resources FROM covered WHERE missing > 0) AS covered
    WHERE resources = lacking
    ORDER BY preemptor, node, borrowing, priority DESC, started_at, id DESC
  ),
  chosen AS MATERIALIZED (
    SELECT request.preemptor, best.node
    FROM request
    CROSS JOIN LATERAL (
      SELECT node
      FROM able
      WHERE able.preemptor = request.preemptor
      ORDER BY borrowing DESC, priority, pods_so_far, started_at DESC, node COLLATE "C"
      LIMIT greatest(${CLOSE_NODES}, ${NODES} + request.parallelism)
    ) AS best
  ),
  on_nodes AS (
    SELECT DISTINCT id FROM running JOIN chosen USING (preemptor, node)
  ),`;
