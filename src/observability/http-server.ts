/**
 * Serves /healthz (the event loop runs), /readyz (informers are synced, the database responds) and /metrics (Prometheus
 * text). Every pod of the cluster may reach this port, so any request gets a status at little cost.
 */
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Registry } from "prom-client";
import type { Clock } from "../runtime/clock.ts";
import { ExpiringCache } from "../runtime/expiring-cache.ts";
import { listen } from "../runtime/listen.ts";

export interface HttpServerOptions {
  readonly address: string;
  /** 0 selects a free port. */
  readonly port: number;
  readonly registry: Registry;
  /** What is not ready; empty if everything is. */
  readonly unready: () => Promise<readonly string[]>;
  readonly clock: Clock;
}

export interface HttpServer {
  readonly port: number;
  close(): Promise<void>;
}

/** Probes and a few scrapers; each keeps one connection. */
const maxConnections = 64;
const maxHeaderBytes = 8 * 1024;
const headersTimeoutMilliseconds = 5_000;
const requestTimeoutMilliseconds = 10_000;
const keepAliveMilliseconds = 60_000;
/** How often Node.js checks for requests past their time-out; its default of 30 s would extend every time-out. */
const timeoutCheckMilliseconds = 1_000;
/** Requests within this time share one answer. */
const keptSeconds = 1;

interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: Buffer;
}

const textAnswer = (status: number, text: string): Answer => ({
  status,
  contentType: "text/plain; charset=utf-8",
  body: Buffer.from(`${text}\n`),
});

const ok = textAnswer(200, "ok");
const notFound = textAnswer(404, "serves /healthz, /readyz and /metrics");
const onlyGet = textAnswer(405, "only GET and HEAD are allowed");
const noBody = textAnswer(413, "send the request without a body");
const failed = textAnswer(500, "the metrics could not be rendered");

class Answers {
  readonly #options: HttpServerOptions;
  readonly #kept: ExpiringCache<Answer>;

  constructor(options: HttpServerOptions) {
    this.#options = options;
    this.#kept = new ExpiringCache({
      clock: options.clock,
      capacity: 2,
      seconds: () => keptSeconds,
    });
  }

  of(request: IncomingMessage): Answer | Promise<Answer> {
    if (request.method !== "GET" && request.method !== "HEAD") return onlyGet;
    if (hasBody(request)) return noBody;
    const [path] = (request.url ?? "").split("?", 1);
    if (path === "/healthz") return ok;
    if (path === "/readyz") return this.#kept.get(path, () => this.#readiness());
    if (path === "/metrics") return this.#kept.get(path, () => this.#metrics());
    return notFound;
  }

  async #readiness(): Promise<Answer> {
    try {
      const reasons = await this.#options.unready();
      return reasons.length === 0 ? ok : textAnswer(503, reasons.join("\n"));
    } catch {
      return textAnswer(503, "readiness could not be determined");
    }
  }

  async #metrics(): Promise<Answer> {
    const { registry } = this.#options;
    try {
      const body = Buffer.from(await registry.metrics());
      return { status: 200, contentType: registry.contentType, body };
    } catch {
      return failed;
    }
  }
}

const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;

async function respond(
  answers: Answers,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { status, contentType, body } = await answers.of(request);
  response.writeHead(status, {
    "content-type": contentType,
    "content-length": body.byteLength,
    "x-content-type-options": "nosniff",
    // The body of a refused request is still arriving, so the connection cannot be used again.
    ...(status === onlyGet.status || status === noBody.status ? { connection: "close" } : {}),
  });
  response.end(request.method === "HEAD" ? undefined : body);
}

function openServer(options: HttpServerOptions): Server {
  const answers = new Answers(options);
  const limits = {
    maxHeaderSize: maxHeaderBytes,
    headersTimeout: headersTimeoutMilliseconds,
    requestTimeout: requestTimeoutMilliseconds,
    keepAliveTimeout: keepAliveMilliseconds,
    connectionsCheckingInterval: timeoutCheckMilliseconds,
  };
  const server = createServer(limits, (request, response) => {
    respond(answers, request, response).catch(() => response.destroy());
  });
  server.maxConnections = maxConnections;
  return server;
}

/** @throws Error that names the setting, if the server cannot listen on the address */
export async function startHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const server = openServer(options);
  const { address, port } = options;
  const settings = { address: "ROTA_HTTP_ADDRESS", port: "ROTA_HTTP_PORT" };
  return {
    port: await listen(server, { address, port, settings }),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
