import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { expect } from "chai";
import { Gauge, Registry } from "prom-client";
import { startHttpServer, type HttpServer } from "../../../src/observability/http-server.ts";
import { systemClock } from "../../../src/runtime/clock.ts";
import { createManualClock, type ManualClock } from "../../support/manual-clock.ts";

const get = (target: string): string => `GET ${target} HTTP/1.1\r\nHost: x\r\n\r\n`;

describe("the port of the metrics", () => {
  let server: HttpServer;
  let clock: ManualClock;
  let scrapes = 0;
  let probes = 0;
  let waitingFor: readonly string[] = [];
  let failure: Error | undefined;
  const sockets: Socket[] = [];

  beforeEach(async () => {
    clock = createManualClock();
    [scrapes, probes, waitingFor, failure] = [0, 0, [], undefined];
    const registry = new Registry();
    const collect = (): void => {
      scrapes += 1;
    };
    registry.registerMetric(new Gauge({ name: "sample", help: "One", registers: [], collect }));
    const unready = async (): Promise<readonly string[]> => {
      probes += 1;
      if (failure) throw failure;
      return waitingFor;
    };
    server = await startHttpServer({ address: "127.0.0.1", port: 0, registry, unready, clock });
  });
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    await server.close();
  });

  function open(): Socket {
    const socket = connect(server.port, "127.0.0.1");
    socket.on("error", () => undefined);
    sockets.push(socket);
    return socket;
  }

  /** What comes back until the server has answered the last request and closes, or closes at once. */
  async function exchange(bytes: string | Buffer): Promise<string> {
    const socket = open();
    const chunks: Buffer[] = [];
    socket.on("data", (chunk: Buffer) => void chunks.push(chunk));
    const closed = new Promise((resolve) => socket.once("close", resolve));
    socket.end(bytes);
    await closed;
    return Buffer.concat(chunks).toString("latin1");
  }
  const statusOf = async (bytes: string | Buffer): Promise<number> =>
    Number(/^HTTP\/1\.1 (\d{3}) /.exec(await exchange(bytes))?.[1]);

  it("answers any request line with a status, and lives on", async () => {
    const targets = [
      "//",
      "//:80",
      "http://[",
      "*",
      "\\",
      "/..",
      "/%ff",
      "/%00",
      "?",
      "/?/metrics",
    ];
    for (const target of targets) {
      expect(await statusOf(get(target)), target).to.be.oneOf([400, 404]);
    }
    // Where the end of the line is still on its way, the connection is reset after or before the answer.
    expect(await statusOf(get(`/${"a".repeat(100_000)}`))).to.be.oneOf([431, Number.NaN]);
    expect(await statusOf(Buffer.from([0, 255, 1, 22, 3, 1, 13, 10, 13, 10]))).to.equal(400);
    expect(await statusOf("GET\r\n\r\n")).to.equal(400);
    expect(await statusOf(get("/healthz"))).to.equal(200);
  });

  it("takes as the path what stands before the question mark", async () => {
    expect(await statusOf(get("/healthz?a=//[&b=/metrics"))).to.equal(200);
  });

  it("answers GET and HEAD alone, and takes no body", async () => {
    for (const method of ["POST", "DELETE", "OPTIONS"]) {
      expect(await statusOf(`${method} /healthz HTTP/1.1\r\nHost: x\r\n\r\n`)).to.equal(405);
    }
    const length = "Content-Length: 3\r\n";
    expect(await statusOf(`GET /healthz HTTP/1.1\r\nHost: x\r\n${length}\r\nabc`)).to.equal(413);
    const head = await exchange("HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    expect(head)
      .to.match(/^HTTP\/1\.1 200 /)
      .and.not.contain("ok\n");
  });

  it("answers from a cache for a second", async () => {
    const ask = (path: string) =>
      Promise.all(Array.from({ length: 20 }, () => statusOf(get(path))));
    expect(new Set(await ask("/readyz"))).to.deep.equal(new Set([200]));
    expect(new Set(await ask("/metrics"))).to.deep.equal(new Set([200]));
    expect([probes, scrapes]).to.deep.equal([1, 1]);
    waitingFor = ["database"];
    await clock.advance(1.1);
    expect(await exchange(get("/readyz"))).to.match(/^HTTP\/1\.1 503 [^]*database\n/);
    expect(await exchange(get("/metrics"))).to.contain("# TYPE sample gauge");
    expect([probes, scrapes]).to.deep.equal([2, 2]);
  });

  it("is not ready when readiness cannot be determined", async () => {
    failure = new Error("secret");
    const text = await exchange(get("/readyz"));
    expect(text)
      .to.match(/^HTTP\/1\.1 503 /)
      .and.not.contain("secret");
  });

  it("ends a connection that sends its headers slowly", async () => {
    const socket = open();
    socket.write("GET /healthz HTTP/1.1\r\n");
    socket.resume();
    const drip = setInterval(() => socket.write("a: b\r\n"), 100);
    await once(socket, "close");
    clearInterval(drip);
  });

  it("has few connections at a time", async () => {
    const opened = Array.from({ length: 100 }, open);
    const closed = new Set<Socket>();
    for (const socket of opened) socket.once("close", () => closed.add(socket));
    await Promise.all(opened.map((socket) => once(socket, "connect")));
    while (closed.size < 36) await systemClock.sleep(0.01);
    expect(closed.size).to.equal(36);
  });
});
