/**
 * Which jobs can only borrow, whatever the others use (docs/design.md, "Quota"): those for which no plan grants
 * anything, and those that request something metered that no plan grants. The one place of this rule.
 */

/** Parameters of a statement: the pool, and patterns of LIKE for extended resources that are not metered. */
export interface StandingParameters {
  readonly pool: string;
  readonly unmetered: string;
}

/**
 * Tables for `standingOf`, to follow others in a WITH. What a plan of the pool names is metered, as are GPUs, and extended
 * resources that match no pattern.
 * @param jobs a table with the columns of jobs
 */
export const standingTables = (jobs: string, { pool, unmetered }: StandingParameters): string => `
    granting AS MATERIALIZED (
      SELECT DISTINCT resource_owner_id AS owner_id, resource_type FROM resource_plans WHERE pool = ${pool}
    ),
    named AS MATERIALIZED (
      SELECT coalesce(array_agg(DISTINCT resource_type), '{}') AS types FROM granting
    ),
    chains AS MATERIALIZED (
      SELECT DISTINCT project_id, owner_id FROM project_owners WHERE project_id IN (SELECT project_id FROM ${jobs})
    ),
    planned AS MATERIALIZED (
      SELECT chains.project_id, array_agg(DISTINCT resource_type) AS types,
        bool_or(resource_type = 'GPU') AS gpus, bool_or(resource_type = 'CPU') AS cpus,
        bool_or(resource_type = 'memory') AS memory
      FROM chains
      JOIN granting USING (owner_id)
      GROUP BY chains.project_id
    ),
    devices AS MATERIALIZED (
      SELECT wanted.job_id, array_agg(wanted.resource_type ORDER BY wanted.resource_type) AS types,
        coalesce(array_agg(wanted.resource_type ORDER BY wanted.resource_type) FILTER (
          WHERE wanted.resource_type = ANY (named.types) OR NOT wanted.resource_type LIKE ANY (${unmetered})
        ), '{}') AS metered
      FROM ${jobs}
      JOIN job_resources AS wanted ON wanted.job_id = ${jobs}.id AND wanted.resource_type <> 'GPU'
      CROSS JOIN named
      GROUP BY wanted.job_id
    ),
    metered AS MATERIALIZED (
      SELECT 'CPU' = ANY (types) AS cpus, 'memory' = ANY (types) AS memory FROM named
    )`;

/** Joins of an alias of the jobs with the tables above. */
export const standingJoins = (job: string): string => `
    CROSS JOIN metered
    LEFT JOIN planned ON planned.project_id = ${job}.project_id
    LEFT JOIN devices ON devices.job_id = ${job}.id`;

const lacks = (asked: string, isMetered: string, isPlanned: string): string =>
  `${asked} AND ${isMetered} AND ${isPlanned} IS NOT TRUE`;

/** Expressions on an alias of the jobs, with these joins. */
export const standingOf = (job: string) => {
  const lacking = [
    { type: "'GPU'", is: lacks(`${job}.required_gpu > 0`, "true", "planned.gpus") },
    { type: "'CPU'", is: lacks(`${job}.cpu_millis > 0`, "metered.cpus", "planned.cpus") },
    { type: "'memory'", is: lacks(`${job}.memory_bytes > 0`, "metered.memory", "planned.memory") },
  ];
  const asksForPlanned = `(
        planned.gpus AND ${job}.required_gpu > 0 OR planned.cpus AND ${job}.cpu_millis > 0
        OR planned.memory AND ${job}.memory_bytes > 0 OR planned.types && devices.types
      )`;
  return {
    /** Nothing that a plan grants, or something metered that none grants. */
    isUnplanned: `(
        ${asksForPlanned} IS NOT TRUE OR ${lacking.map(({ is }) => is).join("\n        OR ")}
        OR devices.metered <@ coalesce(planned.types, '{}') IS FALSE
      )`,
    /** The metered types that no plan grants; text[]. */
    ungranted: `(
        array_remove(ARRAY[${lacking.map(({ type, is }) => `CASE WHEN ${is} THEN ${type} END`).join(", ")}], NULL)
        || ARRAY(SELECT unnest(devices.metered) EXCEPT SELECT unnest(planned.types) ORDER BY 1)
      )`,
    /** Nothing that is metered: such a job has no promise, and may always borrow. */
    isFree: `(
        ${job}.required_gpu > 0 OR metered.cpus AND ${job}.cpu_millis > 0
        OR metered.memory AND ${job}.memory_bytes > 0 OR cardinality(devices.metered) > 0
      ) IS NOT TRUE`,
  };
};
