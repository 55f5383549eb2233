/** HTTPS server of the API, with limits on connections, requests, headers and time. */
import { createServer, type Server } from "node:https";
import type { IncomingMessage, ServerResponse } from "node:http";
import { limitConnections } from "../runtime/connection-limits.ts";
import { listen } from "../runtime/listen.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Metrics } from "../runtime/metrics.ts";
import { createApiMetrics, type ApiMetrics } from "./metrics.ts";
import { HttpProblem, problemBody, problemOf, problems } from "./problem.ts";
import type { Answer, Router } from "./router.ts";
import type { KeyPair } from "./serving-certificate.ts";

export interface ApiServerOptions {
  readonly address: string;
  /** 0: any free port. */
  readonly port: number;
  readonly keyPair: KeyPair;
  readonly router: Router;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export interface ApiServer {
  readonly port: number;
  /** Applies to new connections. */
  use(keyPair: KeyPair): void;
  /** Waits for requests in flight, at most this long. */
  close(graceSeconds: number): Promise<void>;
}

const maxConnections = 512;
/** All who come through the API server's proxy share its address; it keeps connections open. */
const connectionsOfAddress = { connections: 128, perSecond: 50, burst: 200 };
const maxRequests = 32;
const answerWithinSeconds = 15;
const requestTimeoutMilliseconds = 10_000;
const handshakeTimeoutMilliseconds = 8_000;
const keepAliveMilliseconds = 60_000;
/** How often Node looks for requests past their time; its default of 30 s would be the limit in effect. */
const timeoutCheckMilliseconds = 1_000;
const maxHeaderBytes = 32 * 1024;

class RequestHandler {
  readonly #options: ApiServerOptions;
  readonly #metrics: ApiMetrics;
  #inFlight = 0;

  constructor(options: ApiServerOptions) {
    this.#options = options;
    this.#metrics = createApiMetrics(options.metrics, () => this.#inFlight);
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { clock } = this.#options;
    const startSeconds = clock.monotonicSeconds();
    const target = request.url ?? "/";
    const operation = this.#options.router.operationOf(target);
    const status = await this.#answer(request, response, target);
    this.#metrics.answered(operation, status, clock.monotonicSeconds() - startSeconds);
  }

  async #answer(
    request: IncomingMessage,
    response: ServerResponse,
    target: string,
  ): Promise<number> {
    try {
      return send(response, await this.#route(request, target), request.method === "HEAD");
    } catch (error) {
      const problem = problemOf(error);
      if (problem.code === "InternalError") {
        const cause = problem.cause instanceof Error ? problem.cause : String(problem.cause);
        this.#options.logger.error("a request to the HTTP API failed", {
          path: target.split("?", 1)[0],
          error: cause,
        });
      }
      return sendProblem(response, problem, target);
    }
  }

  async #route(request: IncomingMessage, target: string): Promise<Answer> {
    refuseWrites(request);
    if (this.#inFlight >= maxRequests) {
      throw new HttpProblem("Overloaded", "server busy, retry later", {
        retryAfterSeconds: 1,
      });
    }
    this.#inFlight += 1;
    const answer = this.#options.router
      .answer({ method: request.method ?? "GET", target, headers: request.headers })
      .finally(() => {
        this.#inFlight -= 1;
      });
    return this.#inTime(answer);
  }

  /** A request that times out stays in flight until it ends; every call in it has its own timeout. */
  async #inTime(answer: Promise<Answer>): Promise<Answer> {
    const { clock } = this.#options;
    const done = new AbortController();
    const late = clock.sleep(answerWithinSeconds, done.signal).then(() => {
      throw new HttpProblem("TimedOut", `no answer within ${answerWithinSeconds} s`);
    });
    late.catch(() => undefined);
    answer.catch(() => undefined);
    try {
      return await Promise.race([answer, late]);
    } finally {
      done.abort(new Error("answered"));
    }
  }
}

function refuseWrites(request: IncomingMessage): void {
  if (request.method !== "GET" && request.method !== "HEAD") {
    throw new HttpProblem("MethodNotAllowed", `${request.method} is not allowed: use GET`);
  }
  const length = Number(request.headers["content-length"] ?? 0);
  if (length > 0 || request.headers["transfer-encoding"] !== undefined) {
    throw new HttpProblem("BodyRejected", "send the request without a body");
  }
}

const common = {
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
};

function send(response: ServerResponse, { body, contentType }: Answer, isHead: boolean): number {
  const text = JSON.stringify(body);
  response.writeHead(200, {
    ...common,
    "content-type": contentType,
    "content-length": Buffer.byteLength(text),
  });
  response.end(isHead ? undefined : text);
  return 200;
}

function sendProblem(response: ServerResponse, problem: HttpProblem, target: string): number {
  const { status } = problems[problem.code];
  const text = JSON.stringify(problemBody(problem, target.split("?", 1)[0] ?? target));
  response.writeHead(status, {
    ...common,
    "content-type": "application/problem+json",
    "content-length": Buffer.byteLength(text),
    ...(problem.retryAfterSeconds === undefined
      ? {}
      : { "retry-after": String(Math.ceil(problem.retryAfterSeconds)) }),
    // The refused body is still arriving: the connection cannot be reused.
    ...(problem.code === "BodyRejected" || problem.code === "MethodNotAllowed"
      ? { connection: "close" }
      : {}),
  });
  response.end(text);
  return status;
}

const tlsOptions = (keyPair: KeyPair) => ({ ...keyPair, minVersion: "TLSv1.2" as const });

function openServer(options: ApiServerOptions): Server {
  const front = new RequestHandler(options);
  const server = createServer(
    {
      ...tlsOptions(options.keyPair),
      handshakeTimeout: handshakeTimeoutMilliseconds,
      connectionsCheckingInterval: timeoutCheckMilliseconds,
      maxHeaderSize: maxHeaderBytes,
      requestTimeout: requestTimeoutMilliseconds,
      headersTimeout: requestTimeoutMilliseconds,
      keepAliveTimeout: keepAliveMilliseconds,
    },
    (request, response) => {
      front.handle(request, response).catch((error: unknown) => {
        options.logger.error("a response could not be sent", { error: String(error) });
        response.destroy();
      });
    },
  );
  server.maxConnections = maxConnections;
  limitConnections(server, connectionsOfAddress, options.clock);
  return server;
}

export async function startApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const server = openServer(options);
  const { address, port } = options;
  const settings = { address: "ROTA_API_ADDRESS", port: "ROTA_API_PORT" };
  return {
    port: await listen(server, { address, port, settings }),
    use: (keyPair) => server.setSecureContext(tlsOptions(keyPair)),
    close: async (graceSeconds) => {
      const closed = new Promise<void>((resolve) => {
        server.close(() => resolve());
      });
      server.closeIdleConnections();
      const waiting = new AbortController();
      const patience = options.clock.sleep(graceSeconds, waiting.signal).catch(() => undefined);
      await Promise.race([closed, patience]);
      waiting.abort(new Error("closed"));
      server.closeAllConnections();
      await closed;
    },
  };
}
