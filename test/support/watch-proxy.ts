/**
 * A proxy in front of the API server that can withhold watch events, like a slow or lagging server; all other requests
 * pass. It has the API server's own certificate and forwards its clients' tokens.
 */
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { Agent, createServer, request } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { Cluster } from "../../dev/local/cluster.ts";
import { writeOperatorKubeconfig } from "../../dev/local/operator-identity.ts";

export interface WatchProxy {
  /** Path of a kubeconfig for the operator's ServiceAccount through the proxy. */
  readonly kubeconfig: string;
  /** Withholds the watches of a resource, by its plural, including those opened later. */
  withhold(plural: string): void;
  release(plural: string): void;
  /** Number of requests so far whose "METHOD /path?query" matches. */
  count(pattern: RegExp): number;
  close(): Promise<void>;
}

interface Watch {
  readonly plural: string;
  readonly from: IncomingMessage;
  readonly to: ServerResponse;
}

/** The plural of the watched collection; undefined if it is no watch. */
function watchedBy(url: string): string | undefined {
  const { pathname, searchParams } = new URL(url, "https://proxy");
  if (!["1", "true"].includes(searchParams.get("watch") ?? "")) return undefined;
  return pathname.split("/").at(-1);
}

class HoldingProxy {
  readonly #target: URL;
  readonly #agent: Agent;
  readonly #reserved = new Set<string>();
  readonly #watches = new Set<Watch>();
  readonly #requests: string[] = [];

  constructor(target: URL, ca: Buffer) {
    this.#target = target;
    this.#agent = new Agent({ keepAlive: true, ca });
  }

  withhold(plural: string): void {
    this.#reserved.add(plural);
    for (const watch of this.#of(plural)) {
      watch.from.unpipe(watch.to);
      watch.from.pause();
    }
  }

  release(plural: string): void {
    this.#reserved.delete(plural);
    for (const watch of this.#of(plural)) watch.from.pipe(watch.to);
  }

  count(pattern: RegExp): number {
    return this.#requests.filter((line) => pattern.test(line)).length;
  }

  close(): void {
    this.#agent.destroy();
  }

  pass(from: IncomingMessage, to: ServerResponse): void {
    const { method = "GET", url = "/", headers } = from;
    this.#requests.push(`${method} ${url}`);
    const { hostname, port } = this.#target;
    const options = { hostname, port, method, path: url, headers, agent: this.#agent };
    const onward = request(options, (answer) => this.#answer(url, answer, to));
    onward.on("error", () => to.destroy());
    to.on("close", () => onward.destroy());
    from.pipe(onward);
  }

  #answer(url: string, answer: IncomingMessage, to: ServerResponse): void {
    to.writeHead(answer.statusCode ?? 502, answer.headers);
    to.flushHeaders();
    answer.on("error", () => to.destroy());
    const plural = watchedBy(url);
    if (plural === undefined) {
      answer.pipe(to);
      return;
    }
    const watch: Watch = { plural, from: answer, to };
    this.#watches.add(watch);
    to.on("close", () => this.#watches.delete(watch));
    if (!this.#reserved.has(plural)) answer.pipe(to);
  }

  #of(plural: string): Watch[] {
    return [...this.#watches].filter((watch) => watch.plural === plural);
  }
}

/** Starts the proxy on loopback; writes the kubeconfig to the cluster's folder. */
export async function startWatchProxy(cluster: Cluster): Promise<WatchProxy> {
  const certificate = (file: string): Buffer =>
    readFileSync(join(cluster.directory, "certificates", file));
  const proxy = new HoldingProxy(new URL(cluster.server), certificate("ca.crt"));
  const server = createServer(
    { cert: certificate("apiserver.crt"), key: certificate("apiserver.key") },
    (from, to) => proxy.pass(from, to),
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const kubeconfig = join(cluster.directory, `proxy-${port}.kubeconfig`);
  await writeOperatorKubeconfig(cluster.kubeconfig, kubeconfig);
  const text = readFileSync(kubeconfig, "utf8");
  writeFileSync(kubeconfig, text.replace(cluster.server, `https://127.0.0.1:${port}`));
  return {
    kubeconfig,
    withhold: (plural) => proxy.withhold(plural),
    release: (plural) => proxy.release(plural),
    count: (pattern) => proxy.count(pattern),
    close: async () => {
      proxy.close();
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
