/** Builders of small clusters. */
import type {
  Quota,
  LiveJob,
  NodeSnapshot,
  Placement,
  QueuedJob,
  Resources,
  Snapshot,
} from "../../../src/domain/scheduling/snapshot.ts";

export const GIB = 1024 ** 3;

/** A resource without a field of its own. */
export const FPGA = "example.com/fpga";

/** What one pod at a time can have on a node; every node has one. */
export const PORT = "hostport:TCP:8080";

/** Those that are 0 have no name. */
export const named = (fpgas: number, ports: number): Pick<Resources, "byName"> =>
  fpgas === 0 && ports === 0
    ? {}
    : { byName: { ...(fpgas !== 0 && { [FPGA]: fpgas }), ...(ports !== 0 && { [PORT]: ports }) } };

export const resources = (
  gpus: number,
  cores = 0,
  pods = 0,
  gib = 0,
  fpgas = 0,
  ports = 0,
): Resources => ({
  gpus,
  cpuMillis: cores * 1000,
  memoryBytes: gib * GIB,
  pods,
  ...named(fpgas, ports),
});

export const fpgasOf = ({ byName }: Resources): number => byName?.[FPGA] ?? 0;

export const portsOf = ({ byName }: Resources): number => byName?.[PORT] ?? 0;

export function aNode(name: string, changes: Partial<NodeSnapshot> = {}): NodeSnapshot {
  return {
    name,
    labels: {},
    taints: [],
    schedulable: true,
    unhealthyGpus: 0,
    allocatable: resources(8, 64, 110, 512),
    committed: resources(0),
    otherUsage: resources(0),
    leaving: resources(0),
    reserved: resources(0),
    ...changes,
  };
}

export function aJob(id: string, changes: Partial<QueuedJob> = {}): QueuedJob {
  return {
    id,
    key: `team/${id}`,
    priority: 100,
    queuedAtSeconds: 0,
    status: "pending",
    attempt: 0,
    parallelism: 1,
    perPod: resources(1, 1, 1, 1),
    allowsBorrowing: true,
    preempts: true,
    nodeSelector: {},
    tolerations: [],
    avoidNodes: [],
    quotas: [],
    unplanned: false,
    ...changes,
  };
}

export function aLiveJob(
  id: string,
  allocations: readonly Placement[],
  changes: Partial<LiveJob> = {},
): LiveJob {
  return {
    id,
    key: `other/${id}`,
    attempt: 1,
    priority: 0,
    status: "running",
    startedAtSeconds: 0,
    borrowing: false,
    perPod: resources(1, 1, 1, 1),
    allocations,
    quotas: [],
    ...changes,
  };
}

export function aQuota(
  id: string,
  quantity: number,
  usage: number,
  changes: Partial<Quota> = {},
): Quota {
  return {
    id,
    owner: { kind: "Group", name: id },
    resourceType: "GPU",
    quantity,
    usage,
    borrowed: 0,
    leaving: 0,
    plans: [`plan-${id}`],
    ...changes,
  };
}

/** The first and so many times the second. */
export const sum = (a: Resources, b: Resources, times: number): Resources => ({
  gpus: a.gpus + b.gpus * times,
  cpuMillis: a.cpuMillis + b.cpuMillis * times,
  memoryBytes: a.memoryBytes + b.memoryBytes * times,
  pods: a.pods + b.pods * times,
  ...named(fpgasOf(a) + fpgasOf(b) * times, portsOf(a) + portsOf(b) * times),
});

/** The nodes with what the live jobs occupy on them. */
export const occupied = (
  nodes: readonly NodeSnapshot[],
  live: readonly LiveJob[],
): NodeSnapshot[] =>
  nodes.map((node) => {
    let { committed } = node;
    for (const job of live) {
      for (const { node: name, pods } of job.allocations) {
        if (name === node.name) committed = sum(committed, job.perPod, pods);
      }
    }
    return Object.assign({}, node, { committed });
  });

export function aSnapshot(changes: Partial<Snapshot>): Snapshot {
  return {
    pool: "default",
    nowSeconds: 1000,
    nodes: [],
    quotas: [],
    queue: [],
    reserved: [],
    ...changes,
  };
}

/** A snapshot in which the finder proposed every live job to every queued one. */
export const withVictims = (snapshot: Snapshot, live: readonly LiveJob[]): Snapshot => ({
  ...snapshot,
  nodes: occupied(snapshot.nodes, live),
  victims: live,
  victimsFor: snapshot.queue.map(({ id }) => id),
});
