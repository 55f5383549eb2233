/** The few requests the launcher itself makes to a local API server. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Agent, request } from "undici";

export interface ApiResponse {
  readonly status: number;
  readonly body: string;
}

export interface ApiClient {
  get(path: string): Promise<ApiResponse>;
  post(path: string, body: unknown): Promise<ApiResponse>;
  close(): Promise<void>;
}

const requestTimeoutMs = 30_000;

export function createApiClient(server: string, certificates: string): ApiClient {
  const agent = new Agent({
    connections: 4,
    headersTimeout: requestTimeoutMs,
    connect: {
      ca: readFileSync(join(certificates, "ca.crt"), "utf8"),
      cert: readFileSync(join(certificates, "admin.crt"), "utf8"),
      key: readFileSync(join(certificates, "admin.key"), "utf8"),
    },
  });
  const send = async (method: "GET" | "POST", path: string, body?: unknown) => {
    const response = await request(`${server}${path}`, {
      dispatcher: agent,
      method,
      headers: { accept: "application/json", "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: response.statusCode, body: await response.body.text() };
  };
  return {
    get: (path) => send("GET", path),
    post: (path, body) => send("POST", path, body),
    close: () => agent.destroy(),
  };
}
