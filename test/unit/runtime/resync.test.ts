import { expect } from "chai";
import { resync } from "../../../src/runtime/resync.ts";
import { createManualClock } from "../../support/manual-clock.ts";

describe("resync", () => {
  it("enqueues every key once a period, evenly", async () => {
    const clock = createManualClock();
    const stop = new AbortController();
    const keys = Array.from({ length: 95 }, (_, index) => `k${index}`);
    const times = new Map<string, number[]>();
    const running = resync({
      keys: () => keys,
      enqueue: (key, { priority }) => {
        expect(priority).to.equal("resync");
        times.set(key, [...(times.get(key) ?? []), clock.monotonicSeconds()]);
      },
      periodSeconds: 10,
      clock,
      signal: stop.signal,
    });
    await clock.advance(20);
    const perTick = new Map<number, number>();
    for (const [first = 0] of times.values()) perTick.set(first, (perTick.get(first) ?? 0) + 1);
    expect([...times.values()].every(({ length }) => length === 2)).to.equal(true);
    expect(perTick.size).to.equal(10);
    expect(Math.max(...perTick.values())).to.be.at.most(10);
    stop.abort();
    await running;
    expect(clock.sleepers).to.equal(0);
  });
});
