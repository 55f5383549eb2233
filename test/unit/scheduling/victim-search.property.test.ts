/** Ways to victims that are no optimum by themselves, against the naive reading of what each says it does. */
import { expect } from "chai";
import * as fc from "fast-check";
import { Quotas } from "../../../src/domain/scheduling/quota.ts";
import { Nodes } from "../../../src/domain/scheduling/nodes.ts";
import type { LiveJob, QueuedJob, Snapshot } from "../../../src/domain/scheduling/snapshot.ts";
import { candidate } from "../../../src/domain/scheduling/preemption/ordering.ts";
import {
  findCheapest,
  greedyVictims,
  isPossible,
  type SearchInput,
} from "../../../src/domain/scheduling/preemption/search.ts";
import { StepBudget } from "../../../src/domain/scheduling/preemption/set-cover.ts";
import { propertyRuns, Reached } from "../../support/property.ts";
import { compareCosts, costOf, exceeded, podsFitting } from "./brute-force.ts";
import { jobOf } from "./oracle.ts";
import { scenarios } from "./scenarios.ts";
import { aJob, aLiveJob, aNode, aSnapshot, occupied, resources } from "./support.ts";

function searchIn(snapshot: Snapshot, job: QueuedJob, live: readonly LiveJob[]): SearchInput {
  const over = new Quotas(snapshot.quotas).over(job);
  return {
    nodes: new Nodes(snapshot.nodes).accepting(job),
    demand: job,
    candidates: live.map((one) => candidate(one, "LowerPriority", snapshot.nowSeconds)),
    over: over.map((quota) => ({ quota, amount: quota.excess(job) })),
    steps: new StepBudget(),
  };
}

const preference = (job: LiveJob): number[] => [
  job.borrowing ? 0 : 1,
  job.priority,
  -job.startedAtSeconds,
  Number(job.id.slice(1)),
];

const inOrder = (one: readonly number[], other: readonly number[]): number =>
  one.map((value, index) => value - (other[index] ?? 0)).find((difference) => difference !== 0) ??
  0;

/** In order of preference until it is enough; then, the dearest first, whoever can be spared stays. */
function naiveGreed(
  live: readonly LiveJob[],
  nowSeconds: number,
  isEnough: (set: readonly LiveJob[]) => boolean,
) {
  const ordered = live.toSorted((one, other) => inOrder(preference(one), preference(other)));
  const counts = Array.from({ length: ordered.length + 1 }, (_, count) => count);
  let chosen = ordered.slice(
    0,
    counts.find((count) => isEnough(ordered.slice(0, count))),
  );
  const alone = (victim: LiveJob) => costOf([victim], nowSeconds);
  for (const victim of chosen.toReversed().toSorted((a, b) => compareCosts(alone(b), alone(a)))) {
    const without = chosen.filter((one) => one !== victim);
    if (isEnough(without)) chosen = without;
  }
  return chosen.map(({ id }) => id).toSorted();
}

describe("the search for victims", () => {
  it("evicts as greedy does in order, and reprieves the rest", () => {
    const reached = new Reached<"possible" | "several" | "quotas">();
    fc.assert(
      fc.property(scenarios(4), (scenario) => {
        const { snapshot, live } = scenario;
        const job = jobOf(scenario);
        const input = searchIn(snapshot, job, live);
        const isEnough = (set: readonly LiveJob[]): boolean =>
          podsFitting(snapshot, job, set) >= job.parallelism &&
          exceeded(snapshot, job, set).length === 0;
        const possible = isEnough(live);
        expect(isPossible(input)).to.equal(possible);
        if (!possible) return;
        const victims = greedyVictims(input).map((one) => one.job.id);
        expect(victims.toSorted()).to.deep.equal(naiveGreed(live, snapshot.nowSeconds, isEnough));
        reached.note({
          possible: true,
          several: victims.length > 1,
          quotas: input.over.length > 0,
        });
      }),
      propertyRuns(1000),
    );
    reached.expectPercent({ possible: 100, several: 10, quotas: 5 });
  });

  /** Where every victim frees one GPU, a pod more costs on each node what it lacks there: node by node is the optimum. */
  it("evicts the fewest single-GPU pods for a gang", () => {
    const clusters = fc.record({
      nodes: fc.array(
        fc.record({ gpus: fc.integer({ min: 2, max: 9 }), used: fc.nat({ max: 9 }) }),
        { minLength: 1, maxLength: 5, size: "max" },
      ),
      gpus: fc.integer({ min: 1, max: 4 }),
      parallelism: fc.integer({ min: 1, max: 10 }),
      ranks: fc.array(fc.nat({ max: 3 }), { minLength: 45, maxLength: 45 }),
    });
    const reached = new Reached<"on several nodes" | "impossible">();
    fc.assert(
      fc.property(clusters, ({ nodes, gpus, parallelism, ranks }) => {
        const used = nodes.map((node) => Math.min(node.used, node.gpus));
        const live = used.flatMap((count, at) =>
          Array.from({ length: count }, (_, index) =>
            aLiveJob(`l${at * 9 + index}`, [{ node: `n${at}`, pods: 1 }], {
              perPod: resources(1),
              startedAtSeconds: ranks[at * 9 + index] ?? 0,
            }),
          ),
        );
        const bare = nodes.map((node, at) =>
          aNode(`n${at}`, { allocatable: resources(node.gpus, 0, 99) }),
        );
        const snapshot = aSnapshot({ nodes: occupied(bare, live) });
        const job = aJob("j", { perPod: resources(gpus), parallelism });
        const found = findCheapest(searchIn(snapshot, job, live));
        // Fewest evictions for so many pods of the gang, node after node.
        let fewest = [0, ...Array.from({ length: parallelism }, () => Infinity)];
        for (const [at, node] of nodes.entries()) {
          const lacking = (pods: number): number =>
            pods * gpus > node.gpus
              ? Infinity
              : Math.max(0, pods * gpus - (node.gpus - (used[at] ?? 0)));
          fewest = fewest.map((_, total) =>
            Math.min(
              ...Array.from(
                { length: total + 1 },
                (__, here) => (fewest[total - here] ?? 0) + lacking(here),
              ),
            ),
          );
        }
        expect(found?.set.length ?? Infinity).to.equal(fewest[parallelism]);
        const on = new Set(found?.set.flatMap(({ job: { allocations } }) => allocations[0]?.node));
        reached.note({ "on several nodes": on.size > 1, impossible: !found });
      }),
      propertyRuns(1000),
    );
    reached.expectPercent({ "on several nodes": 10, impossible: 5 });
  });
});
