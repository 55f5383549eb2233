import { expect } from "chai";
import fc from "fast-check";
import { WorkQueue } from "../../../src/runtime/work-queue.ts";
import { createCountingMetrics } from "../../support/counting-metrics.ts";
import { createManualClock } from "../../support/manual-clock.ts";
import { propertyRuns } from "../../support/property.ts";

const noJitter = { baseSeconds: 1, maxSeconds: 60, random: () => 1 };

function createQueue(isUrgent: (key: string) => boolean = () => false) {
  const clock = createManualClock();
  const metrics = createCountingMetrics();
  const queue = new WorkQueue({ name: "test", clock, metrics, backoff: noJitter, isUrgent });
  return { clock, metrics, queue };
}

function drainNow(queue: WorkQueue): string[] {
  const taken: string[] = [];
  for (let key = queue.take(); key !== undefined; key = queue.take()) {
    taken.push(key);
    queue.done(key);
  }
  return taken;
}

/** The model's delayed keys whose time has come are owed. */
function becomeDue(delayed: Map<string, number>, owed: Set<string>, nowSeconds: number): void {
  for (const [key, due] of delayed) {
    if (due > nowSeconds) continue;
    owed.add(key);
    delayed.delete(key);
  }
}

describe("work queue", () => {
  it("gives out a key once, however often it is added", () => {
    const { queue } = createQueue();
    for (const key of ["a", "b", "a", "a"]) queue.add(key);
    expect(drainNow(queue)).to.deep.equal(["a", "b"]);
  });

  it("gives out a key again only after it is done", () => {
    const { queue } = createQueue();
    queue.add("a");
    expect(queue.take()).to.equal("a");
    queue.add("a");
    expect(queue.take()).to.equal(undefined);
    queue.done("a");
    expect(queue.take()).to.equal("a");
    queue.done("a");
    expect(queue.take()).to.equal(undefined);
  });

  it("takes namespaces in turn, however long the line of one", () => {
    const added = fc.array(fc.tuple(fc.constantFrom("a", "b", "c", "d"), fc.nat({ max: 200 })), {
      maxLength: 200,
    });
    fc.assert(
      fc.property(added, (pairs) => {
        const { queue } = createQueue();
        const keys = [...new Set(pairs.map(([namespace, at]) => `${namespace}/${at}`))];
        for (const key of keys) queue.add(key);
        const taken = drainNow(queue);
        expect([...taken].toSorted()).to.deep.equal([...keys].toSorted());
        const lines = Object.groupBy(keys, (key) => key.charAt(0));
        const turns = Object.keys(lines).length;
        for (const line of Object.values(lines)) {
          expect(taken.filter((key) => line?.includes(key))).to.deep.equal(line);
          for (const [place, key] of (line ?? []).entries())
            expect(taken.indexOf(key)).to.be.below((place + 1) * turns);
        }
      }),
      propertyRuns(500),
    );
  });

  it("puts interactive keys before resyncs, and promotes these", () => {
    const { queue } = createQueue();
    for (const key of ["r1", "r2", "r3"]) queue.add(key, { priority: "resync" });
    queue.add("i1");
    queue.add("r3");
    expect(drainNow(queue)).to.deep.equal(["i1", "r3", "r1", "r2"]);
  });

  it("puts urgent keys first, however they were added", async () => {
    const { clock, queue } = createQueue((key) => key.startsWith("live"));
    for (let index = 0; index < 5; index += 1) queue.add(`new${index}`);
    queue.add("live1");
    queue.add("new4", { priority: "urgent" });
    queue.addAfter("live2", 1);
    await clock.advance(1);
    expect(drainNow(queue)).to.deep.equal([
      "live1",
      "new4",
      "live2",
      "new0",
      "new1",
      "new2",
      "new3",
    ]);
  });

  it("starves no lower priority", () => {
    const { queue } = createQueue();
    queue.add("resync", { priority: "resync" });
    queue.add("new");
    for (let index = 0; index < 100; index += 1) queue.add(`live${index}`, { priority: "urgent" });
    const taken = drainNow(queue);
    expect(taken.indexOf("resync")).to.be.within(16, 17);
    expect(taken.indexOf("new")).to.be.within(16, 17);
  });

  it("does not starve resyncs", () => {
    const { queue } = createQueue();
    queue.add("resync", { priority: "resync" });
    for (let index = 0; index < 40; index += 1) queue.add(`i${index}`);
    expect(drainNow(queue).indexOf("resync")).to.equal(16);
  });

  /** Works on whatever may be taken; returns how many keys that were. */
  function attempt(queue: WorkQueue, succeeds: (key: string) => boolean): number {
    let count = 0;
    for (let key = queue.take(); key !== undefined; key = queue.take()) {
      if (succeeds(key)) queue.forget(key);
      else queue.addRateLimited(key);
      queue.done(key);
      count += 1;
    }
    return count;
  }

  const manyFailing = async (count: number) => {
    const clock = createManualClock();
    const queue = new WorkQueue({ name: "test", clock, retriesPerSecond: 5 });
    for (let index = 0; index < count; index += 1) queue.add(`k${index}`);
    // Long enough for each to have failed as often as it is free to.
    for (let second = 0; second < 60; second += 1) {
      attempt(queue, () => false);
      await clock.advance(1);
    }
    return { clock, queue };
  };

  it("shares the retries of very many failing keys among them", async () => {
    const count = 1_000;
    const { clock, queue } = await manyFailing(count);
    let tries = 0;
    for (let second = 0; second < 400; second += 1) {
      tries += attempt(queue, () => false);
      await clock.advance(1);
    }
    expect(queue.delayed + queue.depth).to.equal(count);
    // Five a second; with back-off alone it would be 40 and more.
    expect(tries / 400).to.be.within(3, 7);
  });

  it("retries all failing keys soon after one succeeds", async () => {
    const { clock, queue } = await manyFailing(1_000);
    const isBad = (key: string) => key.endsWith("7");
    let seconds = 0;
    for (; queue.delayed > 100; seconds += 1) {
      attempt(queue, (key) => !isBad(key));
      await clock.advance(1);
    }
    expect(seconds, "until all that can have succeeded").to.be.below(10);
    let tries = 0;
    for (let second = 0; second < 100; second += 1) {
      tries += attempt(queue, (key) => !isBad(key));
      await clock.advance(1);
    }
    expect(tries / 100).to.be.below(7);
  });

  it("does not delay a key's first failures", async () => {
    const { queue } = await manyFailing(1_000);
    expect(queue.addRateLimited("new")).to.be.below(1);
    expect(queue.addRateLimited("new")).to.be.below(1);
  });

  it("adds after a delay; the shortest of several counts", async () => {
    const { clock, queue } = createQueue();
    queue.addAfter("a", 10);
    queue.addAfter("a", 2);
    queue.addAfter("a", 5);
    await clock.advance(1.9);
    expect(queue.take()).to.equal(undefined);
    await clock.advance(0.2);
    expect(drainNow(queue)).to.deep.equal(["a"]);
    await clock.advance(20);
    expect(queue.take()).to.equal(undefined);
  });

  it("doubles a key's back-off up to its maximum", () => {
    const { queue } = createQueue();
    const delays = Array.from({ length: 8 }, () => queue.addRateLimited("a"));
    expect(delays).to.deep.equal([1, 2, 4, 8, 16, 32, 60, 60]);
    expect(queue.addRateLimited("b")).to.equal(1);
    queue.forget("a");
    expect(queue.addRateLimited("a")).to.equal(1);
  });

  it("forgets what waits when it is closed", async () => {
    const { clock, queue } = createQueue();
    queue.add("a");
    queue.addAfter("b", 1);
    queue.close();
    queue.add("c");
    await clock.advance(2);
    expect(queue.take()).to.equal(undefined);
    expect(clock.sleepers).to.equal(0);
  });

  it("measures depth, waiting, work and retries", async () => {
    const { clock, metrics, queue } = createQueue();
    queue.add("a");
    queue.add("b");
    expect(metrics.value("workqueue_depth", { name: "test" })).to.equal(2);
    await clock.advance(3);
    queue.take();
    await clock.advance(4);
    expect(metrics.total("workqueue_longest_running_processor_seconds")).to.equal(4);
    queue.done("a");
    queue.addRateLimited("a");
    expect(metrics.observed("workqueue_queue_duration_seconds")).to.deep.equal([3]);
    expect(metrics.observed("workqueue_work_duration_seconds")).to.deep.equal([4]);
    expect(metrics.total("workqueue_retries_total")).to.equal(1);
    expect(metrics.total("workqueue_adds_total")).to.equal(2);
  });

  it("loses no key and gives none out twice (model)", async () => {
    const key = fc.constantFrom("a", "b", "c", "d");
    const step = fc.oneof(
      fc.record({ kind: fc.constant("add" as const), key }),
      fc.record({ kind: fc.constant("resync" as const), key }),
      fc.record({
        kind: fc.constant("later" as const),
        key,
        seconds: fc.integer({ min: 1, max: 5 }),
      }),
      fc.record({ kind: fc.constant("take" as const) }),
      fc.record({ kind: fc.constant("done" as const), key }),
      fc.record({ kind: fc.constant("wait" as const), seconds: fc.integer({ min: 1, max: 3 }) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const { clock, queue } = createQueue();
        const owed = new Set<string>();
        const delayed = new Map<string, number>();
        const working = new Set<string>();
        for (const action of steps) {
          if (action.kind === "add") queue.add(action.key);
          if (action.kind === "resync") queue.add(action.key, { priority: "resync" });
          if (action.kind === "add" || action.kind === "resync") owed.add(action.key);
          if (action.kind === "later") {
            queue.addAfter(action.key, action.seconds);
            const due = clock.monotonicSeconds() + action.seconds;
            delayed.set(action.key, Math.min(due, delayed.get(action.key) ?? due));
          }
          if (action.kind === "wait") {
            await clock.advance(action.seconds);
            becomeDue(delayed, owed, clock.monotonicSeconds());
          }
          if (action.kind === "done" && working.delete(action.key)) queue.done(action.key);
          if (action.kind === "take") {
            const taken = queue.take();
            const ready = [...owed].filter((key) => !working.has(key));
            expect(taken === undefined).to.equal(ready.length === 0);
            if (taken === undefined) continue;
            expect(ready).to.include(taken);
            owed.delete(taken);
            working.add(taken);
          }
        }
        for (const key of working) queue.done(key);
        expect(drainNow(queue).sort()).to.deep.equal([...owed].sort());
        queue.close();
      }),
      propertyRuns(60),
    );
  });
});
