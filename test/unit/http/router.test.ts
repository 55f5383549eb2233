import { once } from "node:events";
import { expect } from "chai";
import { Router } from "../../../src/http/router.ts";
import type { Authenticator } from "../../../src/http/authentication.ts";
import type { Handlers } from "../../../src/http/endpoints/types.ts";
import { HttpProblem } from "../../../src/http/problem.ts";
import { TokenBuckets } from "../../../src/runtime/token-buckets.ts";
import { createManualClock } from "../../support/manual-clock.ts";

describe("the HTTP API's router", () => {
  let seen: unknown;
  const answerOf = (answer: unknown) => (question: { parameters: unknown; query: unknown }) => {
    seen = { parameters: question.parameters, query: question.query };
    return answer;
  };
  const handlers = {
    queue: answerOf({ items: [], next: null, secret: "not in the schema" }),
    why: answerOf({}),
    preemptions: answerOf({ items: [], next: null }),
    role: answerOf({
      project: "team",
      user: "pat",
      groups: [],
      role: null,
      owner: false,
      may: { view: false, submit: false, administer: false },
    }),
  } as unknown as Handlers;
  const callers = {
    identify: () =>
      Promise.resolve({
        caller: { user: "pat", groups: [], by: "token" },
        redeem: () => undefined,
      }),
  } as unknown as Authenticator;
  const clock = createManualClock();
  const rates = new TokenBuckets({ clock, perSecond: 1, burst: 1000, capacity: 10 });
  const router = new Router({ handlers, callers, rates });
  const ask = (target: string) => router.answer({ method: "GET", target, headers: {} });
  const codeOf = (target: string): Promise<string> =>
    ask(target).then(
      () => "answered",
      (error: unknown) => (error instanceof HttpProblem ? error.code : String(error)),
    );

  it("answers with what the schema names and nothing else", async () => {
    expect((await ask("/api/v1/queue")).body).to.deep.equal({ items: [], next: null });
  });

  it("gives handlers defaults, numbers and lists", async () => {
    await ask("/api/v1/queue?limit=7&pool=blue");
    expect(seen).to.deep.equal({ parameters: {}, query: { limit: 7, pool: "blue" } });
    await ask("/api/v1/projects/team/role?user=a%20b&group=x&group=y");
    expect(seen).to.deep.equal({
      parameters: { project: "team" },
      query: { user: "a b", group: ["x", "y"] },
    });
    await ask("/api/v1/projects/team/role?group=x");
    expect(seen).to.deep.include({ query: { group: ["x"] } });
  });

  it("refuses what no route or schema knows", async () => {
    expect(await codeOf("/api/v1/queue/")).to.equal("NotFound");
    expect(await codeOf("/api/v1/namespaces/a/b/jobs/c/why")).to.equal("NotFound");
    expect(await codeOf("/api/v1/namespaces/a%2Fb/jobs/c/why")).to.equal("InvalidParameter");
    expect(await codeOf("/api/v1/namespaces/%ff/jobs/c/why")).to.equal("InvalidParameter");
    expect(await codeOf("/api/v1/queue?limit=0")).to.equal("InvalidParameter");
    expect(await codeOf("/api/v1/queue?limit=5&limit=6")).to.equal("InvalidParameter");
    expect(await codeOf("/api/v1/queue?unknown=1")).to.equal("InvalidParameter");
  });

  it("labels metrics with known operations only", () => {
    expect(router.operationOf("/api/v1/namespaces/a/jobs/b/why?x=1")).to.equal("why");
    expect(router.operationOf("/openapi.json")).to.equal("openApi");
    expect(router.operationOf("/%ff/../etc/passwd")).to.equal("unknown");
  });

  it("answers at most four requests of one caller at a time", async () => {
    const released = new AbortController();
    const slow = {
      queue: async () => {
        await once(released.signal, "abort");
        return { items: [], next: null };
      },
    } as unknown as Handlers;
    const busy = new Router({ handlers: slow, callers, rates });
    const askQueue = () => busy.answer({ method: "GET", target: "/api/v1/queue", headers: {} });
    const four = [askQueue(), askQueue(), askQueue(), askQueue()];
    const fifth = await askQueue().catch((error: unknown) => error);
    expect(fifth).to.include({ code: "TooManyRequests" });
    released.abort();
    await Promise.all(four);
  });

  it("refuses a NUL wherever it comes in", async () => {
    expect(await codeOf("/api/v1/queue?pool=%00")).to.equal("InvalidParameter");
    expect(await codeOf("/api/v1/projects/team/role?group=x&group=%00")).to.equal(
      "InvalidParameter",
    );
  });

  it("gives handlers times that PostgreSQL reads", async () => {
    const since = (time: string) => `/api/v1/preemptions?since=${encodeURIComponent(time)}`;
    await ask(since("2026-01-01T00:00:00.5+23:59"));
    expect(seen).to.deep.include({ query: { limit: 100, since: "2025-12-31T00:01:00.5Z" } });
    const outside = [
      "0000-06-01T00:00:00Z",
      "0001-01-01T00:00:00+01:00",
      "9999-12-31T23:59:59-01:00",
    ];
    for (const time of [...outside, "2026-02-30T00:00:00Z", "2026-01-01T00:00:00+99:99"]) {
      expect(await codeOf(since(time)), time).to.equal("InvalidParameter");
    }
  });

  it("limits each caller's rate", async () => {
    const strict = new Router({
      handlers,
      callers,
      rates: new TokenBuckets({ clock, perSecond: 1, burst: 1, capacity: 10 }),
    });
    const once = () => strict.answer({ method: "GET", target: "/api/v1/queue", headers: {} });
    await once();
    const error = await once().catch((problem: unknown) => problem);
    expect(error).to.be.instanceOf(HttpProblem);
    expect(error).to.include({ code: "TooManyRequests", retryAfterSeconds: 1 });
  });
});
