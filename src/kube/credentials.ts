import { createHash } from "node:crypto";
import type { RequestOptions } from "node:https";
import type { ConnectionOptions } from "node:tls";
import { KubeConfig } from "@kubernetes/client-node";
import { parseProxyUrl, proxyFromEnvironment } from "./proxies.ts";

/** Credentials at one moment. `fingerprint` changes with the TLS part, not with the headers. */
export interface Credentials {
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: ConnectionOptions;
  readonly fingerprint: string;
}

/** Address of the API server and credentials for it. */
export interface CredentialSource {
  readonly server: URL;
  readonly proxyUrl: URL | undefined;
  /**
   * The current credentials: rotated files are read again, an exec plugin runs if its token has expired.
   * @param fresh drops cached tokens first, as after a 401
   */
  read(fresh: boolean): Promise<Credentials>;
}

/**
 * Credentials from client-node: KUBECONFIG, else ~/.kube/config, else the pod's service account.
 * @throws if the configuration has no current cluster or is not usable
 */
export function loadCredentials(): CredentialSource {
  return credentialsFrom(() => {
    const config = new KubeConfig();
    config.loadFromDefault();
    return config;
  });
}

/** Credentials of a kubeconfig file. */
export function loadCredentialsFromFile(path: string): CredentialSource {
  return credentialsFrom(() => {
    const config = new KubeConfig();
    config.loadFromFile(path);
    return config;
  });
}

/** @param load creates a new configuration: client-node caches an exec plugin's token in it and cannot drop it */
export function credentialsFrom(load: () => KubeConfig): CredentialSource {
  let config = load();
  const cluster = config.getCurrentCluster();
  if (!cluster) throw new Error("the current context of the kubeconfig has no cluster");
  const server = new URL(cluster.server);
  if (server.protocol === "http:") refusePlainTokens(server);
  return {
    server,
    proxyUrl: cluster.proxyUrl
      ? parseProxyUrl(cluster.proxyUrl, "proxy-url in the kubeconfig")
      : proxyFromEnvironment(server),
    read: (fresh) => {
      if (fresh) config = load();
      return readCredentials(config);
    },
  };
}

/** Plain HTTP would disclose the token, except on the loopback interface. */
function refusePlainTokens(server: URL): void {
  const isLoopback = ["localhost", "127.0.0.1", "[::1]"].includes(server.hostname);
  if (!isLoopback) throw new Error(`the API server's URL must be https, not ${server.protocol}//`);
}

async function readCredentials(config: KubeConfig): Promise<Credentials> {
  const options: RequestOptions & { agent?: unknown } = {};
  await config.applyToHTTPSOptions(options);
  const tls: ConnectionOptions = {};
  if (options.ca !== undefined) tls.ca = options.ca;
  if (options.cert !== undefined) tls.cert = options.cert;
  if (options.key !== undefined) tls.key = options.key;
  if (options.pfx !== undefined) tls.pfx = options.pfx;
  if (options.passphrase !== undefined) tls.passphrase = options.passphrase;
  if (options.servername !== undefined) tls.servername = options.servername;
  if (options.rejectUnauthorized !== undefined) {
    tls.rejectUnauthorized = options.rejectUnauthorized;
  }
  return { headers: headersOf(options), tls, fingerprint: fingerprintOf(tls) };
}

function headersOf(options: RequestOptions): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(options.headers ?? {})) {
    if (value !== undefined) headers[name.toLowerCase()] = String(value).trim();
  }
  if (typeof options.auth === "string" && headers["authorization"] === undefined) {
    headers["authorization"] = `Basic ${Buffer.from(options.auth).toString("base64")}`;
  }
  return headers;
}

function fingerprintOf(tls: ConnectionOptions): string {
  const hash = createHash("sha256");
  for (const [name, value] of Object.entries(tls)) {
    hash.update(`${name}=`);
    hash.update(Buffer.isBuffer(value) ? value : String(value));
    hash.update("\n");
  }
  return hash.digest("base64");
}
