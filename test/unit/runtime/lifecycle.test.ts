import { expect } from "chai";
import { EventEmitter } from "node:events";
import { createLifecycle } from "../../../src/runtime/lifecycle.ts";
import { silentLogger } from "../../../src/runtime/logger.ts";
import { createManualClock } from "../../support/manual-clock.ts";

class FakeProcess extends EventEmitter {
  readonly exits: number[] = [];

  exit(code: number): void {
    this.exits.push(code);
  }
}

function setUp(graceSeconds = 25) {
  const clock = createManualClock();
  const process = new FakeProcess();
  const log: string[] = [];
  const lifecycle = createLifecycle({ clock, logger: silentLogger, graceSeconds, process });
  const add = (name: string, more: object = {}): void =>
    lifecycle.add({
      name,
      start: () => void log.push(`start ${name}`),
      stop: () => void log.push(`stop ${name}`),
      ...more,
    });
  return { add, clock, lifecycle, log, process };
}

describe("lifecycle", () => {
  it("starts in order and stops in reverse on SIGTERM", async () => {
    const { add, clock, lifecycle, log, process } = setUp();
    add("database");
    add("informers");
    const running = lifecycle.run();
    await clock.settle();
    process.emit("SIGTERM");
    expect(await running).to.equal(0);
    expect(log).to.deep.equal([
      "start database",
      "start informers",
      "stop informers",
      "stop database",
    ]);
    expect(process.eventNames()).to.deep.equal([]);
    expect(process.exits).to.deep.equal([]);
  });

  it("is ready only while every component is", async () => {
    const { add, clock, lifecycle, process } = setUp();
    let synced = false;
    add("informers", { ready: () => synced });
    add("database", { ready: async () => true });
    expect(await lifecycle.readiness()).to.deep.equal({ ready: false, waitingFor: ["start-up"] });
    const running = lifecycle.run();
    await clock.settle();
    expect(await lifecycle.readiness()).to.deep.equal({ ready: false, waitingFor: ["informers"] });
    synced = true;
    expect(await lifecycle.readiness()).to.deep.equal({ ready: true, waitingFor: [] });
    process.emit("SIGINT");
    expect((await lifecycle.readiness()).ready).to.equal(false);
    await running;
  });

  it("takes a hanging or failing check for not ready", async () => {
    const { add, clock, lifecycle } = setUp();
    add("database", { ready: () => new Promise(() => {}) });
    add("informers", {
      ready: () => {
        throw new Error("broken");
      },
    });
    const running = lifecycle.run();
    await clock.settle();
    const readiness = lifecycle.readiness();
    await clock.advance(6);
    expect((await readiness).waitingFor).to.deep.equal(["database", "informers"]);
    lifecycle.stop("test over");
    await running;
  });

  it("takes signals within 300 ms for one", async () => {
    const { add, clock, lifecycle, process } = setUp();
    add("slow", { stop: () => new Promise(() => {}) });
    void lifecycle.run();
    await clock.settle();
    process.emit("SIGINT");
    await clock.advance(0.2);
    process.emit("SIGINT");
    expect(process.exits).to.deep.equal([]);
    await clock.advance(0.2);
    process.emit("SIGINT");
    expect(process.exits).to.deep.equal([130]);
  });

  it("gives up on a component that does not stop", async () => {
    const { add, clock, lifecycle, log } = setUp(10);
    add("first");
    add("stuck", { stop: () => new Promise(() => {}) });
    const running = lifecycle.run();
    await clock.settle();
    lifecycle.stop("test");
    await clock.advance(11);
    expect(await running).to.equal(1);
    expect(log).to.deep.equal(["start first", "start stuck", "stop first"]);
  });

  it("stops at once on a signal during a start", async () => {
    const { add, clock, lifecycle, log, process } = setUp();
    add("first");
    add("slow", { start: () => new Promise(() => {}) });
    add("never");
    const running = lifecycle.run();
    await clock.settle();
    process.emit("SIGTERM");
    expect(await running).to.equal(0);
    expect(log).to.deep.equal(["start first", "stop slow", "stop first"]);
  });

  it("reports what a slow start waits for", async () => {
    const warnings: object[] = [];
    const logger = {
      ...silentLogger,
      warn: (message: string, fields?: object) => warnings.push({ message, ...fields }),
    };
    const clock = createManualClock();
    const process = new FakeProcess();
    const lifecycle = createLifecycle({ clock, logger, process });
    const { promise, resolve } = Promise.withResolvers<void>();
    lifecycle.add({ name: "informers", start: () => promise, waitingFor: () => "pods" });
    const running = lifecycle.run();
    await clock.settle();
    for (const seconds of [60, 120]) {
      await clock.advance(60);
      expect(warnings.at(-1)).to.deep.equal({
        message: "the start takes long",
        component: "informers",
        seconds,
        waitingFor: "pods",
      });
    }
    resolve();
    await clock.settle();
    await clock.advance(60);
    expect(warnings).to.have.length(2);
    process.emit("SIGTERM");
    expect(await running).to.equal(0);
  });

  it("stops what it started when a component fails to start", async () => {
    const { add, lifecycle, log } = setUp();
    add("first");
    add("broken", {
      start: () => {
        throw new Error("no");
      },
    });
    add("never");
    expect(await lifecycle.run()).to.equal(1);
    expect(log).to.deep.equal(["start first", "stop broken", "stop first"]);
  });

  for (const event of ["unhandledRejection", "uncaughtException"]) {
    it(`ends the process with a message on ${event}`, async () => {
      const messages: string[] = [];
      const process = new FakeProcess();
      const lifecycle = createLifecycle({
        clock: createManualClock(),
        logger: {
          ...silentLogger,
          error: (message, fields) =>
            void messages.push(`${message}: ${String(fields?.["error"])}`),
        },
        process,
      });
      const running = lifecycle.run();
      process.emit(event, new Error("lost"));
      expect(process.exits).to.deep.equal([1]);
      expect(messages[0]).to.include("lost");
      lifecycle.stop("test over");
      await running;
    });
  }
});
