import type { Socket } from "node:net";
import { SocksClient } from "socks";
import { buildConnector } from "undici";

const defaultPort = 1080;

/**
 * Connects through a SOCKS5 proxy, which also resolves the name. Undici's own agent is experimental and ignores the
 * limit of connections.
 */
export function socksConnector(
  proxyUrl: URL,
  target: buildConnector.BuildOptions,
): buildConnector.connector {
  const connectTls = buildConnector(target);
  return (options, callback) => {
    const onTunnel = (httpSocket: Socket): void => connectTls({ ...options, httpSocket }, callback);
    const onError = (error: unknown): void =>
      callback(error instanceof Error ? error : new Error(String(error)), null);
    openTunnel(proxyUrl, options, target.timeout ?? undefined).then(onTunnel, onError);
  };
}

async function openTunnel(
  proxyUrl: URL,
  { hostname, port, protocol }: buildConnector.Options,
  timeoutMilliseconds: number | undefined,
): Promise<Socket> {
  const { username, password } = proxyUrl;
  const { socket } = await SocksClient.createConnection({
    command: "connect",
    proxy: {
      type: 5,
      host: proxyUrl.hostname,
      port: Number(proxyUrl.port) || defaultPort,
      ...(username === "" ? {} : { userId: decodeURIComponent(username) }),
      ...(password === "" ? {} : { password: decodeURIComponent(password) }),
    },
    destination: { host: hostname, port: Number(port) || (protocol === "https:" ? 443 : 80) },
    ...(timeoutMilliseconds === undefined ? {} : { timeout: timeoutMilliseconds }),
  });
  return socket;
}
