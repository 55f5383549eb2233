/** What both searches of the victim finder have in common: its parameters, its rules, and what follows the nodes. */
import { demandOf, perPodColumns } from "../jobs/resources.ts";

/**
 * Parameters as the statement uses them. The sub-select hides their values from the planner, so it keeps one generic
 * plan. Planning for each set of values took 5 ms, and the plan was never better.
 */
export const POOL = "(SELECT $1::text)";
export const SPARED = "(SELECT $3::uuid[])::uuid[]";
export const CLOSE_NODES = "(SELECT $4::integer)";
export const NODES = "(SELECT $5::integer)";
const SIBLINGS = "(SELECT $6::integer)";

/** Whether a power may evict a job; both are tables in scope. */
export const reaches = (job: string, power = "power"): string => `(
        ${job}.priority < ${power}.priority AND (${power}.inside OR ${power}.claims OR ${job}.borrowing)
        OR (${power}.inside OR ${power}.claims) AND ${job}.borrowing
      )`;

/** The first tables of a search: the requests, and what they may evict. */
export const REQUESTS = `
  WITH RECURSIVE request AS MATERIALIZED (
    SELECT preemptor, power, priority, inside, claims, borrows, parallelism, per_node, nullif(gpus, 0) AS gpus,
      nullif(cpu_millis, 0) AS cpu_millis, nullif(memory_bytes, 0) AS memory_bytes, nodes, over, changed, rooms,
      jsonb_typeof(nodes) IS DISTINCT FROM 'array' AS is_anywhere
    FROM jsonb_to_recordset($2::jsonb) AS (
      preemptor integer, power integer, priority integer, inside boolean, claims boolean, borrows boolean,
      parallelism integer, per_node integer,
      gpus float8, cpu_millis float8, memory_bytes float8, nodes jsonb, over jsonb, changed jsonb, rooms jsonb
    )
  ),
  power AS MATERIALIZED (
    SELECT power, priority, inside, claims, borrows, max(parallelism) AS parallelism
    FROM request
    GROUP BY power, priority, inside, claims, borrows
  ),`;

/** Closes a search, whose table "on_nodes" has the ids of the jobs that it proposes: adds those under exceeded quotas. */
export const PROPOSALS = `
  exceeded AS MATERIALIZED (
    SELECT request.preemptor, over.quota, split_part(over.quota, '/', 1)::bigint AS owner_id,
      over.resource_type, over.excess
    FROM request, jsonb_to_recordset(request.over) AS over (quota text, resource_type text, excess bigint)
  ),
  under_quota AS (
    SELECT DISTINCT exceeded.preemptor, exceeded.quota, exceeded.excess, job.id, job.parallelism AS gang_size,
      job.priority, job.started_at,
      ${demandOf("job", "exceeded.resource_type")} AS amount
    FROM exceeded
    JOIN request USING (preemptor)
    JOIN project_owners AS owned USING (owner_id)
    JOIN jobs AS job ON job.active_project_id = owned.project_id AND job.priority < request.priority AND NOT job.borrowing
    WHERE job.pool = ${POOL} AND job.evictable AND job.id <> ALL (${SPARED})
  ),
  relieving AS (
    SELECT id, excess,
      row_number() OVER preferred AS by_preference,
      sum(amount) OVER preferred - amount AS relieved_before,
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
  proposed AS MATERIALIZED (
    SELECT id FROM on_nodes
    UNION
    SELECT id FROM relieving
    WHERE relieved_before < excess OR by_preference <= ${SIBLINGS} OR by_amount <= ${SIBLINGS}
    UNION
    SELECT job.id
    FROM power
    JOIN jobs AS job ON ${reaches("job")}
    WHERE job.id = ANY (${SPARED}) AND job.pool = ${POOL} AND job.evictable
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
    ${perPodColumns("job")},
    (
      SELECT json_agg(json_build_object('node', node_name, 'pods', pods) ORDER BY node_name)
      FROM allocations
      WHERE job_id = job.id AND attempt = job.attempt
    ) AS allocations,
    coalesce((
      SELECT json_agg(planned.owner_id || '/' || planned.resource_type ORDER BY planned.owner_id, planned.resource_type)
      FROM planned
      WHERE planned.project_id = job.project_id
        AND ${demandOf("job", "planned.resource_type")} > 0
    ), '[]') AS quotas
  FROM jobs AS job
  -- An array, because the planner does not know that few jobs are proposed and would read all.
  WHERE job.id = ANY (ARRAY(SELECT id FROM proposed))
  ORDER BY job.id
`;
