import { expect } from "chai";
import { createController } from "../../../src/runtime/controller.ts";
import { requeueAfter, done } from "../../../src/runtime/result.ts";
import type { ControllerOptions, Reconcile } from "../../../src/runtime/controller.ts";
import { silentLogger } from "../../../src/runtime/logger.ts";
import { createCountingMetrics } from "../../support/counting-metrics.ts";
import { createManualClock } from "../../support/manual-clock.ts";

function setUp(reconcile: Reconcile, options: Partial<ControllerOptions> = {}) {
  const clock = createManualClock();
  const metrics = createCountingMetrics();
  const stop = new AbortController();
  const controller = createController({
    name: "test",
    concurrency: 1,
    reconcile,
    clock,
    metrics,
    logger: silentLogger,
    backoff: { baseSeconds: 1, maxSeconds: 60, random: () => 1 },
    ...options,
  });
  return { clock, controller, metrics, stop };
}

/** Reconciles that stay open until the test ends them. */
function reservedReconcile() {
  const running = new Map<string, PromiseWithResolvers<void>>();
  const log: string[] = [];
  const reconcile: Reconcile = async (key) => {
    log.push(key);
    const gate = Promise.withResolvers<void>();
    running.set(key, gate);
    await gate.promise;
    running.delete(key);
    return done();
  };
  return { log, reconcile, running };
}

describe("controller", () => {
  it("works on what was enqueued before it was started", async () => {
    const log: string[] = [];
    const { clock, controller, stop } = setUp(async (key) => {
      log.push(key);
      return done();
    });
    controller.enqueue("a");
    await clock.settle();
    expect(log).to.deep.equal([]);
    controller.start(stop.signal);
    await clock.settle();
    expect(log).to.deep.equal(["a"]);
  });

  it("comes back after the time a reconcile asks for", async () => {
    let runs = 0;
    const { clock, controller, stop } = setUp(async () => {
      runs += 1;
      return runs === 1 ? requeueAfter(30) : done();
    });
    controller.start(stop.signal);
    controller.enqueue("a");
    await clock.advance(29);
    expect(runs).to.equal(1);
    await clock.advance(2);
    expect(runs).to.equal(2);
    await clock.advance(100);
    expect(runs).to.equal(2);
  });

  it("contains a panic to its key, and retries it", async () => {
    const times: number[] = [];
    const others: string[] = [];
    const { clock, controller, stop, metrics } = setUp((key) => {
      if (key !== "bad") {
        others.push(key);
        return Promise.resolve(done());
      }
      times.push(clock.monotonicSeconds());
      throw new Error("synchronous panic");
    });
    controller.start(stop.signal);
    controller.enqueue("bad");
    controller.enqueue("good");
    await clock.advance(8);
    expect(times).to.deep.equal([0, 1, 3, 7]);
    expect(others).to.deep.equal(["good"]);
    expect(
      metrics.value("controller_reconcile_total", { controller: "test", result: "failed" }),
    ).to.equal(4);
    stop.abort();
  });

  it("keeps to its concurrency, and never has one key twice", async () => {
    const { log, reconcile, running } = reservedReconcile();
    const { clock, controller, stop } = setUp(reconcile, { concurrency: 2 });
    controller.start(stop.signal);
    for (const key of ["a", "b", "c"]) controller.enqueue(key);
    controller.enqueue("a");
    await clock.settle();
    expect([...running.keys()]).to.deep.equal(["a", "b"]);
    running.get("b")?.resolve();
    await clock.settle();
    expect([...running.keys()]).to.deep.equal(["a", "c"]);
    running.get("a")?.resolve();
    await clock.settle();
    expect(log).to.deep.equal(["a", "b", "c", "a"]);
  });

  it("lends a slow key's slot, without giving the key out", async () => {
    const { log, reconcile, running } = reservedReconcile();
    const { clock, controller, stop } = setUp(reconcile, { slowAfterSeconds: 5 });
    controller.start(stop.signal);
    controller.enqueue("slow");
    controller.enqueue("quick");
    await clock.advance(4);
    expect(log).to.deep.equal(["slow"]);
    controller.enqueue("slow");
    await clock.advance(2);
    expect(log).to.deep.equal(["slow", "quick"]);
    running.get("slow")?.resolve();
    running.get("quick")?.resolve();
    await clock.settle();
    expect(log).to.deep.equal(["slow", "quick", "slow"]);
  });

  it("aborts the signal of a key that takes too long", async () => {
    let reason: unknown;
    const { clock, controller, stop } = setUp(
      (_key, signal) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener("abort", () => {
            reason ??= signal.reason;
            reject(signal.reason);
          });
        }),
      { timeoutSeconds: 60 },
    );
    controller.start(stop.signal);
    controller.enqueue("stuck");
    await clock.advance(59);
    expect(reason).to.equal(undefined);
    await clock.advance(2);
    expect(String(reason)).to.include("60 s");
    stop.abort();
  });

  it("drains: finishes what is under way, begins nothing more", async () => {
    const { log, reconcile, running } = reservedReconcile();
    const { clock, controller, stop } = setUp(reconcile);
    controller.start(stop.signal);
    controller.enqueue("a");
    controller.enqueue("b");
    await clock.settle();
    const drained = controller.drain(10);
    running.get("a")?.resolve();
    expect(await drained).to.equal(true);
    expect(log).to.deep.equal(["a"]);
    expect(clock.sleepers).to.equal(0);
  });

  it("works anew after an end, on new keys only", async () => {
    const log: string[] = [];
    const { clock, controller } = setUp(async (key) => {
      log.push(key);
      return requeueAfter(30);
    });
    const first = new AbortController();
    controller.start(first.signal);
    controller.enqueue("before");
    await clock.settle();
    expect(await controller.drain(10)).to.equal(true);
    first.abort();
    controller.enqueue("between");
    controller.enqueueAfter("between", 1);
    await clock.advance(100);
    const second = new AbortController();
    controller.start(second.signal);
    controller.enqueueAfter("after", 1);
    await clock.advance(2);
    expect(log).to.deep.equal(["before", "after"]);
    await clock.advance(30);
    expect(log).to.deep.equal(["before", "after", "after"]);
    second.abort();
    controller.enqueue("late");
    await clock.settle();
    expect(log).to.have.length(3);
  });

  it("is not stopped by the signal of an earlier start", async () => {
    const log: string[] = [];
    const { clock, controller } = setUp(async (key) => {
      log.push(key);
      return done();
    });
    const first = new AbortController();
    controller.start(first.signal);
    await controller.drain(10);
    controller.start(new AbortController().signal);
    first.abort();
    controller.enqueue("a");
    await clock.settle();
    expect(log).to.deep.equal(["a"]);
  });

  it("reports a drain that runs out of time, and aborts", async () => {
    let aborted = false;
    const { clock, controller, stop } = setUp((_key, signal) => {
      signal.addEventListener("abort", () => {
        aborted = true;
      });
      return new Promise(() => {});
    });
    controller.start(stop.signal);
    controller.enqueue("a");
    await clock.settle();
    const drained = controller.drain(10);
    await clock.advance(11);
    expect(await drained).to.equal(false);
    expect(aborted).to.equal(true);
  });
});
