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
}

/** Arrays of numeric, in the order GPUs, millicores, bytes, pods. */
function resources(amounts: readonly (string | number)[]): Resources {
  const [gpus = 0, cpuMillis = 0, memoryBytes = 0, pods = 0] = amounts.map(Number);
  return { gpus, cpuMillis, memoryBytes, pods };
}

/** Capacity of the pool's nodes, with the capacity that is being released and the reservations. */
export async function readNodes(db: Queryable, pool: string): Promise<NodeSnapshot[]> {
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
    )
    SELECT node.name, node.labels, node.taints, node.schedulable,
      ARRAY[gpus_allocatable, cpu_millis_allocatable, memory_bytes_allocatable, pods_allocatable]::numeric[]
        AS allocatable,
      gpus_unhealthy AS unhealthy_gpus,
      ARRAY[gpus_committed, cpu_millis_committed, memory_bytes_committed, pods_committed]::numeric[] AS committed,
      ARRAY[gpus_other, cpu_millis_other, memory_bytes_other, pods_other]::numeric[] AS other_usage,
      coalesce(leaving.amounts, '{0,0,0,0}') AS leaving,
      coalesce(reserved.amounts, '{0,0,0,0}') AS reserved
    FROM nodes AS node
    LEFT JOIN leaving ON leaving.node_name = node.name
    LEFT JOIN reserved ON reserved.node_name = node.name
    WHERE node.pool = $1 AND node.present
    ORDER BY node.name
    `,
    [pool],
  );
  return rows.map((row) => ({
    name: row.name,
    labels: row.labels,
    taints: row.taints,
    schedulable: row.schedulable,
    allocatable: resources(row.allocatable),
    unhealthyGpus: Number(row.unhealthy_gpus),
    committed: resources(row.committed),
    otherUsage: resources(row.other_usage),
    leaving: resources(row.leaving),
    reserved: resources(row.reserved),
  }));
}
