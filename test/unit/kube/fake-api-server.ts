/** An HTTP server that answers as a test says, and remembers what it was asked. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { IncomingHttpHeaders, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { CredentialSource } from "../../../src/kube/credentials.ts";
import { KubeClient } from "../../../src/kube/client.ts";
import type { KubeClientOptions } from "../../../src/kube/client.ts";
import { systemClock } from "../../../src/runtime/clock.ts";

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  readonly body: unknown;
}

export type Answer = (request: SeenRequest, response: ServerResponse) => void;

export interface FakeApiServer {
  readonly url: URL;
  readonly requests: SeenRequest[];
  /** Connections ever accepted. */
  readonly connections: number;
  /** Answers of the next requests, in order; the last one answers all that follow. */
  answer(...answers: Answer[]): void;
  client(options?: Partial<KubeClientOptions>): KubeClient;
  close(): Promise<void>;
}

export const json =
  (status: number, body: unknown, headers: Record<string, string> = {}): Answer =>
  (_request, response) => {
    response.writeHead(status, { "content-type": "application/json", ...headers });
    response.end(JSON.stringify(body));
  };

export const failure = (
  code: number,
  reason: string,
  more: { message?: string; details?: object; headers?: Record<string, string> } = {},
): Answer =>
  json(
    code,
    { kind: "Status", code, reason, message: more.message ?? reason, details: more.details },
    more.headers,
  );

/** Writes the events and leaves the stream open, or ends it. */
export const stream =
  (events: readonly object[], end: boolean): Answer =>
  (_request, response) => {
    response.writeHead(200, { "content-type": "application/json" });
    for (const event of events) response.write(`${JSON.stringify(event)}\n`);
    if (end) response.end();
  };

export const reset: Answer = (_request, response) => {
  response.socket?.resetAndDestroy();
};

export const never: Answer = () => {};

export const credentialsFor = (server: URL): CredentialSource => ({
  server,
  proxyUrl: undefined,
  read: async () => ({
    headers: { authorization: "Bearer fake" },
    tls: {},
    fingerprint: "plain",
  }),
});

export async function startFakeApiServer(): Promise<FakeApiServer> {
  const requests: SeenRequest[] = [];
  const clients: KubeClient[] = [];
  let answers: Answer[] = [json(404, {})];
  let connections = 0;
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => void chunks.push(chunk));
    request.on("end", () => {
      const url = new URL(request.url ?? "/", "http://fake");
      const text = Buffer.concat(chunks).toString();
      const seen = {
        method: request.method ?? "",
        path: url.pathname,
        query: url.searchParams,
        headers: request.headers,
        body: text === "" ? undefined : JSON.parse(text),
      };
      requests.push(seen);
      const [answer = json(500, {}), ...rest] = answers;
      if (rest.length > 0) answers = rest;
      answer(seen, response);
    });
  });
  server.on("connection", () => {
    connections += 1;
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  return {
    url,
    requests,
    get connections() {
      return connections;
    },
    answer: (...next) => {
      answers = next;
    },
    client: (options = {}) => {
      const client = new KubeClient({
        credentials: credentialsFor(url),
        clock: systemClock,
        name: "unit",
        ...options,
      });
      clients.push(client);
      return client;
    },
    close: async () => {
      await Promise.all(clients.map((client) => client.close()));
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
