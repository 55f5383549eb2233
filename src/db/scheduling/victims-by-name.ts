/**
 * The search of the victim finder for jobs that a resource without a column may keep from starting. The decision names
 * the nodes that could hold one of their pods, and what one more pod lacks there.
 *
 * On each node it takes the jobs in order of preference until every resource that is lacking is covered. It drops the
 * nodes where all of them are not enough, so a negative answer is exact, and orders the others by the last job that is
 * needed. Each of these nodes gains at least one pod, so it proposes at least as many as the gang has pods.
 */
import { CLOSE_NODES, NODES, POOL, reaches, REQUESTS } from "./victims-shared.ts";

/** `spared` is a condition on the allocation `own` that excludes the jobs that budgets protect. */
export const searchByName = (spared: string): string => `${REQUESTS}
  lack AS MATERIALIZED (
    SELECT request.preemptor, request.power, room.node, lack.resource, lack.missing
    FROM request
    CROSS JOIN LATERAL jsonb_to_recordset(request.rooms) AS room (node text, lacks jsonb)
    CROSS JOIN LATERAL jsonb_to_recordset(room.lacks) AS lack (resource text, missing float8)
  ),
  placed AS MATERIALIZED (
    SELECT power.power, own.*
    FROM power
    CROSS JOIN LATERAL (
      SELECT own.node_name AS node, own.job_id AS id, own.gang_size, own.borrowing, own.priority, own.started_at,
        own.gpus, own.cpu_millis, own.memory_bytes, own.pods
      FROM allocations AS own
      WHERE own.pool = ${POOL} AND own.evictable AND ${reaches("own")} ${spared}
        AND own.node_name = ANY (ARRAY(SELECT node FROM lack WHERE lack.power = power.power))
      OFFSET 0
    ) AS own
  ),
  freed AS MATERIALIZED (
    SELECT placed.power, placed.node, placed.id, amounts.resource, amounts.amount::float8
    FROM placed
    CROSS JOIN LATERAL (
      VALUES ('gpus', gpus::bigint), ('cpuMillis', cpu_millis), ('memoryBytes', memory_bytes), ('pods', pods::bigint)
    ) AS amounts (resource, amount)
    WHERE amounts.amount > 0
    UNION ALL
    SELECT placed.power, placed.node, placed.id, wanted.resource, (placed.pods * wanted.amount_per_pod)::float8
    FROM placed
    JOIN job_resources AS wanted ON wanted.job_id = placed.id
  ),
  running AS MATERIALIZED (
    SELECT lack.preemptor, lack.node, lack.resource, lack.missing,
      placed.id, placed.borrowing, placed.priority, placed.started_at,
      sum(freed.amount) OVER preferred AS so_far, sum(placed.gang_size) OVER preferred AS pods_so_far
    FROM lack
    JOIN freed ON freed.power = lack.power AND freed.node = lack.node AND freed.resource = lack.resource
    JOIN placed ON placed.power = freed.power AND placed.node = freed.node AND placed.id = freed.id
    WINDOW preferred AS (
      PARTITION BY lack.preemptor, lack.node, lack.resource
      ORDER BY placed.borrowing DESC, placed.priority, placed.started_at DESC, placed.id
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
    FROM covered
    WHERE missing > 0
      AND NOT EXISTS (
        SELECT
        FROM lack
        WHERE lack.preemptor = covered.preemptor AND lack.node = covered.node AND lack.missing > 0
          AND (lack.preemptor, lack.node, lack.resource) NOT IN (SELECT preemptor, node, resource FROM covered)
      )
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
