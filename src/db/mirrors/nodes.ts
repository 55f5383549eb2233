/** The mirror of the cluster's nodes. Committed capacity follows from allocations. */
import { storableJson } from "../../domain/text.ts";
import { isExclusive, unrecordedAmount } from "../../domain/resource-names.ts";
import type { Pool, PoolClient } from "pg";
import type { Amounts, Resources } from "../../domain/scheduling/snapshot.ts";
import { releaseReservations } from "../jobs/reservations.ts";
import { run, withTransaction } from "../client/connection-pool.ts";
import { prepared } from "../client/prepared.ts";
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
  /** GPUs of its capacity that are not allocatable. */
  readonly unhealthyGpus: number;
  /** The same of other devices; absent: none. */
  readonly unhealthyByName?: Amounts | undefined;
  /** Requests of pods that are not Rota's. An observed fact, so it may overcommit the node. */
  readonly otherUsage: Resources;
}

export interface NodeChange {
  /** Its previous pool; undefined for a new node. */
  readonly formerPool: string | undefined;
}

const amountsOf = ({ gpus, cpuMillis, memoryBytes, pods }: Resources): number[] => [
  gpus,
  cpuMillis,
  memoryBytes,
  pods,
];

/** Usage of what the node does not have says nothing about it; of every exclusive resource it has one. */
function amountsByName({ allocatable, otherUsage, unhealthyByName = {} }: NodeInput) {
  const used = otherUsage.byName ?? {};
  const has = allocatable.byName ?? {};
  const names = [
    ...Object.keys({ ...has, ...unhealthyByName }),
    ...Object.keys(used).filter(isExclusive),
  ];
  return names.map((name) => ({
    name,
    allocatable: has[name] ?? unrecordedAmount(name),
    other: used[name] ?? 0,
    unhealthy: unhealthyByName[name] ?? 0,
  }));
}

/**
 * Stores a node together with the usage of other pods, in one statement, so that no decision sees the node empty.
 * Writes nothing and returns undefined if nothing changed.
 */
export async function upsertNode(db: Queryable, node: NodeInput): Promise<NodeChange | undefined> {
  const [changed] = await run<{ former_pool: string | null }>(
    db,
    prepared("upsert_node")`
    WITH former AS (
      SELECT pool FROM nodes WHERE name = $1
    ), stored AS (
      INSERT INTO nodes (
        name, uid, pool, schedulable, labels, taints,
        gpus_allocatable, cpu_millis_allocatable, memory_bytes_allocatable, pods_allocatable,
        gpus_other, cpu_millis_other, memory_bytes_other, pods_other, gpus_unhealthy
      )
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
      ON CONFLICT (name) DO UPDATE
      SET uid = excluded.uid, pool = excluded.pool, schedulable = excluded.schedulable, present = true,
        labels = excluded.labels, taints = excluded.taints,
        gpus_allocatable = excluded.gpus_allocatable,
        cpu_millis_allocatable = excluded.cpu_millis_allocatable,
        memory_bytes_allocatable = excluded.memory_bytes_allocatable,
        pods_allocatable = excluded.pods_allocatable,
        gpus_other = excluded.gpus_other, cpu_millis_other = excluded.cpu_millis_other,
        memory_bytes_other = excluded.memory_bytes_other, pods_other = excluded.pods_other,
        gpus_unhealthy = excluded.gpus_unhealthy
      WHERE (
        nodes.uid, nodes.pool, nodes.schedulable, nodes.present, nodes.labels, nodes.taints,
        nodes.gpus_allocatable, nodes.cpu_millis_allocatable, nodes.memory_bytes_allocatable, nodes.pods_allocatable,
        nodes.gpus_other, nodes.cpu_millis_other, nodes.memory_bytes_other, nodes.pods_other, nodes.gpus_unhealthy
      ) IS DISTINCT FROM (
        excluded.uid, excluded.pool, excluded.schedulable, true, excluded.labels, excluded.taints,
        excluded.gpus_allocatable, excluded.cpu_millis_allocatable, excluded.memory_bytes_allocatable,
        excluded.pods_allocatable,
        excluded.gpus_other, excluded.cpu_millis_other, excluded.memory_bytes_other, excluded.pods_other,
        excluded.gpus_unhealthy
      )
      RETURNING name
    ), resource AS MATERIALIZED (
      -- Those that the node no longer has are 0. Exclusive ones that only jobs use are left alone: the row may be gone.
      SELECT name AS resource, coalesce(now_there.allocatable, unrecorded_amount(name)) AS allocatable,
        coalesce(now_there.other, 0) AS other, coalesce(now_there.unhealthy, 0) AS unhealthy
      FROM jsonb_to_recordset($16::jsonb) AS now_there (
        name text, allocatable bigint, other bigint, unhealthy bigint
      )
      FULL JOIN (
        SELECT resource AS name
        FROM node_resources
        WHERE node_name = $1 AND (other > 0 OR unhealthy > 0 OR allocatable <> unrecorded_amount(resource))
      ) AS known USING (name)
    ), stored_by_name AS (
      -- After the node's row, and in order of the names, as the triggers on allocations lock them.
      INSERT INTO node_resources (node_name, resource, allocatable, other, unhealthy)
      SELECT $1, resource, allocatable, other, unhealthy
      FROM (SELECT count(*) FROM stored) AS first_the_node, resource
      ORDER BY resource
      ON CONFLICT ON CONSTRAINT node_resources_pkey DO UPDATE
      SET allocatable = excluded.allocatable, other = excluded.other, unhealthy = excluded.unhealthy
      WHERE (node_resources.allocatable, node_resources.other, node_resources.unhealthy)
        IS DISTINCT FROM (excluded.allocatable, excluded.other, excluded.unhealthy)
      RETURNING node_name
    )
    SELECT (SELECT pool FROM former) AS former_pool
    WHERE EXISTS (SELECT FROM stored) OR EXISTS (SELECT FROM stored_by_name)
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
      node.unhealthyGpus,
      storableJson(amountsByName(node)),
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
 * Deletes a node that left the cluster and releases its reservations. A node with allocations is marked as gone, takes
 * no more jobs, and is deleted with the last allocation. True if it is deleted.
 */
export function deleteNode(pool: Pool, name: string): Promise<boolean> {
  return withTransaction(pool, (client) => removeNode(client, name));
}
