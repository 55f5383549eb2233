/** Free ports on the loopback interface. */
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server } from "node:net";

// Below the range from which systems take ports for outgoing connections (32768 on Linux, 49152
// elsewhere): a client that retries a port of that range while its server restarts can connect to
// itself, and other clients can take the port meanwhile.
const firstPort = 20_000;
const endPort = 32_000;
const attempts = 200;

export async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  server.listen({ port, host: "127.0.0.1", exclusive: true });
  const free = await Promise.race([
    once(server, "listening").then(() => true),
    once(server, "error").then(() => false),
  ]).catch(() => false);
  await close(server);
  return free;
}

const close = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    server.close(() => resolve());
  });

/** That many different free ports. */
export async function freePorts(count: number): Promise<number[]> {
  const found = new Set<number>();
  for (let attempt = 0; found.size < count && attempt < attempts; attempt += 1) {
    const port = randomInt(firstPort, endPort);
    if (!found.has(port) && (await isFree(port))) found.add(port);
  }
  if (found.size < count) throw new Error(`found no ${count} free ports on 127.0.0.1`);
  return [...found];
}
