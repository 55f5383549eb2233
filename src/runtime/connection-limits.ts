/**
 * Limits what one address takes of a server before it has said anything: a connection holds a place, and a TLS handshake
 * costs about a millisecond of the event loop.
 */
import type { Server, Socket } from "node:net";
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
  const open = new Map<string, number>();
  const leave = (address: string): void => {
    const left = (open.get(address) ?? 1) - 1;
    if (left > 0) open.set(address, left);
    else open.delete(address);
  };
  const enter = (socket: Socket): boolean => {
    const address = socket.remoteAddress;
    if (address === undefined) return false; // it has gone
    const others = open.get(address) ?? 0;
    if (others >= connections || rates.take(address) > 0) return false;
    open.set(address, others + 1);
    socket.once("close", () => leave(address));
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
