import { expect } from "chai";
import { createEventRecorder } from "../../../src/kube/events.ts";
import type { EventInput } from "../../../src/kube/events.ts";
import { silentLogger } from "../../../src/runtime/logger.ts";
import { createCountingMetrics } from "../../support/counting-metrics.ts";
import { createManualClock } from "../../support/manual-clock.ts";
import { failure, json, startFakeApiServer } from "./fake-api-server.ts";
import type { FakeApiServer } from "./fake-api-server.ts";

const input = (more: Partial<EventInput> = {}): EventInput => ({
  regarding: { apiVersion: "v1", kind: "Widget", name: "w", namespace: "ns", uid: "u" },
  type: "Warning",
  reason: "TooBig",
  action: "Check",
  note: "it is too big",
  ...more,
});

interface Written {
  note: string;
  metadata: { name: string; namespace: string };
  series?: { count: number };
}

describe("event recorder", () => {
  let server: FakeApiServer;

  beforeEach(async () => {
    server = await startFakeApiServer();
    server.answer(json(200, { metadata: { name: "w.1", namespace: "ns" } }));
  });
  afterEach(() => server.close());

  function setUp() {
    const clock = createManualClock();
    const metrics = createCountingMetrics();
    const recorder = createEventRecorder({
      client: server.client(),
      clock,
      logger: silentLogger,
      metrics,
      controller: "example.com/test",
      instance: "test-1",
    });
    return { clock, metrics, recorder };
  }

  const written = (): Written[] => server.requests.map(({ body }) => body as Written);

  it("counts repetitions in one series", async () => {
    const { recorder } = setUp();
    for (let times = 0; times < 5; times += 1) recorder.event(input());
    await recorder.flush(5);
    for (let times = 0; times < 3; times += 1) recorder.event(input());
    await recorder.flush(5);
    expect(server.requests.map(({ method }) => method)).to.deep.equal(["POST", "PATCH"]);
    expect(written().map(({ series }) => series?.count)).to.deep.equal([5, 8]);
    expect(server.requests[1]?.path).to.match(/\/namespaces\/ns\/events\/w\.1$/);
  });

  it("begins a new series when the old one has rested", async () => {
    const { clock, recorder } = setUp();
    recorder.event(input());
    await recorder.flush(5);
    await clock.advance(361);
    recorder.event(input());
    await recorder.flush(5);
    expect(server.requests.map(({ method }) => method)).to.deep.equal(["POST", "POST"]);
  });

  it("drops events of an object that has too many", async () => {
    const { clock, metrics, recorder } = setUp();
    for (let number = 0; number < 100; number += 1)
      recorder.event(input({ note: `note ${number}` }));
    await recorder.flush(5);
    expect(server.requests).to.have.length(25);
    expect(metrics.value("events_dropped_total", { cause: "ObjectTooChatty" })).to.equal(75);
    await clock.advance(301);
    recorder.event(input({ note: "later" }));
    await recorder.flush(5);
    expect(server.requests).to.have.length(26);
  });

  it("sends warnings before the everyday life of many jobs", async () => {
    const { recorder } = setUp();
    for (let index = 0; index < 20; index += 1)
      recorder.event(input({ type: "Normal", note: `life ${index}` }));
    recorder.event(input({ note: "look here" }));
    await recorder.flush(5);
    expect(written().map(({ note }) => note)[0]).to.equal("look here");
    expect(written()).to.have.lengthOf(21);
  });

  it("never waits or throws, and counts refusals", async () => {
    const { metrics, recorder } = setUp();
    server.answer(failure(403, "Forbidden"));
    recorder.event(input());
    await recorder.flush(5);
    expect(metrics.value("events_dropped_total", { cause: "WriteFailed" })).to.equal(1);
  });

  it("writes about cluster-scoped objects in the default namespace", async () => {
    const { recorder } = setUp();
    const name = "n".repeat(253);
    const regarding = { apiVersion: "v1", kind: "Node", name, uid: "n" };
    recorder.event(input({ regarding, note: "ü".repeat(2000) }));
    await recorder.flush(5);
    const [event] = written();
    expect(event?.metadata.namespace).to.equal("default");
    expect(event?.metadata.name.length).to.be.at.most(253);
    expect(Buffer.byteLength(event?.note ?? "")).to.be.at.most(1024);
    expect(event?.note).to.match(/^ü+…$/);
  });
});
