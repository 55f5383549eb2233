/** What sets of victims cost, and the cheapest that covers what is missing, against every subset tried one by one. */
import { expect } from "chai";
import * as fc from "fast-check";
import {
  candidate,
  type Candidate,
  compareCost,
  compareCostDescending,
  comparePreference,
} from "../../../src/domain/scheduling/preemption/ordering.ts";
import {
  cheapestCover,
  StepBudget,
  type SetCoverItem,
} from "../../../src/domain/scheduling/preemption/set-cover.ts";
import { propertyRuns, Reached } from "../../support/property.ts";
import { compareCosts, costOf, subsets } from "./brute-force.ts";
import { aLiveJob, resources } from "./support.ts";

const nowSeconds = 10;

const aCandidate: fc.Arbitrary<Candidate> = fc
  .record({
    pods: fc.constantFrom([1], [1], [1], [2], [1, 1], [3]),
    priority: fc.nat({ max: 1 }),
    startedAtSeconds: fc.nat({ max: 2 }),
    borrowing: fc.boolean(),
    perPod: fc.constantFrom(resources(1), resources(2), resources(0, 1)),
  })
  .map(({ pods, ...rest }) => {
    const allocations = pods.map((count, index) => ({ node: `n${index}`, pods: count }));
    return candidate(aLiveJob("", allocations, rest), "LowerPriority", nowSeconds);
  });

const named = <One extends Candidate>(candidates: readonly One[]): One[] =>
  candidates.map((one, index) =>
    Object.assign({}, one, { job: { ...one.job, id: `l${index}`, key: `other/l${index}` } }),
  );

const someCandidates = (maxLength: number): fc.Arbitrary<Candidate[]> =>
  fc.array(aCandidate, { maxLength, size: "max" }).map(named);

const jobsOf = (set: readonly Candidate[]) => set.map(({ job }) => job);
const naiveCost = (set: readonly Candidate[]): number[][] => costOf(jobsOf(set), nowSeconds);

describe("the cost of victims", () => {
  it("orders by highest priorities, pods and work, and is monotonic", () => {
    fc.assert(
      fc.property(someCandidates(6), fc.nat(), fc.nat(), (all, one, other) => {
        const sets = subsets(all);
        const [a = [], b = []] = [sets[one % sets.length], sets[other % sets.length]];
        const expected = compareCosts(naiveCost(a), naiveCost(b));
        expect(Math.sign(compareCost(a, b))).to.equal(Math.sign(expected));
        expect(Math.sign(compareCost(a.toReversed(), b)), "in any order").to.equal(
          Math.sign(expected),
        );
        for (const more of all.filter((candidate) => !a.includes(candidate)))
          expect(compareCost([...a, more], a)).to.be.greaterThan(0);
      }),
      propertyRuns(2000),
    );
  });

  it("prefers borrowers, lowest priority, youngest, then names", () => {
    const rank = ({ job }: Candidate): number[] => [
      job.borrowing ? 0 : 1,
      job.priority,
      -job.startedAtSeconds,
      Number(job.id.slice(1)),
    ];
    fc.assert(
      fc.property(someCandidates(9), (all) => {
        const sorted = all.toReversed().toSorted(comparePreference).map(rank);
        for (const [index, one] of sorted.slice(1).entries()) {
          const before = sorted[index] ?? [];
          const first = one.findIndex((value, place) => value !== before[place]);
          expect(one[first], "a later one").to.be.greaterThan(before[first] ?? 0);
        }
        for (const [index, one] of all.entries()) {
          for (const other of all.slice(index + 1)) {
            expect(Math.sign(comparePreference(one, other))).to.be.oneOf([-1, 1]);
            expect(comparePreference(one, other) < 0).to.equal(comparePreference(other, one) > 0);
          }
        }
      }),
      propertyRuns(500),
    );
  });
});

const anItem = (dimensions: number): fc.Arbitrary<SetCoverItem & Candidate> =>
  fc
    .tuple(
      aCandidate,
      fc.array(fc.nat({ max: 4 }), { minLength: dimensions, maxLength: dimensions }),
    )
    .map(([candidate, frees]) => ({ ...candidate, candidate, frees }));

interface Cover {
  readonly items: readonly SetCoverItem[];
  readonly deficits: readonly number[];
  readonly toBeat: readonly Candidate[] | undefined;
}

const covers: fc.Arbitrary<Cover> = fc
  .integer({ min: 1, max: 3 })
  .chain((dimensions) =>
    fc.record({
      items: fc.array(anItem(dimensions), { maxLength: 9, size: "max" }),
      deficits: fc.array(fc.integer({ min: -2, max: 9 }), {
        minLength: dimensions,
        maxLength: dimensions,
      }),
      dice: fc.option(fc.nat(), { nil: undefined }),
    }),
  )
  .map(({ items, deficits, dice }) => {
    const all = named(items).map((one) => ({
      candidate: { job: one.job, pods: one.pods, rule: one.rule, lost: one.lost },
      frees: one.frees,
    }));
    const sets = subsets(all.map(({ candidate }) => candidate));
    return {
      items: all,
      deficits,
      toBeat: dice === undefined ? undefined : sets[dice % sets.length],
    };
  });

const isCovered = (set: readonly SetCoverItem[], deficits: readonly number[]): boolean =>
  deficits.every(
    (need, dimension) => set.reduce((sum, { frees }) => sum + (frees[dimension] ?? 0), 0) >= need,
  );

describe("the cheapest set of victims", () => {
  it("is sufficient, or undefined where none exists", () => {
    fc.assert(
      fc.property(covers, ({ items, deficits, toBeat }) => {
        const costs = subsets(items)
          .filter((set) => isCovered(set, deficits))
          .map((set) => naiveCost(set.map(({ candidate }) => candidate)));
        const [best] = costs.toSorted(compareCosts);
        const found = cheapestCover(items, deficits, new StepBudget(), toBeat);
        const isBeaten =
          best !== undefined && (!toBeat || compareCosts(best, naiveCost(toBeat)) < 0);
        expect(found !== undefined, "found").to.equal(isBeaten);
        if (!found || !best) return;
        const chosen = items.filter(({ candidate }) => found.includes(candidate));
        expect(isCovered(chosen, deficits), "enough").to.equal(true);
        expect(compareCosts(naiveCost(found), best), "the cheapest").to.equal(0);
      }),
      propertyRuns(2000),
    );
  });

  /** In order of preference until it is enough; then, dearest first, without those that can be spared. */
  const naiveGreed = (
    items: readonly SetCoverItem[],
    deficits: readonly number[],
  ): SetCoverItem[] => {
    const useful = items
      .filter(({ frees }) => frees.some((amount, at) => amount > 0 && (deficits[at] ?? 0) > 0))
      .toSorted((a, b) => comparePreference(a.candidate, b.candidate));
    const first = useful.findIndex((_, index) => isCovered(useful.slice(0, index), deficits));
    let chosen = useful.slice(0, first < 0 ? useful.length : first);
    const dearest = chosen.toSorted((a, b) => compareCostDescending(a.candidate, b.candidate));
    for (const item of dearest) {
      const without = chosen.filter((other) => other !== item);
      if (isCovered(without, deficits)) chosen = without;
    }
    return chosen;
  };

  it("is inclusion-minimal and no worse than greedy at the bound", () => {
    const reached = new Reached<"gave up">();
    fc.assert(
      fc.property(covers, fc.nat({ max: 12 }), ({ items, deficits, toBeat }, most) => {
        if (!isCovered(items, deficits)) return;
        const greed = naiveCost(naiveGreed(items, deficits).map(({ candidate }) => candidate));
        const found = cheapestCover(items, deficits, new StepBudget(32 * most), toBeat);
        const isKnown = toBeat !== undefined && compareCosts(naiveCost(toBeat), greed) <= 0;
        expect(found !== undefined || isKnown, "found").to.equal(true);
        if (!found) return;
        const chosen = items.filter(({ candidate }) => found.includes(candidate));
        expect(isCovered(chosen, deficits), "enough").to.equal(true);
        for (const item of chosen) {
          const without = chosen.filter((other) => other !== item);
          expect(isCovered(without, deficits), "one more than needed").to.equal(false);
        }
        const comparison = compareCosts(naiveCost(found), greed);
        expect(comparison, "dearer than greed").to.be.at.most(0);
        if (toBeat) expect(compareCosts(naiveCost(found), naiveCost(toBeat))).to.be.below(0);
        const best = cheapestCover(items, deficits, new StepBudget()) ?? [];
        reached.note({ "gave up": compareCosts(naiveCost(found), naiveCost(best)) > 0 });
      }),
      propertyRuns(2000),
    );
    reached.expectPercent({ "gave up": 5 });
  });

  /**
   * Of many jobs with one pod each and priorities of their own, the cheapest set can be told without trying all: up to the
   * lowest priority that is enough, the fewest pods are the largest jobs.
   */
  it("is found among many different jobs", () => {
    const largest = (sizes: readonly number[], count: number, highest: number): number =>
      sizes
        .slice(0, highest + 1)
        .toSorted((a, b) => b - a)
        .slice(0, count)
        .reduce((sum, size) => sum + size, 0);
    const many = fc.record({
      sizes: fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 15, maxLength: 22 }),
      share: fc.double({ min: 0.1, max: 0.9, noNaN: true }),
    });
    fc.assert(
      fc.property(many, ({ sizes, share }) => {
        const items = sizes.map((size, priority) => {
          const job = aLiveJob(`l${priority}`, [{ node: "n", pods: 1 }], { priority });
          return { candidate: candidate(job, "LowerPriority", nowSeconds), frees: [size] };
        });
        const need = Math.ceil(share * sizes.reduce((sum, size) => sum + size, 0));
        const highest = sizes.findIndex(
          (_, priority) => largest(sizes, priority + 1, priority) >= need,
        );
        const count = sizes.findIndex((_, index) => largest(sizes, index + 1, highest) >= need) + 1;
        const found = cheapestCover(items, [need], new StepBudget()) ?? [];
        expect(Math.max(...found.map(({ job }) => job.priority))).to.equal(highest);
        expect(found.length, "pods").to.equal(count);
      }),
      propertyRuns(300),
    );
  });
});
