/** Entitlement against a naive reading of design section 4. */
import { expect } from "chai";
import * as fc from "fast-check";
import { type RankedJob, rankEntitlement } from "../../../src/domain/scheduling/entitlement.ts";
import { aCeiling, propertyOptions, resources } from "./support.ts";

const ranked = (
  id: string,
  priority: number,
  gpus: number,
  changes: Partial<RankedJob> = {},
): RankedJob => ({
  id,
  priority,
  startedAtSeconds: 0,
  perPod: resources(gpus, 1, 1, 0),
  pods: 1,
  ceilings: ["c"],
  unplanned: false,
  ...changes,
});

const demand = (one: RankedJob): number => one.perPod.gpus * one.pods;

/** A job is inside when it fits with all jobs inside that rank before it: asked anew for each job. */
function isBorrowing(
  job: RankedJob,
  jobs: readonly RankedJob[],
  quantities: Record<string, number>,
): boolean {
  if (job.unplanned) return true;
  const before = jobs.filter(
    (other) =>
      other.priority > job.priority ||
      (other.priority === job.priority && other.startedAtSeconds < job.startedAtSeconds) ||
      (other.priority === job.priority &&
        other.startedAtSeconds === job.startedAtSeconds &&
        other.id < job.id),
  );
  const inside = before.filter((other) => !isBorrowing(other, before, quantities));
  return job.ceilings.some((id) => {
    const used = inside
      .filter((other) => other.ceilings.includes(id))
      .reduce((sum, other) => sum + demand(other), 0);
    return demand(job) > 0 && used + demand(job) > (quantities[id] ?? 0);
  });
}

describe("entitlement", () => {
  it("goes to the highest priority, then to the earliest start", () => {
    const jobs = [
      ranked("late", 5, 4, { startedAtSeconds: 20 }),
      ranked("early", 5, 4, { startedAtSeconds: 10 }),
      ranked("high", 9, 4, { startedAtSeconds: 30 }),
    ];
    const borrowing = rankEntitlement(jobs, [aCeiling("c", 8, 12)]);
    expect(Object.fromEntries(borrowing)).to.deep.equal({ high: false, early: false, late: true });
  });

  it("is not lost to a borrower of higher priority that does not fit", () => {
    const jobs = [ranked("a", 9, 6), ranked("b", 8, 4), ranked("c", 7, 2)];
    const borrowing = rankEntitlement(jobs, [aCeiling("c", 8, 12)]);
    expect(Object.fromEntries(borrowing)).to.deep.equal({ a: false, b: true, c: false });
  });

  it("ends with the window, and counts cores exactly", () => {
    const cpu = aCeiling("c", 0.3, 0, { resourceType: "CPU" });
    const jobs = [0, 1, 2, 3].map((index) =>
      ranked(`j${index}`, 9 - index, 0, { perPod: { ...resources(0), cpuMillis: 100 } }),
    );
    expect([...rankEntitlement(jobs, [cpu]).values()]).to.deep.equal([false, false, false, true]);
    expect([...rankEntitlement(jobs, [{ ...cpu, quantity: 0 }]).values()]).to.not.include(false);
  });

  it("agrees with the naive reading", () => {
    const jobs = fc.array(
      fc.record({
        priority: fc.nat({ max: 3 }),
        gpus: fc.nat({ max: 4 }),
        startedAtSeconds: fc.nat({ max: 3 }),
        pods: fc.integer({ min: 1, max: 3 }),
        ceilings: fc.subarray(["c", "d"]),
        unplanned: fc.boolean(),
      }),
      { maxLength: 7 },
    );
    const quantity = fc.nat({ max: 12 });
    fc.assert(
      fc.property(jobs, quantity, quantity, (drawn, c, d) => {
        const all = drawn.map(({ priority, gpus, ...rest }, index) =>
          ranked(`j${index}`, priority, gpus, rest),
        );
        const borrowing = rankEntitlement(all, [aCeiling("c", c, 0), aCeiling("d", d, 0)]);
        for (const job of all) {
          expect(borrowing.get(job.id), job.id).to.equal(isBorrowing(job, all, { c, d }));
        }
      }),
      propertyOptions(),
    );
  });
});
