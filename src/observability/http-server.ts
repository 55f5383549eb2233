/** Serves /healthz (the event loop runs), /readyz (caches are synced, the database responds) and /metrics (Prometheus text). */
import { createServer } from "node:http";
import type { ServerResponse } from "node:http";
import type { Registry } from "prom-client";
import { listen } from "../runtime/listen.ts";

export interface HttpServerOptions {
  readonly address: string;
  readonly port: number;
  readonly registry: Registry;
  /** What is not ready; empty if everything is. */
  readonly unready: () => Promise<readonly string[]>;
}

export interface HttpServer {
  readonly port: number;
  close(): Promise<void>;
}

const requestTimeoutMilliseconds = 10_000;

function answer(response: ServerResponse, status: number, text: string, type = "text/plain"): void {
  response.writeHead(status, { "content-type": `${type}; charset=utf-8` }).end(`${text}\n`);
}

async function handle(
  path: string,
  response: ServerResponse,
  options: HttpServerOptions,
): Promise<void> {
  if (path === "/healthz") return answer(response, 200, "ok");
  if (path === "/readyz") {
    const reasons = await options.unready();
    return answer(response, reasons.length === 0 ? 200 : 503, reasons.join("\n") || "ok");
  }
  if (path === "/metrics") {
    const text = await options.registry.metrics();
    response.writeHead(200, { "content-type": options.registry.contentType }).end(text);
    return;
  }
  answer(response, 404, "serves /healthz, /readyz and /metrics");
}

/** Starts the server. Throws an Error that names the setting to change if it cannot listen. */
export async function startHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? "/", "http://localhost").pathname;
    handle(path, response, options).catch((error: unknown) => {
      if (!response.headersSent) answer(response, 500, String(error));
      else response.destroy();
    });
  });
  server.requestTimeout = requestTimeoutMilliseconds;
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
