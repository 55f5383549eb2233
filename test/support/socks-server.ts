/** A SOCKS5 proxy on loopback (RFC 1928) that requires a user name and password (RFC 1929). */
import { once } from "node:events";
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";

export interface SocksServer {
  readonly port: number;
  /** host:port of every tunnel opened so far. */
  readonly tunnels: readonly string[];
  close(): Promise<void>;
}

const version = 5;
const userPassword = 2;

/** Reads exactly `bytes` bytes. */
async function read(socket: Socket, bytes: number): Promise<Buffer> {
  for (;;) {
    const chunk: Buffer | null = socket.read(bytes);
    if (chunk) return chunk;
    await once(socket, "readable");
  }
}

async function readCounted(socket: Socket): Promise<Buffer> {
  const [count = 0] = await read(socket, 1);
  return read(socket, count);
}

async function isAdmitted(socket: Socket, user: string, password: string): Promise<boolean> {
  await read(socket, 1);
  const methods = await readCounted(socket);
  if (!methods.includes(userPassword)) return false;
  socket.write(Buffer.from([version, userPassword]));
  await read(socket, 1);
  const [name, word] = [await readCounted(socket), await readCounted(socket)];
  const admitted = name.toString() === user && word.toString() === password;
  socket.write(Buffer.from([1, admitted ? 0 : 1]));
  return admitted;
}

async function destination(socket: Socket): Promise<{ host: string; port: number }> {
  const [, , , addressType] = await read(socket, 4);
  const host =
    addressType === 3 ? (await readCounted(socket)).toString() : (await read(socket, 4)).join(".");
  return { host, port: (await read(socket, 2)).readUInt16BE() };
}

export async function startSocksServer(user: string, password: string): Promise<SocksServer> {
  const tunnels: string[] = [];
  const sockets = new Set<Socket>();
  const serve = async (client: Socket): Promise<void> => {
    if (!(await isAdmitted(client, user, password))) {
      client.end();
      return;
    }
    const { host, port } = await destination(client);
    const upstream = connect(port, host);
    sockets.add(upstream);
    await once(upstream, "connect");
    tunnels.push(`${host}:${port}`);
    client.write(Buffer.from([version, 0, 0, 1, 0, 0, 0, 0, 0, 0]));
    upstream.pipe(client).pipe(upstream);
    upstream.on("error", () => client.destroy());
  };
  const server = createServer((client) => {
    sockets.add(client);
    client.on("error", () => client.destroy());
    serve(client).catch(() => client.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    tunnels,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
