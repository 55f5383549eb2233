import { expect } from "chai";
import { createBatchController } from "../../../src/runtime/batch-controller.ts";
import type {
  BatchControllerOptions,
  ReconcileBatch,
} from "../../../src/runtime/batch-controller.ts";
import { requeueAfter, failed } from "../../../src/runtime/result.ts";
import { silentLogger } from "../../../src/runtime/logger.ts";
import { createCountingMetrics } from "../../support/counting-metrics.ts";
import { createManualClock } from "../../support/manual-clock.ts";

function setUp(reconcile: ReconcileBatch, options: Partial<BatchControllerOptions> = {}) {
  const clock = createManualClock();
  const stop = new AbortController();
  const controller = createBatchController({
    name: "test",
    reconcile,
    clock,
    metrics: createCountingMetrics(),
    logger: silentLogger,
    backoff: { baseSeconds: 1, maxSeconds: 60, random: () => 1 },
    ...options,
  });
  controller.start(stop.signal);
  return { clock, controller, stop };
}

function logged() {
  const batches: (readonly string[])[] = [];
  const reconcile: ReconcileBatch = async (keys) => {
    batches.push(keys);
    return new Map();
  };
  return { batches, reconcile };
}

describe("batch controller", () => {
  it("gathers what comes within a moment into one batch", async () => {
    const { batches, reconcile } = logged();
    const { clock, controller } = setUp(reconcile);
    for (const key of ["a", "b", "a"]) controller.enqueue(key);
    expect(batches).to.deep.equal([]);
    await clock.advance(0.1);
    expect(batches).to.deep.equal([["a", "b"]]);
  });

  it("splits more keys than a batch takes", async () => {
    const { batches, reconcile } = logged();
    const { clock, controller } = setUp(reconcile, { maxKeys: 2 });
    for (const key of ["a", "b", "c"]) controller.enqueue(key);
    await clock.advance(1);
    expect(batches).to.deep.equal([["a", "b"], ["c"]]);
  });

  it("gives out no key that a batch holds", async () => {
    const gate = Promise.withResolvers<void>();
    const batches: (readonly string[])[] = [];
    const { clock, controller } = setUp(async (keys) => {
      batches.push(keys);
      if (batches.length === 1) await gate.promise;
      return new Map();
    });
    controller.enqueue("a");
    await clock.advance(0.1);
    for (const key of ["a", "b"]) controller.enqueue(key);
    await clock.advance(0.1);
    expect(batches).to.deep.equal([["a"], ["b"]]);
    gate.resolve();
    await clock.advance(0.1);
    expect(batches).to.deep.equal([["a"], ["b"], ["a"]]);
  });

  it("retries a failed key with back-off, and no other", async () => {
    const batches: (readonly string[])[] = [];
    const { clock, controller } = setUp(async (keys) => {
      batches.push(keys);
      return new Map(batches.length === 1 ? [["b", failed(new Error("no"))]] : []);
    });
    for (const key of ["a", "b"]) controller.enqueue(key);
    await clock.advance(2);
    expect(batches).to.deep.equal([["a", "b"], ["b"]]);
  });

  it("retries all keys when the batch throws", async () => {
    const batches: (readonly string[])[] = [];
    const { clock, controller } = setUp(async (keys) => {
      batches.push(keys);
      if (batches.length === 1) throw new Error("no");
      return new Map(batches.length === 2 ? [["a", requeueAfter(30)]] : []);
    });
    for (const key of ["a", "b"]) controller.enqueue(key);
    await clock.advance(2);
    expect(batches).to.deep.equal([
      ["a", "b"],
      ["a", "b"],
    ]);
    await clock.advance(31);
    expect(batches.at(-1)).to.deep.equal(["a"]);
  });

  it("aborts a batch that takes too long", async () => {
    const { clock, controller } = setUp(
      (_keys, signal) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener("abort", () => reject(signal.reason), { once: true });
        }),
      { timeoutSeconds: 5 },
    );
    controller.enqueue("a");
    await clock.advance(1);
    expect(controller.queue.working).to.equal(1);
    await clock.advance(5);
    expect(controller.queue.failures("a")).to.be.greaterThan(0);
  });

  it("drains: waits for batches under way and begins none", async () => {
    const gate = Promise.withResolvers<void>();
    const batches: (readonly string[])[] = [];
    const { clock, controller } = setUp(async (keys) => {
      batches.push(keys);
      await gate.promise;
      return new Map();
    });
    controller.enqueue("a");
    await clock.advance(0.1);
    const drained = controller.drain(10);
    controller.enqueue("b");
    await clock.advance(1);
    gate.resolve();
    expect(await drained).to.equal(true);
    expect(batches).to.deep.equal([["a"]]);
  });
});
