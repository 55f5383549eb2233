import { expect } from "chai";
import type { ResourceName } from "../../../src/kube/resource.ts";
import { StatusWriter } from "../../../src/kube/status-writer.ts";
import type { JsonObject } from "../../../src/kube/merge-patch.ts";
import { systemClock } from "../../../src/runtime/clock.ts";
import { failure, json, startFakeApiServer } from "./fake-api-server.ts";
import type { FakeApiServer } from "./fake-api-server.ts";

const widgets: ResourceName = {
  group: "example.com",
  version: "v1",
  plural: "widgets",
  kind: "Widget",
  namespaced: true,
};
const target = (status?: JsonObject, version = 5) => ({
  type: widgets,
  key: "ns/w",
  uid: "u",
  status,
  resourceVersion: String(version),
});
const written = (version: number) => json(200, { metadata: { resourceVersion: String(version) } });

describe("status writer", () => {
  let server: FakeApiServer;
  let writer: StatusWriter;

  beforeEach(async () => {
    server = await startFakeApiServer();
    writer = new StatusWriter({
      client: server.client(),
      clock: systemClock,
      coalesceSeconds: 0.02,
    });
  });
  afterEach(() => server.close());

  const patches = () => server.requests.map(({ body }) => body);

  it("writes what differs, with the uid, to the status subresource", async () => {
    server.answer(written(6));
    const before = { state: "Pending", message: "waits" };
    expect(await writer.write(target(before), { state: "Running" })).to.equal("written");
    expect(server.requests[0]?.path).to.match(/widgets\/w\/status$/);
    expect(patches()).to.deep.equal([
      { metadata: { uid: "u" }, status: { state: "Running", message: null } },
    ]);
  });

  it("makes one write of a burst, and tells everybody", async () => {
    server.answer(written(6));
    const outcomes = [1, 2, 3, 4].map((count) => writer.write(target(), { count }));
    expect(new Set(await Promise.all(outcomes))).to.deep.equal(new Set(["written"]));
    expect(patches()).to.deep.equal([{ metadata: { uid: "u" }, status: { count: 4 } }]);
  });

  it("keeps the transition time of a condition with unchanged status", async () => {
    const condition = (status: string, lastTransitionTime: string) => ({
      conditions: [{ type: "Ready", status, lastTransitionTime }],
    });
    server.answer(written(6), written(7));
    await writer.write(target(), condition("False", "10:00"));
    expect(await writer.write(target(), condition("False", "10:01"))).to.equal("unchanged");
    await writer.write(target(), condition("True", "10:02"));
    expect(patches().map((body) => (body as { status: object }).status)).to.deep.equal([
      condition("False", "10:00"),
      condition("True", "10:02"),
    ]);
  });

  it("writes again what came while a write was under way", async () => {
    const gate = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    server.answer((request, response) => {
      asked.resolve();
      void gate.promise.then(() => written(6)(request, response));
    }, written(7));
    const first = writer.write(target(), { count: 1 });
    await asked.promise;
    const second = writer.write(target(), { count: 2 });
    const third = writer.write(target(), { count: 3 });
    gate.resolve();
    expect(await Promise.all([first, second, third])).to.deep.equal([
      "written",
      "written",
      "written",
    ]);
    expect(patches().map((patch) => (patch as { status: unknown }).status)).to.deep.equal([
      { count: 1 },
      { count: 3 },
    ]);
  });

  it("writes nothing when nothing changed", async () => {
    expect(await writer.write(target({ count: 1 }), { count: 1 })).to.equal("unchanged");
    expect(server.requests).to.deep.equal([]);
  });

  it("trusts its last write over a lagging store", async () => {
    server.answer(written(6));
    await writer.write(target({ count: 0 }), { count: 1 });
    expect(await writer.write(target({ count: 0 }), { count: 1 })).to.equal("unchanged");
    expect(await writer.write(target({ count: 0 }), { count: 0 })).to.equal("written");
    expect(await writer.write(target({ count: 9 }, 8), { count: 0 })).to.equal("written");
    expect(server.requests).to.have.length(3);
  });

  it("forgets its last write when the server lost it", async () => {
    server.answer(written(6), written(6));
    await writer.write(target({ n: 1 }), { n: 2 });
    writer.forget();
    expect(await writer.write(target({ n: 1 }), { n: 2 })).to.equal("written");
  });

  it("tells that an object is gone, also by its uid", async () => {
    server.answer(failure(404, "NotFound"));
    expect(await writer.write(target(), { a: 1 })).to.equal("gone");
    server.answer(failure(409, "Conflict"));
    expect(await writer.write(target(), { a: 1 })).to.equal("gone");
    const details = { causes: [{ field: "metadata.uid", reason: "FieldValueInvalid" }] };
    server.answer(failure(422, "Invalid", { details }));
    expect(await writer.write(target(), { a: 1 })).to.equal("gone");
  });

  it("reports a failure to every caller, and works next time", async () => {
    server.answer(failure(403, "Forbidden"));
    const calls = [writer.write(target(), { a: 1 }), writer.write(target(), { a: 2 })];
    const outcomes = await Promise.allSettled(calls);
    expect(outcomes.map(({ status }) => status)).to.deep.equal(["rejected", "rejected"]);
    server.answer(written(6));
    expect(await writer.write(target(), { a: 2 })).to.equal("written");
  });
});
