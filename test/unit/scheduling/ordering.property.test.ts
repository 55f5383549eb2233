/** What sets of victims cost, and the cheapest that covers what is missing, against every subset tried one by one. */
import { expect } from "chai";
import * as fc from "fast-check";
import {
  type Candidate,
  compareCost,
  comparePreference,
  compareQuality,
} from "../../../src/domain/scheduling/preemption/ordering.ts";
import {
  cheapestCover,
  StepBudget,
  type SetCoverItem,
} from "../../../src/domain/scheduling/preemption/set-cover.ts";
import { propertyRuns, Reached } from "../../support/property.ts";
import { compareCosts, costOf, podsOf, subsets } from "./brute-force.ts";
import { aLiveJob } from "./support.ts";

const aCandidate: fc.Arbitrary<Candidate> = fc
  .record({
    pods: fc.constantFrom([1], [1], [1], [2], [1, 1], [3]),
    priority: fc.nat({ max: 1 }),
    startedAtSeconds: fc.nat({ max: 2 }),
    borrowing: fc.boolean(),
  })
  .map(({ pods, ...rest }) => {
    const allocations = pods.map((count, index) => ({ node: `n${index}`, pods: count }));
    const job = aLiveJob("", allocations, rest);
    return { job, pods: podsOf(job), rule: "LowerPriority" as const };
  });

const named = <One extends Candidate>(candidates: readonly One[]): One[] =>
  candidates.map((one, index) =>
    Object.assign({}, one, { job: { ...one.job, id: `l${index}`, key: `other/l${index}` } }),
  );

const someCandidates = (maxLength: number): fc.Arbitrary<Candidate[]> =>
  fc.array(aCandidate, { maxLength, size: "max" }).map(named);

const jobsOf = (set: readonly Candidate[]) => set.map(({ job }) => job);
const naiveCost = (set: readonly Candidate[]): number[][] => costOf(jobsOf(set));

describe("the cost of victims", () => {
  it("orders by pods, quota, priorities and ages, and is monotonic", () => {
    fc.assert(
      fc.property(someCandidates(6), fc.nat(), fc.nat(), (all, one, other) => {
        const sets = subsets(all);
        const [a = [], b = []] = [sets[one % sets.length], sets[other % sets.length]];
        const expected = compareCosts(naiveCost(a), naiveCost(b));
        expect(Math.sign(compareCost(a, b))).to.equal(Math.sign(expected));
        expect(Math.sign(compareCost(a.toReversed(), b)), "in any order").to.equal(
          Math.sign(expected),
        );
        const quality = compareCosts(naiveCost(a).slice(1), naiveCost(b).slice(1));
        expect(Math.sign(compareQuality(a, b))).to.equal(Math.sign(quality));
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
      candidate: { job: one.job, pods: one.pods, rule: one.rule },
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
    const dearest = chosen.toReversed().toSorted((a, b) => b.candidate.pods - a.candidate.pods);
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
        if (most === 0) expect(found === undefined, "nothing beats it").to.equal(isKnown);
        expect(found !== undefined || isKnown, "found").to.equal(true);
        if (!found) return;
        const chosen = items.filter(({ candidate }) => found.includes(candidate));
        expect(isCovered(chosen, deficits), "enough").to.equal(true);
        for (const item of chosen) {
          const without = chosen.filter((other) => other !== item);
          expect(isCovered(without, deficits), "one more than needed").to.equal(false);
        }
        const comparison = compareCosts(naiveCost(found), greed);
        if (most === 0) expect(comparison, "greed itself").to.equal(0);
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
   * Of many jobs with one pod each and priorities of their own, the cheapest set can be told without trying all: the
   * fewest pods are the largest, and from the highest priority down each job is left out if the others still do.
   */
  it("is found among many different jobs", () => {
    // One in some thousand cases takes more than the part of the usual budget that one search may spend.
    const ample = (): StepBudget => new StepBudget(10_000_000);
    const largest = (sizes: readonly number[], count: number): number =>
      sizes
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
          return { candidate: { job, pods: 1, rule: "LowerPriority" as const }, frees: [size] };
        });
        const need = Math.ceil(share * sizes.reduce((sum, size) => sum + size, 0));
        const count = sizes.findIndex((_, index) => largest(sizes, index + 1) >= need) + 1;
        const expected: number[] = [];
        let [taken, left] = [0, count];
        for (let priority = sizes.length - 1; priority >= 0; priority -= 1) {
          if (taken + largest(sizes.slice(0, priority), left) >= need && left <= priority) continue;
          expected.push(priority);
          taken += sizes[priority] ?? 0;
          left -= 1;
          if (left === 0) break;
        }
        const found = cheapestCover(items, [need], ample()) ?? [];
        const priorities = found.map(({ job }) => job.priority).toSorted((a, b) => b - a);
        expect(priorities).to.deep.equal(expected);
      }),
      propertyRuns(300),
    );
  });
});
