/** Builders and generators of small clusters. */
import * as fc from "fast-check";
import type {
  Ceiling,
  LiveJob,
  NodeSnapshot,
  Placement,
  QueuedJob,
  Resources,
  Snapshot,
} from "../../../src/domain/scheduling/types.ts";

export const GIB = 1024 ** 3;

export const resources = (gpus: number, cores = 0, pods = 0, gib = 0): Resources => ({
  gpus,
  cpuMillis: cores * 1000,
  memoryBytes: gib * GIB,
  pods,
});

export function aNode(name: string, changes: Partial<NodeSnapshot> = {}): NodeSnapshot {
  return {
    name,
    labels: {},
    taints: [],
    schedulable: true,
    allocatable: resources(8, 64, 110, 512),
    committed: resources(0),
    foreign: resources(0),
    leaving: resources(0),
    held: resources(0),
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
    ceilings: [],
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
    ceilings: [],
    ...changes,
  };
}

export function aCeiling(
  id: string,
  quantity: number,
  usage: number,
  changes: Partial<Ceiling> = {},
): Ceiling {
  return {
    id,
    owner: { kind: "Group", name: id },
    resourceType: "GPU",
    quantity,
    usage,
    borrowed: 0,
    plans: [`plan-${id}`],
    ...changes,
  };
}

const sum = (a: Resources, b: Resources, times: number): Resources => ({
  gpus: a.gpus + b.gpus * times,
  cpuMillis: a.cpuMillis + b.cpuMillis * times,
  memoryBytes: a.memoryBytes + b.memoryBytes * times,
  pods: a.pods + b.pods * times,
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
    ceilings: [],
    queue: [],
    held: [],
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

const perPodOf = (gpus: number, cores: number): Resources => resources(gpus, cores, 1, 0);

const anAllocation = (nodeCount: number): fc.Arbitrary<Placement[]> =>
  fc
    .uniqueArray(fc.nat({ max: nodeCount - 1 }), {
      minLength: 1,
      maxLength: Math.min(3, nodeCount),
    })
    .chain((indexes) =>
      fc.tuple(
        ...indexes.map((index) =>
          fc.integer({ min: 1, max: 2 }).map((pods) => ({ node: `n${index}`, pods })),
        ),
      ),
    );

const CEILING_IDS = ["c0", "c1"] as const;
const someCeilings = fc.subarray([...CEILING_IDS]);

const aRandomLiveJob = (nodeCount: number): fc.Arbitrary<LiveJob> =>
  fc
    .record({
      allocations: anAllocation(nodeCount),
      priority: fc.integer({ min: 0, max: 3 }),
      startedAtSeconds: fc.integer({ min: 0, max: 5 }),
      borrowing: fc.boolean(),
      gpus: fc.integer({ min: 0, max: 3 }),
      cores: fc.integer({ min: 1, max: 3 }),
      ceilings: someCeilings,
      protected: fc.oneof(
        { weight: 12, arbitrary: fc.constant(undefined) },
        { weight: 1, arbitrary: fc.constant("pdb") },
      ),
    })
    .map(({ gpus, cores, allocations, protected: budget, ...rest }) =>
      aLiveJob("", allocations, {
        ...rest,
        perPod: perPodOf(gpus, cores),
        ...(budget === undefined ? {} : { protected: budget }),
      }),
    );

/** Live jobs that fit on their nodes: those that would not are left out. */
function thoseThatFit(jobs: readonly LiveJob[], nodes: readonly NodeSnapshot[]): LiveJob[] {
  const kept: LiveJob[] = [];
  for (const [index, job] of jobs.entries()) {
    const named: LiveJob = { ...job, id: `l${index}`, key: `other/l${index}` };
    const after = occupied(nodes, [...kept, named]);
    const fits = after.every(
      ({ committed, allocatable }) =>
        committed.gpus <= allocatable.gpus && committed.cpuMillis <= allocatable.cpuMillis,
    );
    if (fits) kept.push(named);
  }
  return kept;
}

/** Evicting pods with a GPU each, as many as there is room for. */
const withLeaving = (nodes: readonly NodeSnapshot[], wanted: readonly number[]): NodeSnapshot[] =>
  nodes.map((node, index) => {
    const gpus = Math.min(wanted[index] ?? 0, node.allocatable.gpus - node.committed.gpus);
    const leaving = resources(gpus, 0, 0);
    return Object.assign({}, node, { leaving, committed: sum(node.committed, leaving, 1) });
  });

export interface Scenario {
  readonly snapshot: Snapshot;
  readonly live: readonly LiveJob[];
}

const usageUnder = (id: string, live: readonly LiveJob[], borrowing: boolean): number =>
  live
    .filter((job) => job.ceilings.includes(id) && job.borrowing === borrowing)
    .reduce(
      (total, job) =>
        total + job.perPod.gpus * job.allocations.reduce((n, { pods }) => n + pods, 0),
      0,
    );

/** One preemptor on a few nodes, some room already leaving or held, up to eight live jobs. */
export const scenarios = (parallelism: number): fc.Arbitrary<Scenario> =>
  fc
    .integer({ min: 1, max: 4 })
    .chain((nodeCount) =>
      fc.record({
        gpus: fc.array(fc.integer({ min: 3, max: 8 }), {
          minLength: nodeCount,
          maxLength: nodeCount,
        }),
        held: fc.array(fc.integer({ min: 0, max: 1 }), {
          minLength: nodeCount,
          maxLength: nodeCount,
        }),
        leaving: fc.array(fc.nat({ max: 3 }), { minLength: nodeCount, maxLength: nodeCount }),
        jobs: fc.array(aRandomLiveJob(nodeCount), { minLength: 2, maxLength: 8, size: "max" }),
        need: fc.integer({ min: 1, max: 5 }),
        cores: fc.integer({ min: 1, max: 8 }),
        parallelism: fc.integer({ min: 1, max: parallelism }),
        priority: fc.integer({ min: 1, max: 4 }),
        ceilings: someCeilings,
        slack: fc.tuple(fc.integer({ min: -3, max: 8 }), fc.integer({ min: -3, max: 8 })),
        allowsBorrowing: fc.boolean(),
        unplanned: fc.integer({ min: 0, max: 7 }).map((dice) => dice === 0),
      }),
    )
    .map((raw) => {
      const empty = raw.gpus.map((gpus, index) =>
        aNode(`n${index}`, { allocatable: resources(gpus, 16, 12, 0) }),
      );
      const live = thoseThatFit(raw.jobs, empty);
      const nodes = empty.map((node, index) =>
        Object.assign({}, node, {
          held: resources(Math.min(raw.held[index] ?? 0, node.allocatable.gpus)),
        }),
      );
      const ceilings = CEILING_IDS.map((id, index) => {
        const usage = usageUnder(id, live, false);
        const borrowed = usageUnder(id, live, true);
        return aCeiling(id, Math.max(0, usage + (raw.slack[index] ?? 0)), usage, { borrowed });
      });
      const job = aJob("j", {
        priority: raw.priority,
        parallelism: raw.parallelism,
        perPod: perPodOf(raw.need, raw.cores),
        ceilings: raw.ceilings,
        allowsBorrowing: raw.allowsBorrowing,
        unplanned: raw.unplanned,
      });
      const snapshot = withVictims(aSnapshot({ nodes, ceilings, queue: [job] }), live);
      return { snapshot: { ...snapshot, nodes: withLeaving(snapshot.nodes, raw.leaving) }, live };
    });
