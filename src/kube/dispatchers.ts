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
  /** Connections for calls; watches have their own, one each. */
  readonly connections: number;
  readonly maxResponseBytes: number;
}

/** The connections of one set of TLS credentials. */
export interface Dispatchers {
  readonly calls: Dispatcher;
  readonly watches: Dispatcher;
}

/** A peer that vanished without a word is noticed by the kernel after 15 + 3 x 5 seconds, on idle connections too. */
const keepAlive = {
  keepAlive: true,
  keepAliveInitialDelay: 15_000,
};

/** Shorter than the API server's and common load balancers' idle time-out, so that we close first and no call is lost. */
const idleTimeoutMilliseconds = 45_000;

export function openDispatchers(options: DispatcherOptions): Dispatchers {
  return {
    calls: openDispatcher(options, options.connections, options.maxResponseBytes),
    // A watch holds its connection for minutes: it must neither wait for a call nor make one wait. -1 is "no limit".
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
