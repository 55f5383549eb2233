/** The scheduler's view of a pool's nodes: one statement, whatever their number. */
import type { NodeSnapshot, Resources, Taint } from "../../domain/scheduling/snapshot.ts";
import { run } from "../client/connection-pool.ts";
import type { Queryable } from "../client/types.ts";

interface Row {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly taints: readonly Taint[];
  readonly schedulable: boolean;
  readonly allocatable: readonly string[];
  readonly unhealthy_gpus: string;
  readonly committed: readonly string[];
  readonly other_usage: readonly string[];
  readonly leaving: readonly string[];
  readonly reserved: readonly string[];
  readonly by_name: readonly NamedRow[] | null;
}

interface NamedRow {
  readonly name: string;
  readonly allocatable: number;
  readonly other: number;
  readonly committed: number;
  readonly leaving: number;
  readonly unhealthy: number;
  readonly reserved: number;
}

/** Arrays of numeric, in the order GPUs, millicores, bytes, pods; and what the rows by name have in a column. */
function resources(
  amounts: readonly (string | number)[],
  named: readonly NamedRow[] | null,
  column: Exclude<keyof NamedRow, "name">,
): Resources {
  const [gpus = 0, cpuMillis = 0, memoryBytes = 0, pods = 0] = amounts.map(Number);
  if (named === null) return { gpus, cpuMillis, memoryBytes, pods };
  const byName = Object.fromEntries(named.map((row) => [row.name, row[column]]));
  return { gpus, cpuMillis, memoryBytes, pods, byName };
}

/** Of the named resources, those of which some are unhealthy. */
function unhealthyOf(named: readonly NamedRow[] | null): Pick<NodeSnapshot, "unhealthyByName"> {
  const some = (named ?? []).filter(({ unhealthy }) => unhealthy > 0);
  if (some.length === 0) return {};
  return { unhealthyByName: Object.fromEntries(some.map((row) => [row.name, row.unhealthy])) };
}

/**
 * Capacity of the pool's nodes, with the capacity that is being released and the reservations. Of the resources without
 * a column, only the named ones: those that a decision asks for.
 */
export async function readNodes(
  db: Queryable,
  pool: string,
  resourceNames: readonly string[],
): Promise<NodeSnapshot[]> {
  const rows = await run<Row>(
    db,
    `
    WITH leaving AS (
      SELECT node_name, ARRAY[sum(gpus), sum(cpu_millis), sum(memory_bytes), sum(pods)]::numeric[] AS amounts
      FROM allocations
      WHERE pool = $1 AND NOT evictable AND coalesce(leaves_by > now(), true)
      GROUP BY node_name
    ),
    reserved AS (
      SELECT node_name, ARRAY[sum(gpus), sum(cpu_millis), sum(memory_bytes), sum(pods)]::numeric[] AS amounts
      FROM reservations
      GROUP BY node_name
    ),
    leaving_by_name AS (
      SELECT node_name, resource, sum(pods * amount_per_pod) AS amount
      FROM allocations
      JOIN job_resources USING (job_id)
      WHERE pool = $1 AND NOT evictable AND coalesce(leaves_by > now(), true) AND resource = ANY ($2::text[])
      GROUP BY node_name, resource
    ),
    reserved_by_name AS (
      SELECT node_name, resource, sum(pods * amount_per_pod) AS amount
      FROM reservations
      JOIN job_resources USING (job_id)
      WHERE resource = ANY ($2::text[])
      GROUP BY node_name, resource
    ),
    by_name AS (
      -- An exclusive resource that is only reserved has no row.
      SELECT node_name,
        json_agg(
          json_build_object(
            'name', resource, 'allocatable', coalesce(allocatable - unrecorded_amount(resource), 0),
            'other', coalesce(other, 0), 'committed', coalesce(committed, 0),
            'unhealthy', unhealthy, 'leaving', coalesce(leaving.amount, 0), 'reserved', coalesce(reserved.amount, 0)
          )
          ORDER BY resource
        ) AS amounts
      FROM (SELECT * FROM node_resources WHERE resource = ANY ($2::text[])) AS recorded
      LEFT JOIN leaving_by_name AS leaving USING (node_name, resource)
      FULL JOIN reserved_by_name AS reserved USING (node_name, resource)
      GROUP BY node_name
    )
    SELECT node.name, node.labels, node.taints, node.schedulable,
      ARRAY[gpus_allocatable, cpu_millis_allocatable, memory_bytes_allocatable, pods_allocatable]::numeric[]
        AS allocatable,
      gpus_unhealthy AS unhealthy_gpus,
      ARRAY[gpus_committed, cpu_millis_committed, memory_bytes_committed, pods_committed]::numeric[] AS committed,
      ARRAY[gpus_other, cpu_millis_other, memory_bytes_other, pods_other]::numeric[] AS other_usage,
      coalesce(leaving.amounts, '{0,0,0,0}') AS leaving,
      coalesce(reserved.amounts, '{0,0,0,0}') AS reserved,
      by_name.amounts AS by_name
    FROM nodes AS node
    LEFT JOIN leaving ON leaving.node_name = node.name
    LEFT JOIN reserved ON reserved.node_name = node.name
    LEFT JOIN by_name ON by_name.node_name = node.name
    WHERE node.pool = $1 AND node.present
    ORDER BY node.name
    `,
    [pool, resourceNames],
  );
  return rows.map((row) => ({
    name: row.name,
    labels: row.labels,
    taints: row.taints,
    schedulable: row.schedulable,
    allocatable: resources(row.allocatable, row.by_name, "allocatable"),
    unhealthyGpus: Number(row.unhealthy_gpus),
    ...unhealthyOf(row.by_name),
    committed: resources(row.committed, row.by_name, "committed"),
    otherUsage: resources(row.other_usage, row.by_name, "other"),
    leaving: resources(row.leaving, row.by_name, "leaving"),
    reserved: resources(row.reserved, row.by_name, "reserved"),
  }));
}
