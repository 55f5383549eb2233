import type { ConnectionOptions } from "node:tls";
import { Pool, ProxyAgent } from "undici";
import type { buildConnector, Dispatcher } from "undici";
import { isSocksProxy } from "./proxies.ts";
import { socksConnector } from "./socks.ts";

export interface DispatcherOptions {
  readonly server: URL;
  readonly proxyUrl: URL | undefined;
  readonly tls: ConnectionOptions;
  readonly connectTimeoutSeconds: number;
  /** Connections for calls; each watch has its own in addition. */
  readonly connections: number;
  readonly maxResponseBytes: number;
}

/** The connections of one set of TLS credentials. */
export interface Dispatchers {
  readonly calls: Dispatcher;
  readonly watches: Dispatcher;
}

/** TCP keep-alive detects a dead peer after 15 + 3 x 5 seconds, also on idle connections. */
const keepAlive = {
  keepAlive: true,
  keepAliveInitialDelay: 15_000,
};

/** Below the idle time-outs of the API server and common load balancers: this side closes first, so no call is lost. */
const idleTimeoutMilliseconds = 45_000;

/** Opens no connection until the first call. */
export function openDispatchers(options: DispatcherOptions): Dispatchers {
  return {
    calls: openDispatcher(options, options.connections, options.maxResponseBytes),
    // A watch keeps its connection for minutes and must not share it with calls. -1 means no limit.
    watches: openDispatcher(options, null, -1),
  };
}

function openDispatcher(
  { server, proxyUrl, tls, connectTimeoutSeconds }: DispatcherOptions,
  connections: number | null,
  maxResponseSize: number,
): Dispatcher {
  const timeout = connectTimeoutSeconds * 1000;
  const target = { ...tls, ...keepAlive, timeout } as buildConnector.BuildOptions;
  const common = {
    connections,
    maxResponseSize,
    pipelining: 1,
    keepAliveTimeout: idleTimeoutMilliseconds,
    keepAliveMaxTimeout: idleTimeoutMilliseconds,
  };
  if (proxyUrl === undefined) {
    return new Pool(server.origin, { ...common, connect: target });
  }
  if (isSocksProxy(proxyUrl)) {
    return new Pool(server.origin, { ...common, connect: socksConnector(proxyUrl, target) });
  }
  return new ProxyAgent({
    ...common,
    uri: proxyUrl.href,
    requestTls: target,
    proxyTls: { timeout },
  });
}
