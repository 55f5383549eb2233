/** Random small clusters with one job that wants to start: for brute force, and as rows for the finder. */
import * as fc from "fast-check";
import type {
  Quota,
  LiveJob,
  NodeConstraints,
  NodeSnapshot,
  Placement,
  QueuedJob,
  Resources,
  Snapshot,
} from "../../../src/domain/scheduling/snapshot.ts";
import { allocatableOn, amountIn, amountOf, DIMENSIONS, podsOf } from "./brute-force.ts";
import {
  aQuota,
  aJob,
  aLiveJob,
  aNode,
  aSnapshot,
  FPGA,
  fpgasOf,
  named,
  resources,
  portsOf,
  sum,
  withVictims,
} from "./support.ts";

/**
 * Projects, as paths of the tree, and the owners that count for each, with their quotas: three levels, CPU beside GPU,
 * and an owner who stands in two places.
 */
export const PROJECTS = [
  { path: "free", owner: undefined, quotas: [] },
  { path: "top", owner: 1, quotas: ["1/CPU", "1/GPU"] },
  { path: "top.middle", owner: 2, quotas: ["1/CPU", "1/GPU", "2/GPU", "2/memory"] },
  {
    path: "top.middle.low",
    owner: 3,
    quotas: ["1/CPU", "1/GPU", "2/GPU", "2/memory", "3/CPU", "3/GPU", `3/${FPGA}`],
  },
  { path: "elsewhere", owner: 2, quotas: ["2/GPU", "2/memory"] },
] as const;

/** The quotas of a project that count for a running job: of what its pods use. */
export const quotasOf = (project: readonly string[], perPod: Resources): readonly string[] =>
  project.filter((id) => amountOf(perPod, 1, { resourceType: typeOf(id) }) > 0);

/** "OWNER/TYPE", where the type may have a slash, too. */
const typeOf = (id: string): string => id.slice(id.indexOf("/") + 1);

export const CEILINGS = [
  "1/GPU",
  "1/CPU",
  "2/GPU",
  "2/memory",
  "3/GPU",
  "3/CPU",
  `3/${FPGA}`,
] as const;

export interface Scenario {
  readonly snapshot: Snapshot;
  readonly live: readonly LiveJob[];
}

const sometimes = (oneIn: number): fc.Arbitrary<boolean> =>
  fc.integer({ min: 1, max: oneIn }).map((dice) => dice === 1);

/** What one pod takes, or nothing. */
const orNothing = (
  oneIn: number,
  most: { readonly gpus: number; readonly cores: number; readonly gib: number },
): fc.Arbitrary<Resources> =>
  fc
    .tuple(
      sometimes(oneIn),
      fc.nat({ max: most.gpus }),
      fc.nat({ max: most.cores }),
      fc.nat({ max: most.gib }),
      fc.constantFrom(0, 0, 1),
      fc.constantFrom(0, 0, 0, 1),
    )
    .map(([isThere, gpus, cores, gib, fpgas, ports]) =>
      isThere ? resources(gpus, cores, 1, gib, fpgas, ports) : resources(0),
    );

const taint = { key: "dedicated", value: "team", effect: "NoSchedule" };

interface DrawnNode {
  readonly node: NodeSnapshot;
  /** Evicting pods, as far as there is room for them. */
  readonly leaving: Resources;
}

const aDrawnNode = (index: number): fc.Arbitrary<DrawnNode> =>
  fc
    .record({
      gpus: fc.integer({ min: 3, max: 8 }),
      cores: fc.integer({ min: 8, max: 16 }),
      gib: fc.integer({ min: 8, max: 20 }),
      slots: fc.integer({ min: 3, max: 9 }),
      fpgas: fc.constantFrom(0, 2, 3, 4),
      unhealthyGpus: fc.constantFrom(0, 0, 0, 4),
      unhealthyFpgas: fc.constantFrom(0, 0, 0, 0, 2),
      otherUsage: orNothing(4, { gpus: 1, cores: 2, gib: 2 }),
      reserved: orNothing(2, { gpus: 2, cores: 2, gib: 2 }),
      leaving: orNothing(2, { gpus: 3, cores: 3, gib: 4 }),
      isFast: fc.boolean(),
      isTainted: sometimes(10),
      isDown: sometimes(15),
    })
    .map(({ gpus, cores, gib, slots, fpgas, isFast, isTainted, isDown, ...used }) => ({
      node: aNode(`n${index}`, {
        allocatable: resources(gpus, cores, slots, gib, fpgas),
        otherUsage: thereOn(fpgas, used.otherUsage),
        reserved: thereOn(fpgas, used.reserved),
        labels: isFast ? { disk: "fast" } : { disk: "slow", rack: "r1" },
        taints: isTainted ? [taint] : [],
        schedulable: !isDown,
        unhealthyGpus: used.unhealthyGpus,
        ...(used.unhealthyFpgas > 0 && { unhealthyByName: { [FPGA]: used.unhealthyFpgas } }),
      }),
      leaving: thereOn(fpgas, used.leaving),
    }));

/** Nobody has FPGAs where there are none. */
function thereOn(fpgas: number, used: Resources): Resources {
  const { byName: _names, ...amounts } = used;
  return { ...amounts, ...named(fpgas > 0 ? fpgasOf(used) : 0, portsOf(used)) };
}

const anAllocation = (nodeCount: number): fc.Arbitrary<Placement[]> =>
  fc
    .uniqueArray(fc.nat({ max: nodeCount - 1 }), {
      minLength: 1,
      maxLength: Math.min(3, nodeCount),
    })
    .chain((indexes) =>
      fc.tuple(
        ...indexes.map((index) =>
          fc.constantFrom(1, 1, 2).map((pods) => ({ node: `n${index}`, pods })),
        ),
      ),
    );

const someQuotas: fc.Arbitrary<readonly string[]> = fc.constantFrom(
  ...PROJECTS.map(({ quotas }) => quotas),
);

const aRandomLiveJob = (nodeCount: number): fc.Arbitrary<LiveJob> =>
  fc
    .record({
      allocations: anAllocation(nodeCount),
      priority: fc.integer({ min: 0, max: 3 }),
      startedAtSeconds: fc.nat({ max: 5 }),
      borrowing: fc.boolean(),
      gpus: fc.integer({ min: 0, max: 3 }),
      cores: fc.integer({ min: 1, max: 3 }),
      gib: fc.integer({ min: 0, max: 4 }),
      fpgas: fc.constantFrom(0, 0, 1, 2),
      ports: fc.constantFrom(0, 0, 0, 1),
      quotas: someQuotas,
      isProtected: sometimes(12),
    })
    .map(({ gpus, cores, gib, fpgas, ports, allocations, isProtected, quotas, ...rest }) => {
      const perPod = resources(gpus, cores, 1, gib, fpgas, ports);
      return aLiveJob("", allocations, {
        ...rest,
        perPod,
        quotas: quotasOf(quotas, perPod),
        ...(isProtected ? { protected: "pdb" } : {}),
      });
    });

const least = (a: Resources, b: Resources): Resources => ({
  gpus: Math.max(0, Math.min(a.gpus, b.gpus)),
  cpuMillis: Math.max(0, Math.min(a.cpuMillis, b.cpuMillis)),
  memoryBytes: Math.max(0, Math.min(a.memoryBytes, b.memoryBytes)),
  pods: Math.max(0, Math.min(a.pods, b.pods)),
  ...named(
    Math.max(0, Math.min(fpgasOf(a), fpgasOf(b))),
    Math.max(0, Math.min(portsOf(a), portsOf(b))),
  ),
});

const used = ({ otherUsage, committed }: NodeSnapshot): Resources => sum(otherUsage, committed, 1);

/** With the host port that every node has. */
const free = (node: NodeSnapshot): Resources =>
  sum(sum(node.allocatable, resources(0, 0, 0, 0, 0, 1), 1), used(node), -1);

const isOvercommitted = (node: NodeSnapshot): boolean =>
  DIMENSIONS.some((one) => amountIn(used(node), one) > allocatableOn(node, one));

/** Live jobs that fit on their nodes: those that would not are left out. */
function thoseThatFit(jobs: readonly LiveJob[], nodes: readonly NodeSnapshot[]): LiveJob[] {
  const kept: LiveJob[] = [];
  for (const [index, job] of jobs.entries()) {
    const named: LiveJob = { ...job, id: `l${index}`, key: `other/l${index}` };
    const after = withVictims(aSnapshot({ nodes }), [...kept, named]).nodes;
    if (!after.some(isOvercommitted)) kept.push(named);
  }
  return kept;
}

/** An evicting pod, as large as there is room for. */
const withLeaving = (node: NodeSnapshot, wanted: Resources): NodeSnapshot => {
  const room = least(wanted, free(node));
  const leaving = room.pods === 0 ? resources(0) : room;
  return { ...node, leaving, committed: sum(node.committed, leaving, 1) };
};

const constraints: fc.Arbitrary<Partial<NodeConstraints>> = fc.oneof(
  { weight: 14, arbitrary: fc.constant({}) },
  { weight: 2, arbitrary: fc.constant({ tolerations: [{ ...taint, operator: "Equal" }] }) },
  { weight: 1, arbitrary: fc.constant({ nodeSelector: { disk: "fast" } }) },
  { weight: 1, arbitrary: fc.constant({ avoidNodes: ["n0"] }) },
  { weight: 1, arbitrary: fc.constant({ affinityTerms: [terms("disk", "NotIn", "fast")] }) },
  { weight: 1, arbitrary: fc.constant({ storageTerms: [[terms("disk", "NotIn", "fast")]] }) },
  {
    weight: 1,
    arbitrary: fc.constant({
      affinityTerms: [terms("disk", "In", "fast"), terms("rack", "Exists")],
      storageTerms: [[terms("disk", "In", "slow", "other")]],
    }),
  },
);

function terms(key: string, operator: string, ...values: string[]) {
  return { matchExpressions: [{ key, operator, values }] };
}

/** How much of a quota is left: often plenty, else about as much as a job asks for. */
const slack = fc.oneof(
  { weight: 3, arbitrary: fc.constant(30) },
  { weight: 2, arbitrary: fc.integer({ min: -3, max: 9 }) },
);

interface DrawnQuota {
  readonly slack: number;
  /** Of held jobs, which are no victims. */
  readonly more: number;
  readonly isShut: boolean;
  /** What is granted after a close that evicts; undefined: none is near. */
  readonly afterClose: number | undefined;
}

const aDrawnQuota: fc.Arbitrary<DrawnQuota> = fc.record({
  slack,
  more: fc.nat({ max: 2 }),
  isShut: sometimes(12),
  afterClose: fc.oneof(
    { weight: 11, arbitrary: fc.constant(undefined) },
    { weight: 1, arbitrary: fc.constantFrom(0, 0, 2, 6) },
  ),
});

function quotaOf(id: string, drawn: DrawnQuota, live: readonly LiveJob[]): Quota {
  const resourceType = typeOf(id);
  const usageOf = (borrowing: boolean): number =>
    live
      .filter((job) => job.quotas.includes(id) && job.borrowing === borrowing)
      .reduce((sum, job) => sum + amountOf(job.perPod, podsOf(job), { resourceType }), 0);
  const usage = usageOf(false) + drawn.more;
  return aQuota(id, Math.max(0, usage + drawn.slack), usage, {
    resourceType,
    borrowed: usageOf(true),
    ...(drawn.isShut ? { isShut: true } : {}),
    ...(drawn.afterClose !== undefined && {
      evictCloses: [{ inSeconds: 1800, atText: "then", quantity: drawn.afterClose }],
    }),
  });
}

/** Up to so much, and now and then nothing at all. */
const orNone = (most: number): fc.Arbitrary<number> =>
  fc.oneof(
    { weight: 1, arbitrary: fc.constant(0) },
    { weight: 6, arbitrary: fc.integer({ min: 1, max: most }) },
  );

/** A job in the queue; `most` pods in its gang. */
export const aRandomJob = (most: number): fc.Arbitrary<QueuedJob> =>
  fc
    .integer({ min: 1, max: most })
    .chain((parallelism) =>
      fc.record({
        parallelism: fc.constant(parallelism),
        // Pods of a gang are smaller: it would be too large for the pool too often.
        gpus: fc.integer({ min: 0, max: Math.ceil(6 / parallelism) }),
        cores: orNone(Math.ceil(9 / parallelism)),
        gib: orNone(Math.ceil(9 / parallelism)),
        fpgas: fc.constantFrom(0, 0, 0, 1, Math.ceil(3 / parallelism)),
        ports: fc.constantFrom(0, 0, 0, 0, 0, 1),
        maxPodsPerNode: fc.constantFrom(undefined, undefined, undefined, undefined, 1, 2),
        priority: fc.integer({ min: 1, max: 4 }),
        quotas: someQuotas,
        allowsBorrowing: fc.boolean(),
        unplanned: sometimes(8),
        isMeek: sometimes(12),
        runtime: fc.constantFrom(undefined, undefined, 900, 1800, 3600),
        constraints,
      }),
    )
    .map(({ gpus, cores, gib, fpgas, ports, isMeek, runtime, constraints: limits, ...rest }) => {
      const { maxPodsPerNode, ...more } = rest;
      return aJob("j", {
        ...more,
        ...limits,
        ...(maxPodsPerNode === undefined ? {} : { maxPodsPerNode }),
        perPod: resources(gpus, cores, 1, gib, fpgas, ports),
        preempts: !isMeek,
        ...(runtime === undefined ? {} : { maxRuntimeSeconds: runtime }),
      });
    });

/** A cluster of 1 to 4 nodes with up to nine live jobs, on which the jobs in the queue want to start. */
const clusterFor = (queue: fc.Arbitrary<readonly QueuedJob[]>): fc.Arbitrary<Scenario> =>
  fc
    .constantFrom(1, 2, 2, 3, 3, 4)
    .chain((nodeCount) =>
      fc.record({
        nodes: fc.tuple(...Array.from({ length: nodeCount }, (_, index) => aDrawnNode(index))),
        jobs: fc.array(aRandomLiveJob(nodeCount), { minLength: 3, maxLength: 9, size: "max" }),
        quotas: fc.tuple(...CEILINGS.map(() => aDrawnQuota)),
        queue,
      }),
    )
    .map((drawn) => {
      const empty = drawn.nodes.map(({ node }) => node);
      const live = thoseThatFit(drawn.jobs, empty);
      const quotas = drawn.quotas.map((one, index) => quotaOf(CEILINGS[index] ?? "", one, live));
      const snapshot = withVictims(aSnapshot({ nodes: empty, quotas, queue: drawn.queue }), live);
      const nodes = snapshot.nodes.map((node, index) =>
        withLeaving(node, drawn.nodes[index]?.leaving ?? resources(0)),
      );
      return { snapshot: { ...snapshot, nodes }, live };
    });

/** One job in the queue, with at most so many pods. */
export const scenarios = (parallelism: number): fc.Arbitrary<Scenario> =>
  clusterFor(aRandomJob(parallelism).map((job) => [job]));

/** Up to five jobs in the queue, in its order. */
export const queues: fc.Arbitrary<Scenario> = clusterFor(
  fc.array(aRandomJob(3), { minLength: 2, maxLength: 5, size: "max" }).map((jobs) =>
    jobs
      .map((job, index) =>
        Object.assign({}, job, {
          id: `j${index}`,
          key: `team/j${index}`,
          queuedAtSeconds: index,
        }),
      )
      .sort((a, b) => b.priority - a.priority || a.queuedAtSeconds - b.queuedAtSeconds),
  ),
);
