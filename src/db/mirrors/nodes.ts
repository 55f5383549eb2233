/** Nodes of the cluster as the database knows them. What is committed on them follows from allocations. */
import { storableJson } from "../../domain/text.ts";
import type { Pool, PoolClient } from "pg";
import type { Resources } from "../../domain/scheduling/snapshot.ts";
import { releaseReservations } from "../jobs/reservations.ts";
import { run, withTransaction } from "../client/connection-pool.ts";
import type { Queryable } from "../client/types.ts";

export interface NodeInput {
  readonly name: string;
  readonly uid: string;
  readonly pool: string;
  /** Ready and not cordoned. */
  readonly schedulable: boolean;
  readonly labels: object;
  readonly taints: readonly object[];
  readonly allocatable: Resources;
  /** What pods that are not Rota's request on it. A fact: it may leave the node over-committed. */
  readonly otherUsage: Resources;
}

export interface NodeChange {
  /** The pool it was in before; undefined for a node that is new. */
  readonly formerPool: string | undefined;
}

const amountsOf = ({ gpus, cpuMillis, memoryBytes, pods }: Resources): number[] => [
  gpus,
  cpuMillis,
  memoryBytes,
  pods,
];

/**
 * Stores a node as the cluster has it, in one statement with what others use of it, so that no decision sees it
 * empty; writes nothing, and returns undefined, when nothing changed.
 */
export async function upsertNode(db: Queryable, node: NodeInput): Promise<NodeChange | undefined> {
  const [changed] = await run<{ former_pool: string | null }>(
    db,
    `
    WITH former AS (SELECT pool FROM nodes WHERE name = $1)
    INSERT INTO nodes (
      name, uid, pool, schedulable, labels, taints,
      gpus_allocatable, cpu_millis_allocatable, memory_bytes_allocatable, pods_allocatable,
      gpus_other, cpu_millis_other, memory_bytes_other, pods_other
    )
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
    ON CONFLICT (name) DO UPDATE
    SET uid = excluded.uid, pool = excluded.pool, schedulable = excluded.schedulable, present = true,
      labels = excluded.labels, taints = excluded.taints,
      gpus_allocatable = excluded.gpus_allocatable,
      cpu_millis_allocatable = excluded.cpu_millis_allocatable,
      memory_bytes_allocatable = excluded.memory_bytes_allocatable,
      pods_allocatable = excluded.pods_allocatable,
      gpus_other = excluded.gpus_other, cpu_millis_other = excluded.cpu_millis_other,
      memory_bytes_other = excluded.memory_bytes_other, pods_other = excluded.pods_other
    WHERE (
      nodes.uid, nodes.pool, nodes.schedulable, nodes.present, nodes.labels, nodes.taints,
      nodes.gpus_allocatable, nodes.cpu_millis_allocatable, nodes.memory_bytes_allocatable, nodes.pods_allocatable,
      nodes.gpus_other, nodes.cpu_millis_other, nodes.memory_bytes_other, nodes.pods_other
    ) IS DISTINCT FROM (
      excluded.uid, excluded.pool, excluded.schedulable, true, excluded.labels, excluded.taints,
      excluded.gpus_allocatable, excluded.cpu_millis_allocatable, excluded.memory_bytes_allocatable,
      excluded.pods_allocatable,
      excluded.gpus_other, excluded.cpu_millis_other, excluded.memory_bytes_other, excluded.pods_other
    )
    RETURNING (SELECT pool FROM former) AS former_pool
    `,
    [
      node.name,
      node.uid,
      node.pool,
      node.schedulable,
      storableJson(node.labels),
      storableJson(node.taints),
      ...amountsOf(node.allocatable),
      ...amountsOf(node.otherUsage),
    ],
  );
  return changed && { formerPool: changed.former_pool ?? undefined };
}

async function reservedJobsOn(client: PoolClient, name: string) {
  return run<{ id: string; attempt: number }>(
    client,
    `
    SELECT job.id, job.attempt
    FROM reservations AS reservation
    JOIN jobs AS job ON job.id = reservation.job_id
    WHERE reservation.node_name = $1
    `,
    [name],
  );
}

async function removeNode(client: PoolClient, name: string): Promise<boolean> {
  const reserved = await reservedJobsOn(client, name);
  await releaseReservations(
    client,
    reserved.map(({ id, attempt }) => ({
      id,
      attempt,
      reason: "NodeGone",
      message: `node ${name} left the cluster`,
    })),
  );
  const gone = await run(
    client,
    "DELETE FROM nodes WHERE name = $1 AND pods_committed = 0 RETURNING name",
    [name],
  );
  if (gone.length > 0) return true;
  await run(client, "UPDATE nodes SET present = false, schedulable = false WHERE name = $1", [
    name,
  ]);
  return false;
}

/**
 * Forgets a node that left the cluster, and releases the reservations on it. While jobs still have allocations
 * there it is only marked as gone, takes no more, and goes with the last of them. True when it is gone.
 */
export function deleteNode(pool: Pool, name: string): Promise<boolean> {
  return withTransaction(pool, (client) => removeNode(client, name));
}
