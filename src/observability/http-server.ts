/** /healthz (the process turns), /readyz (caches synced, database answers), /metrics (Prometheus text). */
import { createServer } from "node:http";
import type { ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Registry } from "prom-client";

export interface HttpServerOptions {
  readonly address: string;
  readonly port: number;
  readonly registry: Registry;
  /** What is not ready yet, in words; empty when all is. */
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

export async function startHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? "/", "http://localhost").pathname;
    handle(path, response, options).catch((error: unknown) => {
      if (!response.headersSent) answer(response, 500, String(error));
      else response.destroy();
    });
  });
  server.requestTimeout = requestTimeoutMilliseconds;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port, options.address, () => resolve());
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
