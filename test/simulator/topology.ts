/** The cluster and the tenants that a simulation begins with. */
import { replacePlan } from "../../src/db/tenants/plans.ts";
import { upsertNode } from "../../src/db/mirrors/nodes.ts";
import { upsertProject, type ProjectInput } from "../../src/db/tenants/projects.ts";
import type { DatabasePool } from "../../src/db/client/connection-pool.ts";
import type { Queryable } from "../../src/db/client/types.ts";
import type { Resources } from "../../src/domain/scheduling/snapshot.ts";
import type { TimeWindow } from "../../src/domain/windows.ts";
import { fpga, type NaivePlan } from "./judge/plans.ts";
import type { Random } from "./random.ts";

export const gibibyte = 2 ** 30;
export const pools = ["train", "serve"] as const;
export type PoolName = (typeof pools)[number];

export interface SimulatedNode {
  readonly name: string;
  readonly uid: string;
  readonly pool: PoolName;
  readonly gpus: number;
  readonly fpgas: number;
  readonly zone: string;
  readonly isTainted: boolean;
}

export const tree: readonly (Pick<ProjectInput, "name" | "parent" | "borrowing"> & {
  readonly owner?: string;
})[] = [
  { name: "company", owner: "board" },
  { name: "research", parent: "company" },
  { name: "vision", parent: "research", owner: "vision" },
  { name: "vision-video", parent: "vision" },
  { name: "speech", parent: "research", owner: "speech" },
  { name: "speech-strict", parent: "speech", borrowing: "Deny" },
  { name: "product", parent: "company", owner: "product" },
  { name: "guests" },
];

export const owners = ["board", "vision", "speech", "product"] as const;

const work: TimeWindow = {
  days: ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"],
  start: "08:00",
  end: "20:00",
};
const night: TimeWindow = { ...work, start: "22:00", end: "03:00" };

export interface SimulatedPlan extends NaivePlan {
  readonly name: string;
  readonly onWindowClose: "Finish" | "Evict";
}

export const firstPlans: readonly SimulatedPlan[] = [
  plan("board-all", "board", 40),
  plan("vision-day", "vision", 16, [work]),
  plan("vision-night", "vision", 8, [night]),
  { ...plan("speech-day", "speech", 12, [work]), onWindowClose: "Evict" },
  { ...plan("board-cpu", "board", 400), resourceType: "CPU" },
  { ...plan("speech-cpu", "speech", 64), resourceType: "CPU" },
  { ...plan("vision-memory", "vision", 400), resourceType: "memory" },
  { ...plan("board-memory", "board", 2000), resourceType: "memory" },
  { ...plan("board-fpga", "board", 5), resourceType: fpga },
  { ...plan("vision-fpga", "vision", 3, [work]), resourceType: fpga },
  { ...plan("product-serve", "product", 8), pool: "serve" },
];

function plan(
  name: string,
  owner: string,
  quantity: number,
  windows: readonly TimeWindow[] = [],
): SimulatedPlan {
  return {
    name,
    owner,
    quantity,
    windows,
    pool: "train",
    resourceType: "GPU",
    onWindowClose: "Finish",
  };
}

export const firstNodes = (random: Random): SimulatedNode[] =>
  Array.from({ length: 10 }, (_, index) => ({
    name: `node-${index}`,
    uid: random.uuid(),
    pool: index < 7 ? "train" : "serve",
    gpus: index % 3 === 2 ? 4 : 8,
    fpgas: index % 3,
    zone: `zone-${index % 2}`,
    isTainted: index === 6,
  }));

export interface NodeChange {
  readonly schedulable?: boolean;
  readonly gpus?: number;
}

/** A node that changes has lost the pods of others. */
export async function writeNode(
  db: Queryable,
  node: SimulatedNode,
  change: NodeChange = {},
): Promise<void> {
  await upsertNode(db, {
    name: node.name,
    uid: node.uid,
    pool: node.pool,
    schedulable: change.schedulable ?? true,
    labels: { zone: node.zone },
    taints: node.isTainted ? [{ key: "special", effect: "NoSchedule" }] : [],
    allocatable: {
      gpus: change.gpus ?? node.gpus,
      cpuMillis: 64_000,
      memoryBytes: 256 * gibibyte,
      pods: 40,
      ...(node.fpgas > 0 && { byName: { [fpga]: node.fpgas } }),
    },
    unhealthyGpus: 0,
    otherUsage: { gpus: 0, cpuMillis: 0, memoryBytes: 0, pods: 0 },
  });
}

/** What pods of others use of a node, as its mirror writes it. */
export async function writeOtherUsage(
  db: DatabasePool,
  node: string,
  usage: Resources,
): Promise<void> {
  await db.query(
    `
    UPDATE nodes
    SET gpus_other = $2, cpu_millis_other = $3, memory_bytes_other = $4, pods_other = $5
    WHERE name = $1
    `,
    [node, usage.gpus, usage.cpuMillis, usage.memoryBytes, usage.pods],
  );
}

export const writeProject = (
  db: DatabasePool,
  id: string,
  { name, parent, borrowing, owner }: (typeof tree)[number],
): Promise<void> =>
  upsertProject(db, {
    id,
    name,
    namespace: name,
    parent,
    borrowing,
    owner: owner === undefined ? undefined : { kind: "Group", name: owner },
    podSecurity: "restricted",
    members: [],
    storages: [],
  });

export const writePlan = (
  db: DatabasePool,
  uid: string,
  one: SimulatedPlan,
  generation: number,
): Promise<boolean> =>
  replacePlan(db, {
    uid,
    name: one.name,
    owner: { kind: "Group", name: one.owner },
    resourceType: one.resourceType,
    pool: one.pool,
    quantity: one.quantity,
    windows: one.windows.length === 0 ? undefined : one.windows,
    onWindowClose: one.onWindowClose,
    generation,
  });
