/** Entitlement against a naive reading of docs/design.md, "Quota". */
import { expect } from "chai";
import * as fc from "fast-check";
import { type RankedJob, rankEntitlement } from "../../../src/domain/scheduling/entitlement.ts";
import { propertyRuns } from "../../support/property.ts";

type Quantities = Readonly<Record<string, number>>;
interface Ask {
  readonly id: string;
  readonly amount: number;
  readonly quotas: readonly string[];
  readonly unplanned?: boolean;
}

const ranked = (quantities: Quantities, { id, amount, quotas, unplanned }: Ask): RankedJob => ({
  id,
  unplanned: unplanned ?? false,
  claims: quotas
    .filter(() => amount > 0)
    .map((quotaId) => ({ quotaId, amount, limit: quantities[quotaId] ?? 0 })),
});

const flags = (jobs: readonly RankedJob[]): Record<string, boolean> =>
  Object.fromEntries([...rankEntitlement(jobs)].map(([id, { borrowing }]) => [id, borrowing]));

const borrowingOf = (quantities: Quantities, asks: readonly Ask[]): Record<string, boolean> =>
  flags(asks.map((ask) => ranked(quantities, ask)));

const ask = (id: string, amount: number, quotas: readonly string[] = ["c"]): Ask => ({
  id,
  amount,
  quotas,
});

/** A job is inside when it fits with all jobs inside that rank before it: asked anew for each job. */
function isBorrowing(index: number, asks: readonly Ask[], quantities: Quantities): boolean {
  const job = asks[index];
  if (!job || job.unplanned) return true;
  const inside = asks.filter((_, other) => other < index && !isBorrowing(other, asks, quantities));
  return job.quotas.some((id) => {
    const used = inside
      .filter((other) => other.quotas.includes(id))
      .reduce((sum, { amount }) => sum + amount, 0);
    return job.amount > 0 && used + job.amount > (quantities[id] ?? 0);
  });
}

describe("entitlement", () => {
  it("goes to those that rank first", () => {
    expect(borrowingOf({ c: 8 }, [ask("a", 4), ask("b", 4), ask("late", 4)])).to.deep.equal({
      a: false,
      b: false,
      late: true,
    });
  });

  it("is not lost to a borrower that does not fit", () => {
    expect(borrowingOf({ c: 8 }, [ask("a", 6), ask("b", 4), ask("c", 2)])).to.deep.equal({
      a: false,
      b: true,
      c: false,
    });
  });

  it("is not lost to a sibling that borrows", () => {
    const asks = [ask("greedy", 6, ["team", "all"]), ask("small", 4, ["other", "all"])];
    expect(borrowingOf({ team: 2, other: 4, all: 8 }, asks)).to.deep.equal({
      greedy: true,
      small: false,
    });
  });

  it("names the quotas that a job exceeds", () => {
    const jobs = [ask("a", 4, ["team", "all"]), ask("b", 4, ["team", "all"])];
    const entitlements = rankEntitlement(jobs.map((one) => ranked({ team: 6, all: 20 }, one)));
    expect(entitlements.get("a")?.overQuota).to.deep.equal([]);
    expect(entitlements.get("b")?.overQuota).to.deep.equal(["team"]);
  });

  it("agrees with the naive reading", () => {
    const jobs = fc.array(
      fc.record({
        amount: fc.nat({ max: 9 }),
        quotas: fc.subarray(["c", "d"]),
        unplanned: fc.integer({ min: 0, max: 4 }).map((dice) => dice === 0),
      }),
      { maxLength: 8 },
    );
    const quantity = fc.nat({ max: 12 });
    fc.assert(
      fc.property(jobs, quantity, quantity, (drawn, c, d) => {
        const all = drawn.map((one, index) => Object.assign(one, { id: `j${index}` }));
        const borrowing = borrowingOf({ c, d }, all);
        for (const [index, { id }] of all.entries()) {
          expect(borrowing[id], id).to.equal(isBorrowing(index, all, { c, d }));
        }
      }),
      propertyRuns(2000),
    );
  });
});
