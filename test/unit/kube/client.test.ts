import { expect } from "chai";
import {
  isAlreadyExists,
  isConflict,
  isDisruptionBudget,
  isNotFound,
  KubeError,
} from "../../../src/kube/errors.ts";
import { KubeLeaseLock, leaseConnections } from "../../../src/kube/lease-lock.ts";
import type { ResourceName } from "../../../src/kube/resource.ts";
import { systemClock } from "../../../src/runtime/clock.ts";
import { failure, json, never, reset, startFakeApiServer } from "./fake-api-server.ts";
import type { FakeApiServer } from "./fake-api-server.ts";

const widgets: ResourceName = {
  group: "example.com",
  version: "v1",
  plural: "widgets",
  kind: "Widget",
  namespaced: true,
};
const secrets: ResourceName = { ...widgets, group: "", plural: "secrets", kind: "Secret" };
const widget = { metadata: { name: "w", namespace: "ns" } };
const tooManyRequests = failure(429, "TooManyRequests", { headers: { "retry-after": "1" } });

async function errorOf(call: Promise<unknown>): Promise<KubeError> {
  try {
    await call;
  } catch (error) {
    if (error instanceof KubeError) return error;
    throw error;
  }
  throw new Error("the call succeeded");
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await systemClock.sleep(0.01);
}

describe("the API client", () => {
  let server: FakeApiServer;

  beforeEach(async () => {
    server = await startFakeApiServer();
  });
  afterEach(() => server.close());

  const methods = (): string[] => server.requests.map(({ method }) => method);

  it("sends requests in the API server's format", async () => {
    server.answer(json(200, widget));
    const client = server.client();
    await client.get(widgets, "ns/w");
    await client.create(widgets, widget, { dryRun: true });
    await client.apply(widgets, widget);
    await client.patch(widgets, "ns/w", { status: { a: 1 } }, { subresource: "status" });
    await client.delete(widgets, "ns/w", { uid: "u", gracePeriodSeconds: 0 });
    await client.evict("ns/p", { uid: "u" });
    const asked = server.requests.map(
      ({ method, path, query }) => `${method} ${path}?${query.toString()}`,
    );
    expect(asked).to.deep.equal([
      "GET /apis/example.com/v1/namespaces/ns/widgets/w?",
      "POST /apis/example.com/v1/namespaces/ns/widgets?fieldManager=unit&dryRun=All",
      "PATCH /apis/example.com/v1/namespaces/ns/widgets/w?fieldManager=unit&force=true",
      "PATCH /apis/example.com/v1/namespaces/ns/widgets/w/status?fieldManager=unit",
      "DELETE /apis/example.com/v1/namespaces/ns/widgets/w?",
      "POST /api/v1/namespaces/ns/pods/p/eviction?",
    ]);
    const types = server.requests.map(({ headers }) => headers["content-type"]);
    expect(types.slice(2, 4)).to.deep.equal([
      "application/apply-patch+yaml",
      "application/merge-patch+json",
    ]);
    expect(server.requests[4]?.body).to.deep.include({
      preconditions: { uid: "u" },
      gracePeriodSeconds: 0,
    });
  });

  it("refuses a key of the wrong scope before it asks", async () => {
    expect(() => server.client().get(widgets, "w")).to.throw("expected namespace/name");
    expect(server.requests).to.deep.equal([]);
  });

  it("reads a collection page by page", async () => {
    const page = (name: string, next: string) =>
      json(200, { metadata: { continue: next }, items: [{ metadata: { name } }] });
    server.answer(page("a", "more"), page("b", ""));
    const items = await server.client().list(widgets, { labelSelector: "x=y" });
    expect(items.map(({ metadata }) => metadata.name)).to.deep.equal(["a", "b"]);
    expect(server.requests[1]?.query.get("continue")).to.equal("more");
    expect(server.requests[1]?.query.get("labelSelector")).to.equal("x=y");
  });

  it("types errors by status and reason, with their causes", async () => {
    const causes = [{ reason: "FieldValueInvalid", field: "spec.x", message: "too big" }];
    server.answer(failure(422, "Invalid", { message: "spec.x is too big", details: { causes } }));
    const error = await errorOf(server.client().create(widgets, widget));
    expect(error).to.deep.include({
      status: 422,
      reason: "Invalid",
      verb: "create",
      resource: "widgets",
      objectName: "ns/w",
      causes,
    });
    expect(error.message).to.equal("create widgets ns/w: 422 Invalid: spec.x is too big");
  });

  it("distinguishes the errors that callers handle", async () => {
    const client = server.client();
    server.answer(failure(404, "NotFound"));
    expect(isNotFound(await errorOf(client.get(widgets, "ns/w")))).to.equal(true);
    server.answer(failure(409, "AlreadyExists"));
    const exists = await errorOf(client.create(widgets, widget));
    expect([isAlreadyExists(exists), isConflict(exists)]).to.deep.equal([true, false]);
    server.answer(failure(409, "Conflict"));
    const conflict = await errorOf(client.replace(widgets, widget));
    expect([isAlreadyExists(conflict), isConflict(conflict)]).to.deep.equal([false, true]);
  });

  it("keeps bodies, headers and secrets out of errors", async () => {
    const client = server.client();
    const everything = (error: KubeError): string =>
      JSON.stringify([error, error.message, error.stack, Object.values(error), error.cause]);
    const data = { password: "hunter2" };
    const details = { causes: [{ field: "data", message: 'invalid value "hunter2"' }] };
    server.answer(failure(422, "Invalid", { message: 'bad value "hunter2"', details }));
    const refused = await errorOf(client.create(secrets, { ...widget, data }));
    server.answer((_request, response) => response.writeHead(502).end("<html>hunter2</html>"));
    const proxied = await errorOf(client.create(widgets, { ...widget, data }));
    server.answer(reset);
    const broken = await errorOf(client.create(widgets, { ...widget, data }));
    for (const error of [refused, proxied, broken]) {
      expect(everything(error)).not.to.match(/hunter2|Bearer fake/);
    }
  });

  it("retries a read after a broken connection or server error", async () => {
    server.answer(
      reset,
      failure(503, "ServiceUnavailable"),
      failure(500, "InternalError"),
      json(200, widget),
    );
    expect(await server.client().get(widgets, "ns/w")).to.deep.equal(widget);
    expect(server.requests).to.have.length(4);
  });

  it("retries apply, patch and delete, but not create or evict", async () => {
    const client = server.client();
    for (const call of [
      () => client.apply(widgets, widget),
      () => client.patch(widgets, "ns/w", {}),
      () => client.delete(widgets, "ns/w"),
    ]) {
      server.answer(reset, json(200, widget));
      await call();
    }
    const before = server.requests.length;
    server.answer(reset, json(200, widget));
    const created = await errorOf(client.create(widgets, widget));
    server.answer(reset, json(200, widget));
    const evicted = await errorOf(client.evict("ns/p"));
    expect([created.reason, evicted.reason]).to.deep.equal(["Unreachable", "Unreachable"]);
    expect(server.requests.length - before).to.equal(2);
  });

  it("retries a create that priority and fairness refused", async () => {
    server.answer(tooManyRequests, json(201, widget));
    const timersSeconds: number[] = [];
    const sleep: typeof systemClock.sleep = (seconds, signal) => {
      timersSeconds.push(seconds);
      return systemClock.sleep(seconds, signal);
    };
    await server.client({ clock: { ...systemClock, sleep } }).create(widgets, widget);
    expect(timersSeconds, "the time that the server names").to.include(1);
    expect(methods()).to.deep.equal(["POST", "POST"]);
  });

  it("gives up when Retry-After exceeds the call's time", async () => {
    server.answer(failure(429, "TooManyRequests", { headers: { "retry-after": "60" } }));
    const error = await errorOf(server.client().get(widgets, "ns/w", { timeoutSeconds: 5 }));
    expect(error.status).to.equal(429);
    expect(error.retryAfterSeconds).to.equal(60);
    expect(server.requests).to.have.length(1);
  });

  it("returns an eviction that a budget refused at once", async () => {
    const causes = [{ reason: "DisruptionBudget", message: "needs 1 healthy pods" }];
    server.answer(failure(429, "TooManyRequests", { details: { causes } }));
    const error = await errorOf(server.client().evict("ns/p"));
    expect(isDisruptionBudget(error)).to.equal(true);
    expect(server.requests).to.have.length(1);
  });

  it("stops after five attempts", async () => {
    server.answer(failure(503, "ServiceUnavailable"));
    const error = await errorOf(server.client().get(widgets, "ns/w"));
    expect(error.status).to.equal(503);
    expect(server.requests).to.have.length(5);
  });

  it("times out a call that is not answered", async () => {
    server.answer(never);
    const error = await errorOf(server.client().get(widgets, "ns/w", { timeoutSeconds: 0.2 }));
    expect(error).to.deep.include({ status: 0, reason: "Timeout" });
  });

  it("times out or cancels a call that waits for a connection", async () => {
    server.answer(never);
    const client = server.client({ connections: 1 });
    const first = client.get(widgets, "ns/first", { timeoutSeconds: 60 }).catch(() => undefined);
    await until(() => server.requests.length === 1);
    const late = await errorOf(client.get(widgets, "ns/late", { timeoutSeconds: 0.05 }));
    expect(late.message).to.contain("no response within");
    const cancelled = new AbortController();
    const waiting = client.get(widgets, "ns/other", { signal: cancelled.signal });
    const reason = new Error("the term ended");
    cancelled.abort(reason);
    expect(await waiting.catch((error: unknown) => error)).to.equal(reason);
    expect(server.requests).to.have.lengthOf(1);
    await client.close();
    await first;
  });

  it("counts a timed-out call until its place is free", async () => {
    server.answer(never);
    const client = server.client({ connections: 1, maxCalls: 2 });
    const first = client.get(widgets, "ns/first", { timeoutSeconds: 60 }).catch(() => undefined);
    await until(() => server.requests.length === 1);
    await errorOf(client.get(widgets, "ns/late", { timeoutSeconds: 0.05 }));
    const refused = await errorOf(client.get(widgets, "ns/more", { attempts: 1 }));
    expect(refused.message).to.contain("2 calls are waiting");
    await client.close();
    await first;
  });

  it("renews a lease while another client's connections wait", async () => {
    server.answer((request, response) => {
      if (request.path.includes("/leases/"))
        json(200, { metadata: {}, spec: {} })(request, response);
    });
    const busy = server.client();
    const creates = Array.from({ length: 1024 }, () =>
      busy.create(widgets, widget, { timeoutSeconds: 60 }).catch(() => undefined),
    );
    await until(() => server.requests.length === 8);
    const lock = new KubeLeaseLock(server.client({ connections: leaseConnections }), {
      namespace: "rota-system",
      name: "rota-operator",
    });
    const startSeconds = systemClock.monotonicSeconds();
    await lock.read(AbortSignal.timeout(5000));
    expect(systemClock.monotonicSeconds() - startSeconds).to.be.below(2);
    await busy.close();
    await Promise.all(creates);
  });

  it("ends a cancelled call with the caller's reason", async () => {
    server.answer(never);
    const cancellation = new AbortController();
    const call = server.client().get(widgets, "ns/w", { signal: cancellation.signal });
    const reason = new Error("no longer wanted");
    cancellation.abort(reason);
    expect(await call.catch((error: unknown) => error)).to.equal(reason);
  });

  it("uses few connections for many calls", async () => {
    server.answer(json(200, widget));
    const client = server.client({ connections: 4 });
    await Promise.all(Array.from({ length: 400 }, () => client.get(widgets, "ns/w")));
    expect(server.requests).to.have.length(400);
    expect(server.connections).to.be.at.most(4);
  });

  it("refuses a call beyond the queue's limit", async () => {
    server.answer(never);
    const client = server.client({ maxCalls: 2, connections: 1 });
    const options = { timeoutSeconds: 0.3 };
    const calls = [1, 2, 3].map(() => errorOf(client.get(widgets, "ns/w", options)));
    const reasons = (await Promise.all(calls)).map(({ reason }) => reason);
    expect(reasons).to.deep.equal(["Timeout", "Timeout", "Overloaded"]);
  });

  it("refuses an answer larger than its limit", async () => {
    server.answer(json(200, { ...widget, data: "x".repeat(100_000) }));
    const client = server.client({ maxResponseBytes: 10_000 });
    const error = await errorOf(client.get(widgets, "ns/w", { attempts: 1 }));
    expect(error.reason).to.equal("Unreachable");
  });

  it("reads its token again once when it is refused", async () => {
    const reads: boolean[] = [];
    const credentials = {
      server: server.url,
      proxyUrl: undefined,
      read: async (fresh: boolean) => {
        reads.push(fresh);
        const headers = { authorization: fresh ? "Bearer new" : "Bearer old" };
        return { headers, tls: {}, fingerprint: "plain" };
      },
    };
    server.answer((request, response) => {
      const isNew = request.headers.authorization === "Bearer new";
      (isNew ? json(200, widget) : failure(401, "Unauthorized"))(request, response);
    });
    const client = server.client({ credentials });
    expect(await client.get(widgets, "ns/w")).to.deep.equal(widget);
    server.answer(failure(401, "Unauthorized"));
    const error = await errorOf(client.get(widgets, "ns/w"));
    expect(error.status).to.equal(401);
    expect(server.requests).to.have.length(4);
    expect(reads.slice(0, 2)).to.deep.equal([false, true]);
  });
});
