import { BlockList, isIP } from "node:net";

const isHttp = (protocol: string): boolean => protocol === "http:" || protocol === "https:";
const isSocks = (protocol: string): boolean => ["socks:", "socks5:", "socks5h:"].includes(protocol);

/** Whether the URL of a proxy has a SOCKS5 scheme. */
export const isSocksProxy = (proxy: URL): boolean => isSocks(proxy.protocol);

/**
 * The URL of a proxy from a kubeconfig or the environment; "proxy:3128" means http.
 * @param source for the error message
 * @throws if it is not a URL or its scheme is not supported
 */
export function parseProxyUrl(text: string, source: string): URL {
  const full = text.includes("://") ? text : `http://${text}`;
  const url = URL.canParse(full) ? new URL(full) : undefined;
  if (url && (isHttp(url.protocol) || isSocks(url.protocol))) return url;
  // The message omits the URL, which may contain a password.
  const kind = url ? `not ${url.protocol}//` : "but is not a URL";
  throw new Error(`${source} must be the URL of an http, https or socks5 proxy, ${kind}`);
}

/**
 * HTTPS_PROXY and NO_PROXY, as in Go (and kubectl): names with their subdomains, addresses, CIDR ranges, each with an
 * optional port; never for the loopback interface.
 */
export function proxyFromEnvironment(
  server: URL,
  environment: NodeJS.ProcessEnv = process.env,
): URL | undefined {
  const variable = server.protocol === "https:" ? "HTTPS_PROXY" : "HTTP_PROXY";
  const proxy = environment[variable] ?? environment[variable.toLowerCase()];
  if (proxy === undefined || proxy === "" || isThisMachine(server)) return undefined;
  const exceptions = (environment["NO_PROXY"] ?? environment["no_proxy"] ?? "").split(",");
  if (exceptions.some((exception) => matchesHost(server, exception.trim()))) return undefined;
  return parseProxyUrl(proxy, variable);
}

/** URLs have IPv6 addresses in brackets. */
const bare = (host: string): string => host.replace(/^\[(.*)\]$/, "$1");

const portOf = (server: URL): string =>
  server.port === "" ? (server.protocol === "https:" ? "443" : "80") : server.port;

function isThisMachine(server: URL): boolean {
  const host = bare(server.hostname);
  return host === "localhost" || host === "::1" || matchesRange(host, "127.0.0.0/8");
}

function matchesHost(server: URL, exception: string): boolean {
  if (exception === "") return false;
  if (exception === "*") return true;
  const host = bare(server.hostname);
  if (exception.includes("/")) return matchesRange(host, exception);
  if (isIP(bare(exception)) !== 0) return bare(exception) === host;
  const [, name = "", port] = /^(.*?)(?::(\d+))?$/.exec(exception) ?? [];
  if (port !== undefined && port !== portOf(server)) return false;
  const suffix = bare(name.replace(/^\*?\./, ""));
  return host === suffix || host.endsWith(`.${suffix}`);
}

function matchesRange(host: string, range: string): boolean {
  const [network = "", bits = ""] = range.split("/");
  const family = isIP(host);
  const longest = family === 6 ? 128 : 32;
  if (family === 0 || isIP(network) !== family || !/^\d+$/.test(bits)) return false;
  if (Number(bits) > longest) return false;
  const kind = family === 6 ? "ipv6" : "ipv4";
  const list = new BlockList();
  list.addSubnet(network, Number(bits), kind);
  return list.check(host, kind);
}
