import { expect } from "chai";
import { ExpiringCache } from "../../../src/runtime/expiring-cache.ts";
import { TokenBuckets } from "../../../src/runtime/token-buckets.ts";
import { createManualClock, type ManualClock } from "../../support/manual-clock.ts";

describe("token buckets", () => {
  const make = (clock: ManualClock, capacity = 100) =>
    new TokenBuckets({ clock, perSecond: 2, burst: 4, capacity });

  it("lets a burst pass, then says how long to wait", () => {
    const clock = createManualClock();
    const buckets = make(clock);
    expect([1, 2, 3, 4].map(() => buckets.take("pat"))).to.deep.equal([0, 0, 0, 0]);
    expect(buckets.take("pat")).to.equal(0.5);
    expect(buckets.take("ann")).to.equal(0);
  });

  it("fills at its rate, and never above the burst", async () => {
    const clock = createManualClock();
    const buckets = make(clock);
    for (let turn = 0; turn < 4; turn += 1) buckets.take("pat");
    await clock.advance(0.5);
    expect(buckets.take("pat")).to.equal(0);
    expect(buckets.take("pat")).to.be.greaterThan(0);
    await clock.advance(1000);
    expect([1, 2, 3, 4, 5].map(() => buckets.take("pat") > 0)).to.deep.equal([
      false,
      false,
      false,
      false,
      true,
    ]);
  });

  it("forgets the longest idle caller when there are too many", () => {
    const buckets = make(createManualClock(), 2);
    for (let turn = 0; turn < 5; turn += 1) buckets.take("pat");
    buckets.take("ann");
    buckets.take("pat");
    buckets.take("val");
    expect(buckets.size).to.equal(2);
    expect(buckets.take("pat")).to.be.greaterThan(0);
  });
});

describe("expiring cache", () => {
  const make = (clock: ManualClock, capacity = 100) =>
    new ExpiringCache<number>({ clock, capacity, seconds: (value) => value });

  it("asks once for concurrent callers, and again after expiry", async () => {
    const clock = createManualClock();
    const cache = make(clock);
    let asked = 0;
    const load = async () => {
      asked += 1;
      return 10;
    };
    await Promise.all([cache.get("a", load), cache.get("a", load)]);
    expect(asked).to.equal(1);
    await clock.advance(9);
    await cache.get("a", load);
    expect(asked).to.equal(1);
    await clock.advance(2);
    await cache.get("a", load);
    expect(asked).to.equal(2);
  });

  it("keeps no failure", async () => {
    const cache = make(createManualClock());
    const failed = await cache
      .get("a", () => Promise.reject(new Error("down")))
      .catch((error: unknown) => String(error));
    expect(failed).to.equal("Error: down");
    expect(await cache.get("a", () => Promise.resolve(5))).to.equal(5);
  });

  it("has a maximum size", async () => {
    const cache = make(createManualClock(), 3);
    for (const key of ["a", "b", "c", "d", "e"]) await cache.get(key, () => Promise.resolve(10));
    expect(cache.size).to.equal(3);
  });
});
