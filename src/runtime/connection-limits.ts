/**
 * Limits what one address takes of a server before it has said anything: a connection holds a place, and a TLS handshake
 * costs about a millisecond of the event loop.
 */
import type { Server, Socket } from "node:net";
import { Counts } from "./bounded-map.ts";
import type { Clock } from "./clock.ts";
import { TokenBuckets } from "./token-buckets.ts";

export interface ConnectionLimits {
  /** Maximum number of open connections of one address. */
  readonly connections: number;
  /** Maximum rate of new connections of one address. */
  readonly perSecond: number;
  /** Number of new connections at once. */
  readonly burst: number;
}

const rememberedAddresses = 4096;

/** Call it before the server listens. Connections beyond the limits are closed before the server sees them. */
export function limitConnections(server: Server, limits: ConnectionLimits, clock: Clock): void {
  const { connections, perSecond, burst } = limits;
  const rates = new TokenBuckets({ clock, perSecond, burst, capacity: rememberedAddresses });
  const open = new Counts();
  const enter = (socket: Socket): boolean => {
    const address = socket.remoteAddress;
    if (address === undefined) return false; // it has gone
    if (open.of(address) >= connections || rates.take(address) > 0) return false;
    open.add(address);
    socket.once("close", () => open.remove(address));
    return true;
  };
  const listeners = server.listeners("connection");
  server.removeAllListeners("connection");
  server.on("connection", (socket: Socket) => {
    if (!enter(socket)) {
      socket.destroy();
      return;
    }
    for (const listener of listeners) Reflect.apply(listener, server, [socket]);
  });
}
