/** Nodes of the cluster as the database knows them. What is committed on them follows from allocations. */
import type { Pool, PoolClient } from "pg";
import type { Resources } from "../domain/scheduling/types.ts";
import { releaseHolds } from "./holds.ts";
import { run, withTransaction } from "./pool.ts";
import type { Queryable } from "./types.ts";

export interface NodeInput {
  readonly name: string;
  readonly uid: string;
  readonly pool: string;
  /** Ready and not cordoned. */
  readonly schedulable: boolean;
  readonly labels: object;
  readonly taints: readonly object[];
  readonly allocatable: Resources;
}

/** Stores a node as the cluster has it; writes nothing when nothing changed. */
export async function upsertNode(db: Queryable, node: NodeInput): Promise<void> {
  const { gpus, cpuMillis, memoryBytes, pods } = node.allocatable;
  await run(
    db,
    `
    INSERT INTO nodes (
      name, uid, pool, schedulable, labels, taints,
      gpus_allocatable, cpu_millis_allocatable, memory_bytes_allocatable, pods_allocatable
    )
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
    ON CONFLICT (name) DO UPDATE
    SET uid = excluded.uid, pool = excluded.pool, schedulable = excluded.schedulable, present = true,
      labels = excluded.labels, taints = excluded.taints,
      gpus_allocatable = excluded.gpus_allocatable,
      cpu_millis_allocatable = excluded.cpu_millis_allocatable,
      memory_bytes_allocatable = excluded.memory_bytes_allocatable,
      pods_allocatable = excluded.pods_allocatable
    WHERE (
      nodes.uid, nodes.pool, nodes.schedulable, nodes.present, nodes.labels, nodes.taints,
      nodes.gpus_allocatable, nodes.cpu_millis_allocatable, nodes.memory_bytes_allocatable, nodes.pods_allocatable
    ) IS DISTINCT FROM (
      excluded.uid, excluded.pool, excluded.schedulable, true, excluded.labels, excluded.taints,
      excluded.gpus_allocatable, excluded.cpu_millis_allocatable, excluded.memory_bytes_allocatable,
      excluded.pods_allocatable
    )
    `,
    [
      node.name,
      node.uid,
      node.pool,
      node.schedulable,
      JSON.stringify(node.labels),
      JSON.stringify(node.taints),
      gpus,
      cpuMillis,
      memoryBytes,
      pods,
    ],
  );
}

/** What pods that are not Rota's request on a node. A fact: it may leave the node over-committed. */
export async function setForeignUsage(
  db: Queryable,
  name: string,
  usage: Resources,
): Promise<void> {
  await run(
    db,
    `
    UPDATE nodes
    SET gpus_foreign = $2, cpu_millis_foreign = $3, memory_bytes_foreign = $4, pods_foreign = $5
    WHERE name = $1
      AND (gpus_foreign, cpu_millis_foreign, memory_bytes_foreign, pods_foreign)
        IS DISTINCT FROM ($2::int, $3::bigint, $4::bigint, $5::int)
    `,
    [name, usage.gpus, usage.cpuMillis, usage.memoryBytes, usage.pods],
  );
}

async function heldJobsOn(client: PoolClient, name: string) {
  return run<{ id: string; attempt: number }>(
    client,
    `
    SELECT job.id, job.attempt
    FROM holds AS hold
    JOIN jobs AS job ON job.id = hold.job_id
    WHERE hold.node_name = $1
    `,
    [name],
  );
}

async function removeNode(client: PoolClient, name: string): Promise<boolean> {
  const held = await heldJobsOn(client, name);
  await releaseHolds(
    client,
    held.map(({ id, attempt }) => ({
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
 * Forgets a node that left the cluster, and gives holds on it back. While jobs still have allocations
 * there it is only marked as gone, takes no more, and goes with the last of them. True when it is gone.
 */
export function deleteNode(pool: Pool, name: string): Promise<boolean> {
  return withTransaction(pool, (client) => removeNode(client, name));
}
