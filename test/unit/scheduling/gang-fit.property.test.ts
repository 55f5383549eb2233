/** Where gangs fit and where they go, against a naive count of every node anew. */
import { expect } from "chai";
import * as fc from "fast-check";
import { Quotas } from "../../../src/domain/scheduling/quota.ts";
import { candidate } from "../../../src/domain/scheduling/preemption/ordering.ts";
import { GangFit } from "../../../src/domain/scheduling/preemption/gang-fit.ts";
import { HeadReservation } from "../../../src/domain/scheduling/head-reservation.ts";
import { Nodes } from "../../../src/domain/scheduling/nodes.ts";
import { futureRoom, placeGang, startableRoom } from "../../../src/domain/scheduling/placement.ts";
import type {
  NodeSnapshot,
  Placement,
  QueuedJob,
} from "../../../src/domain/scheduling/snapshot.ts";
import { bestFit, Capacity, later, nearest, now } from "../../simulator/judge/capacity.ts";
import type { Places } from "../../simulator/judge/world.ts";
import { propertyRuns, Reached } from "../../support/property.ts";
import { amountIn, DIMENSIONS, exceeded, podsFitting } from "./brute-force.ts";
import { jobOf } from "./oracle.ts";
import { scenarios } from "./scenarios.ts";
import { aJob, aNode, resources, sum } from "./support.ts";

describe("the capacity for a gang", () => {
  it("equals a count over all nodes", () => {
    const reached = new Reached<"quotas" | "came back" | "sufficient">();
    fc.assert(
      fc.property(scenarios(4), fc.array(fc.nat(), { maxLength: 12 }), (scenario, moves) => {
        const { snapshot, live } = scenario;
        const job = jobOf(scenario);
        const over = new Quotas(snapshot.quotas)
          .over(job)
          .map((quota) => ({ quota, amount: quota.excess(job) }));
        const room = new GangFit(new Nodes(snapshot.nodes).accepting(job), job, over);
        const gone = new Set<number>();
        let back = 0;
        for (const dice of [undefined, ...moves]) {
          const index = (dice ?? 0) % Math.max(1, live.length);
          const moved = live[index];
          if (dice !== undefined && moved) {
            const moving = candidate(moved, "LowerPriority", snapshot.nowSeconds);
            if (gone.delete(index)) {
              room.reprieve(moving);
              back += 1;
            } else {
              room.evict(moving);
              gone.add(index);
            }
          }
          const victims = live.filter((_, at) => gone.has(at));
          const fitting = podsFitting(snapshot, job, victims);
          const still = exceeded(snapshot, job, victims).map(({ id }) => id);
          expect(room.podsMissing).to.equal(job.parallelism - fitting);
          for (const { quota } of over)
            expect(room.excessOf(quota) > 0).to.equal(still.includes(quota.quota.id));
          expect(room.sufficient).to.equal(fitting >= job.parallelism && still.length === 0);
          for (const { name } of snapshot.nodes) {
            const nodes = snapshot.nodes.filter((node) => node.name === name);
            expect(room.fitsOn(name)).to.equal(podsFitting({ ...snapshot, nodes }, job, victims));
          }
        }
        reached.note({
          quotas: over.length > 0,
          "came back": back > 0,
          sufficient: room.sufficient,
        });
      }),
      propertyRuns(1000),
    );
    reached.expectPercent({ quotas: 15, "came back": 25, sufficient: 15 });
  });
});

/** Sizes of which all shares are exact in binary: what leaves the same behind is the same. */
const drawnNodes: fc.Arbitrary<NodeSnapshot[]> = fc
  .array(
    fc.record({
      gpus: fc.constantFrom(0, 4, 8, 8),
      cores: fc.constantFrom(0, 8, 16, 16),
      gib: fc.constantFrom(8, 16),
      fpgas: fc.constantFrom(0, 2, 4),
      used: fc.record({
        gpus: fc.nat({ max: 4 }),
        cores: fc.nat({ max: 8 }),
        gib: fc.nat({ max: 8 }),
      }),
      reserved: fc.record({
        gpus: fc.nat({ max: 3 }),
        cores: fc.nat({ max: 3 }),
        gib: fc.nat({ max: 3 }),
      }),
      isUsed: fc.boolean(),
      isReserved: fc.boolean(),
      leaves: fc.boolean(),
    }),
    { minLength: 1, maxLength: 7, size: "max" },
  )
  .map((all) =>
    all.map(({ gpus, cores, gib, fpgas, used, reserved, isUsed, isReserved, leaves }, index) => {
      const committed = isUsed
        ? resources(
            Math.min(gpus, used.gpus),
            Math.min(cores, used.cores),
            1,
            used.gib,
            fpgas / 2,
            index % 2,
          )
        : resources(0);
      return aNode(`n${index}`, {
        allocatable: resources(gpus, cores, 6, gib, fpgas),
        committed,
        leaving: leaves ? committed : resources(0),
        reserved: isReserved
          ? resources(reserved.gpus, reserved.cores, 1, reserved.gib)
          : resources(0),
      });
    }),
  );

const gangs: fc.Arbitrary<QueuedJob> = fc
  .record({
    gpus: fc.nat({ max: 3 }),
    cores: fc.nat({ max: 3 }),
    gib: fc.nat({ max: 3 }),
    fpgas: fc.constantFrom(0, 0, 0, 1),
    ports: fc.constantFrom(0, 0, 0, 0, 1),
    maxPodsPerNode: fc.constantFrom(undefined, undefined, undefined, 1, 2, 4),
    parallelism: fc.integer({ min: 1, max: 12 }),
  })
  .map(({ gpus, cores, gib, fpgas, ports, maxPodsPerNode, parallelism }) =>
    aJob("j", {
      perPod: resources(gpus, cores, 1, gib, fpgas, ports),
      parallelism,
      ...(maxPodsPerNode !== undefined && { maxPodsPerNode }),
    }),
  );

const placesOf = (placements: readonly Placement[] | undefined): Places | undefined =>
  placements && Object.fromEntries(placements.map(({ node, pods }) => [node, pods]));

/** The same nodes as the judge sees them: somebody runs there, leaves, and has something kept. */
function capacityOf(nodes: readonly NodeSnapshot[]): Capacity {
  const amounts = (of: NodeSnapshot["reserved"]): number[] =>
    DIMENSIONS.map((dimension) => amountIn(of, dimension));
  const bare = nodes.map(({ name, allocatable }) => ({
    name,
    labels: {},
    taints: [],
    usable: true,
    allocatable: amounts(sum(allocatable, resources(0, 0, 0, 0, 0, 1), 1)),
    whole: amounts(sum(allocatable, resources(0, 0, 0, 0, 0, 1), 1)),
  }));
  const capacity = new Capacity({ nodes: bare, jobs: new Map() });
  for (const { name, committed, leaving, reserved } of nodes) {
    capacity.start({ perPod: amounts(committed) }, { [name]: 1 });
    capacity.keep({ perPod: amounts(reserved) }, { [name]: 1 });
    capacity.vacate({ perPod: amounts(leaving), allocated: { [name]: 1 } });
  }
  return capacity;
}

const naive = ({ perPod, parallelism, maxPodsPerNode }: QueuedJob) => ({
  maxPodsPerNode: maxPodsPerNode ?? null,
  perPod: DIMENSIONS.map((dimension) => amountIn(perPod, dimension)),
  parallelism,
});

describe("the placement of a gang", () => {
  it("is the best fit, on few nodes", () => {
    const reached = new Reached<"one node" | "several" | "none">();
    fc.assert(
      fc.property(drawnNodes, gangs, (nodes, job) => {
        const { rooms } = capacityOf(nodes);
        const engine = new Nodes(nodes.toReversed()).all;
        const placements = placeGang(engine, job, startableRoom) ?? [];
        const names = placements.map(({ node }) => node);
        expect(names, "by name").to.deep.equal(names.toSorted());
        const placed = placements.length > 0 ? placesOf(placements) : undefined;
        expect(placed).to.deep.equal(bestFit(naive(job), rooms, now));
        expect(placesOf(placeGang(engine, job, futureRoom))).to.deep.equal(
          bestFit(naive(job), rooms, later),
        );
        const count = Object.keys(placed ?? {}).length;
        reached.note({ "one node": count === 1, several: count > 1, none: !placed });
      }),
      propertyRuns(3000),
    );
    reached.expectPercent({ "one node": 20, several: 10, none: 10 });
  });

  it("is reserved once, on the nearest nodes", () => {
    const reached = new Reached<"kept" | "not kept">();
    fc.assert(
      fc.property(drawnNodes, gangs, (drawn, job) => {
        const nodes = new Nodes(drawn.toReversed());
        const before = new Map(nodes.all.map(({ name, future }) => [name, future]));
        const head = new HeadReservation();
        const isKept = head.protect(job, nodes);
        const expected = nearest(naive(job), capacityOf(drawn).rooms);
        expect(isKept).to.equal(expected !== undefined);
        for (const { name, future, reservedFor } of nodes.all) {
          const pods = expected?.[name] ?? 0;
          for (const dimension of DIMENSIONS)
            expect(
              amountIn(before.get(name) ?? resources(0), dimension) - amountIn(future, dimension),
            ).to.equal(pods * amountIn(job.perPod, dimension));
          expect(reservedFor).to.deep.equal(pods > 0 ? [job.key] : []);
        }
        if (isKept) expect(head.protect({ ...job, id: "next" }, nodes)).to.equal(false);
        reached.note({ kept: isKept, "not kept": !isKept });
      }),
      propertyRuns(1000),
    );
    reached.expectPercent({ kept: 30, "not kept": 5 });
  });
});
