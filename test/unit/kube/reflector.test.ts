import { expect } from "chai";
import { waitFor } from "../../../dev/local/wait.ts";
import { createInformer } from "../../../src/kube/reflector.ts";
import type { InformerOptions } from "../../../src/kube/reflector.ts";
import type { KubeObject, ResourceType } from "../../../src/kube/resource.ts";
import { systemClock } from "../../../src/runtime/clock.ts";
import type { Clock } from "../../../src/runtime/clock.ts";
import { silentLogger } from "../../../src/runtime/logger.ts";
import { createCountingMetrics } from "../../support/counting-metrics.ts";
import { failure, json, never, reset, startFakeApiServer, stream } from "./fake-api-server.ts";
import type { FakeApiServer } from "./fake-api-server.ts";

interface Kept {
  readonly version: string;
}

const widgets: ResourceType<Kept> = {
  group: "example.com",
  version: "v1",
  plural: "widgets",
  kind: "Widget",
  namespaced: true,
  project: ({ metadata }) => ({ version: metadata.resourceVersion ?? "" }),
};

const widget = (name: string, version: number): KubeObject => ({
  metadata: { name, namespace: "ns", resourceVersion: String(version) },
});
const event = (type: string, name: string, version: number) => ({
  type,
  object: widget(name, version),
});
const initialEnd = (version: number) => ({
  type: "BOOKMARK",
  object: {
    metadata: {
      resourceVersion: String(version),
      annotations: { "k8s.io/initial-events-end": "true" },
    },
  },
});
const bookmark = (version: number) => ({
  type: "BOOKMARK",
  object: { metadata: { resourceVersion: String(version) } },
});
const page = (items: KubeObject[], version: number, next = "") =>
  json(200, { metadata: { resourceVersion: String(version), continue: next }, items });
const expired = failure(410, "Expired");

describe("reflector", () => {
  let server: FakeApiServer;
  let stop: AbortController;

  beforeEach(async () => {
    server = await startFakeApiServer();
    stop = new AbortController();
  });
  afterEach(async () => {
    stop.abort();
    await server.close();
  });

  function start(options: Partial<InformerOptions<Kept>> = {}) {
    const metrics = createCountingMetrics();
    const informer = createInformer({
      client: server.client(),
      type: widgets,
      clock: systemClock,
      logger: silentLogger,
      metrics,
      backoff: { baseSeconds: 0.01, maxSeconds: 0.05 },
      ...options,
    });
    const changes: string[] = [];
    informer.onChange(({ key, before, after }) => {
      changes.push(`${key} ${before?.version ?? "-"}>${after?.version ?? "-"}`);
    });
    informer.start(stop.signal);
    const until = async (count: number): Promise<void> => {
      for (let turn = 0; turn < 1000 && changes.length < count; turn += 1) {
        await systemClock.sleep(0.005);
      }
      expect(changes).to.have.length.at.least(count);
    };
    return { changes, informer, metrics, until };
  }

  const queries = () => server.requests.map(({ query }) => Object.fromEntries(query));

  it("lists by watch, follows, and resumes after the last version", async () => {
    server.answer(
      stream(
        [
          event("ADDED", "a", 1),
          event("ADDED", "b", 2),
          initialEnd(5),
          event("MODIFIED", "a", 6),
          bookmark(9),
        ],
        true,
      ),
      stream([event("DELETED", "b", 10)], false),
    );
    const { changes, informer, metrics, until } = start();
    await until(4);
    expect(changes).to.deep.equal(["ns/a ->1", "ns/b ->2", "ns/a 1>6", "ns/b 2>-"]);
    expect([...informer.store.keys()]).to.deep.equal(["ns/a"]);
    const [first, second] = queries();
    expect(first).to.include({ sendInitialEvents: "true", resourceVersionMatch: "NotOlderThan" });
    expect(second).to.include({ resourceVersion: "9", allowWatchBookmarks: "true" });
    expect(metrics.total("reflector_lists_total")).to.equal(1);
    expect(metrics.total("reflector_objects")).to.equal(1);
    expect(informer.lastEventSeconds()).to.be.below(10);
  });

  it("lists again when the server calls the version too old", async () => {
    const pauses: number[] = [];
    const clock: Clock = {
      ...systemClock,
      sleep: (seconds, signal) => {
        // The wait for a list's end mark.
        if (seconds === 30) return systemClock.sleep(seconds, signal);
        pauses.push(seconds);
        return systemClock.sleep(0);
      },
    };
    const outage = Array.from({ length: 9 }, () => failure(403, "Forbidden"));
    server.answer(
      stream([event("ADDED", "a", 1), initialEnd(5)], true),
      ...outage,
      expired,
      stream([event("ADDED", "b", 20), initialEnd(21)], false),
    );
    const { until } = start({ clock, backoff: { baseSeconds: 0.25, maxSeconds: 10 } });
    await until(3);
    expect(pauses).to.have.lengthOf(10);
    expect(pauses.at(-2)).to.be.within(5, 10);
    expect(pauses.at(-1)).to.be.at.most(0.25);
  });

  it("is synced only when the collection is complete", async () => {
    server.answer(stream([event("ADDED", "a", 1)], false));
    const { informer, until } = start();
    await until(1);
    expect(informer.synced()).to.equal(false);
    stop.abort();
    const outcome = await informer.whenSynced().catch((error: unknown) => String(error));
    expect(outcome).to.include("stopped before it synced");
  });

  it("lists in pages where WatchList is not served", async () => {
    server.answer(
      failure(422, "Invalid"),
      page([widget("a", 1)], 5, "token"),
      expired,
      page([widget("a", 2)], 7, "token"),
      page([widget("b", 3)], 7),
      stream([event("MODIFIED", "b", 8)], false),
    );
    const { changes, informer, until } = start();
    await until(4);
    expect(changes).to.deep.equal(["ns/a ->1", "ns/a 1>2", "ns/b ->3", "ns/b 3>8"]);
    expect(informer.synced()).to.equal(true);
    expect(
      queries().map(({ continue: token, resourceVersion }) => token ?? resourceVersion),
    ).to.deep.equal([undefined, undefined, "token", undefined, "token", "7"]);
  });

  for (const [how, answer] of Object.entries({
    "as an event": stream(
      [{ type: "ERROR", object: { kind: "Status", code: 410, reason: "Expired" } }],
      true,
    ),
    "as an answer": expired,
  })) {
    it(`relists on 410 ${how}, and notices deletions`, async () => {
      server.answer(
        stream([event("ADDED", "a", 1), event("ADDED", "b", 2), initialEnd(5)], true),
        answer,
        stream([event("ADDED", "b", 2), event("ADDED", "c", 9), initialEnd(20)], false),
      );
      const { changes, metrics, until } = start();
      await until(4);
      expect(changes).to.deep.equal(["ns/a ->1", "ns/b ->2", "ns/c ->9", "ns/a 1>-"]);
      expect(metrics.total("reflector_lists_total")).to.equal(2);
    });
  }

  it("follows a server that was restored from an older backup", async () => {
    const details = { causes: [{ reason: "ResourceVersionTooLarge", message: "Too large" }] };
    server.answer(
      stream([event("ADDED", "a", 100), event("ADDED", "b", 101), initialEnd(105)], true),
      failure(504, "Timeout", { details }),
      stream([event("ADDED", "a", 50), initialEnd(60), event("MODIFIED", "a", 61)], false),
    );
    const { changes, until } = start();
    await until(5);
    expect(changes.slice(2)).to.deep.equal(["ns/a 100>50", "ns/b 101>-", "ns/a 50>61"]);
  });

  it("drops what it has seen already", async () => {
    server.answer(
      stream([event("ADDED", "a", 4), initialEnd(5)], true),
      stream(
        [
          event("MODIFIED", "a", 6),
          event("MODIFIED", "a", 6),
          event("MODIFIED", "a", 5),
          event("DELETED", "a", 7),
        ],
        false,
      ),
    );
    const { changes, until } = start();
    await until(3);
    expect(changes).to.deep.equal(["ns/a ->4", "ns/a 4>6", "ns/a 6>-"]);
  });

  it("goes on after resets, failures and refusals", async () => {
    server.answer(
      reset,
      failure(500, "InternalError"),
      failure(429, "TooManyRequests"),
      stream([event("ADDED", "a", 1)], true),
      stream([event("ADDED", "a", 1), initialEnd(5)], true),
      reset,
      failure(503, "ServiceUnavailable"),
      stream([event("MODIFIED", "a", 6)], false),
    );
    const { changes, metrics, until } = start();
    await until(2);
    expect(changes).to.deep.equal(["ns/a ->1", "ns/a 1>6"]);
    expect(metrics.total("reflector_failures_total")).to.equal(6);
  });

  it("gives up a watch that has gone silent", async () => {
    server.answer(
      stream([event("ADDED", "a", 1), initialEnd(5)], false),
      stream([event("MODIFIED", "a", 6)], false),
    );
    const { changes, until } = start({ silentSeconds: 0.3 });
    await until(2);
    expect(changes).to.deep.equal(["ns/a ->1", "ns/a 1>6"]);
  });

  it("goes on when a handler throws", async () => {
    server.answer(stream([event("ADDED", "a", 1), event("ADDED", "b", 2), initialEnd(5)], false));
    const { changes, informer } = start();
    informer.onChange(() => {
      throw new Error("a handler's bug");
    });
    await informer.whenSynced();
    expect(changes).to.have.length(2);
  });

  /** Of a server that sends all but the mark: with another bookmark, or in silence. */
  for (const [how, withoutMark] of [
    ["another bookmark", [event("ADDED", "a", 1), bookmark(5)]],
    ["silence", [event("ADDED", "a", 1)]],
  ] as const) {
    it(`lists in pages for good after ${how}, not the end mark`, async () => {
      const warnings: string[] = [];
      const logger = {
        ...silentLogger,
        warn: (message: string) => {
          warnings.push(message);
        },
      };
      server.answer(
        stream(withoutMark, false),
        page([widget("a", 1)], 5),
        stream([], true),
        expired,
        page([widget("b", 9)], 20),
        stream([], false),
      );
      const { changes, informer, until } = start({ logger, endMarkSeconds: 0.1 });
      await until(3);
      expect(changes).to.deep.equal(["ns/a ->1", "ns/b ->9", "ns/a 1>-"]);
      expect(informer.synced()).to.equal(true);
      const lists = warnings.filter((message) => /did not complete/.test(message));
      expect(lists).to.have.length(1);
      const limits = queries().map(({ limit }) => limit);
      expect(limits.slice(0, 5)).to.deep.equal([undefined, "500", undefined, undefined, "500"]);
    });

    it(`lists in pages after a 410 and ${how}`, async () => {
      server.answer(
        stream([event("ADDED", "a", 1), event("ADDED", "b", 2), initialEnd(5)], true),
        expired,
        stream([...withoutMark], false),
        page([widget("a", 1)], 20),
        stream([], false),
      );
      const { changes, until } = start({ endMarkSeconds: 0.1 });
      await until(3);
      expect(changes).to.deep.equal(["ns/a ->1", "ns/b ->2", "ns/b 2>-"]);
    });
  }

  /** Throws for names of "odd..."; "odd-kept" has a substitute. */
  const choosy: ResourceType<Kept> = {
    ...widgets,
    project: (raw) => {
      if (raw.metadata.name?.startsWith("odd")) throw new RangeError("not understood");
      return widgets.project(raw);
    },
    substitute: ({ metadata }) =>
      metadata.name === "odd-kept" ? { version: "substitute" } : undefined,
  };

  it("skips, names and counts what it does not understand", async () => {
    const named: unknown[] = [];
    const logger = {
      ...silentLogger,
      warn: (_message: string, fields?: object) => void named.push(fields),
    };
    server.answer(
      stream(
        [
          event("ADDED", "odd", 1),
          event("ADDED", "a", 2),
          initialEnd(5),
          event("MODIFIED", "odd", 6),
          event("ADDED", "odd-kept", 7),
          event("MODIFIED", "a", 8),
        ],
        true,
      ),
      stream([event("DELETED", "odd", 9), event("DELETED", "odd-kept", 10)], false),
    );
    const { changes, informer, metrics, until } = start({ type: choosy, logger });
    await until(4);
    expect(changes).to.deep.equal([
      "ns/a ->2",
      "ns/odd-kept ->substitute",
      "ns/a 2>8",
      "ns/odd-kept substitute>-",
    ]);
    expect([...informer.store.keys()]).to.deep.equal(["ns/a"]);
    expect(queries()[1]).to.include({ resourceVersion: "8" });
    expect(metrics.total("reflector_skipped_total")).to.equal(3);
    expect(metrics.total("reflector_failures_total")).to.equal(0);
    expect(named[0]).to.include({ key: "ns/odd", resource: "widgets", error: "not understood" });
  });

  it("drops an object that is no longer understood", async () => {
    let understood = true;
    const fickle: ResourceType<Kept> = {
      ...widgets,
      project: (raw) => {
        if (!understood) throw new RangeError("not understood");
        return widgets.project(raw);
      },
    };
    server.answer(stream([event("ADDED", "a", 1), initialEnd(5)], true), (request, response) => {
      understood = false;
      stream([event("MODIFIED", "a", 6)], false)(request, response);
    });
    const { changes, until } = start({ type: fickle });
    await until(2);
    expect(changes).to.deep.equal(["ns/a ->1", "ns/a 1>-"]);
  });

  it("has heard nothing while nothing it hears can be applied", async () => {
    const nameless = { type: "ADDED", object: { metadata: { resourceVersion: "1" } } };
    server.answer(stream([nameless], false));
    const { informer, metrics } = start();
    await waitFor(() => metrics.total("reflector_failures_total") >= 2, {
      what: "two failures",
      timeoutMs: 10_000,
    });
    expect(informer.lastEventSeconds()).to.equal(Number.POSITIVE_INFINITY);
  });

  it("reads everything anew when asked, known versions too", async () => {
    server.answer(
      stream([event("ADDED", "a", 4), event("ADDED", "b", 5), initialEnd(9)], false),
      stream([event("ADDED", "a", 4), initialEnd(20), event("MODIFIED", "a", 21)], false),
    );
    const { changes, informer, metrics, until } = start();
    await until(2);
    await informer.whenSynced();
    informer.reread();
    await until(5);
    expect(changes.slice(2)).to.deep.equal(["ns/a 4>4", "ns/b 5>-", "ns/a 4>21"]);
    expect(metrics.total("reflector_failures_total")).to.equal(0);
  });

  for (const { what, version, listed, changed } of [
    { what: "the collection's version fell", version: 60, listed: 50, changed: 61 },
    {
      what: "an object's version fell, not the collection's",
      version: 500,
      listed: 50,
      changed: 501,
    },
  ]) {
    it(`notices that ${what}`, async () => {
      let fell = 0;
      server.answer(
        stream([event("ADDED", "a", 100), initialEnd(105)], true),
        expired,
        stream(
          [event("ADDED", "a", listed), initialEnd(version), event("MODIFIED", "a", changed)],
          false,
        ),
      );
      const onTimeTravel = () => {
        fell += 1;
      };
      const { until } = start({ onTimeTravel });
      await until(3);
      expect(fell).to.equal(1);
    });
  }

  it("stops at once, in the middle of anything", async () => {
    server.answer(never);
    const { informer } = start();
    // A request that is cancelled on its way may still arrive, later.
    await waitFor(() => server.requests.length > 0, { what: "a request", timeoutMs: 10_000 });
    stop.abort();
    await informer.stopped();
    const asked = server.requests.length;
    await systemClock.sleep(0.1);
    expect(server.requests).to.have.length(asked);
  });
});
