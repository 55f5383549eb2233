/** A TCP proxy on loopback that breaks connections like real networks do. It does not interpret the traffic. */
import { once } from "node:events";
import { connect, createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";

/**
 * - `pass`: bytes flow.
 * - `stall`: connections stay open and new ones are accepted, but no bytes flow in either direction (a black hole).
 * - `slow`: bytes flow to the client at `bytesPerSecond` per connection.
 * - `cut`: connections are reset, new ones too (a partition with a firewall that rejects).
 */
export type FaultMode =
  | { readonly kind: "pass" }
  | { readonly kind: "stall" }
  | { readonly kind: "slow"; readonly bytesPerSecond: number }
  | { readonly kind: "cut" };

export interface FaultProxy {
  readonly port: number;
  /** Number of open connections. */
  readonly connections: number;
  /** Number of connections accepted so far. */
  readonly accepted: number;
  setMode(mode: FaultMode): void;
  /** Resets (RST) the connections for which `choose` returns true; by default all. Returns how many. */
  reset(choose?: () => boolean): number;
  /** Closes the server's half (FIN) of every connection; the client's half stays open. */
  halfClose(): void;
  close(): Promise<void>;
}

const slowTickMilliseconds = 50;

class Link {
  readonly #client: Socket;
  readonly #server: Socket;
  #mode: FaultMode = { kind: "pass" };
  #timer: NodeJS.Timeout | undefined;
  #queue: Buffer[] = [];

  constructor(client: Socket, server: Socket, onClose: () => void) {
    this.#client = client;
    this.#server = server;
    for (const socket of [client, server]) socket.setNoDelay(true);
    client.on("data", (chunk: Buffer) => void server.write(chunk));
    client.on("end", () => server.end());
    server.on("data", (chunk: Buffer) => this.#forward(chunk));
    server.on("end", () => this.#endClient());
    // Errors on one side are expected; they end both sides.
    client.on("error", () => this.reset());
    server.on("error", () => this.reset());
    client.on("close", () => {
      this.#stopTimer();
      server.destroy();
      onClose();
    });
    server.on("close", () => this.#endClient());
  }

  setMode(mode: FaultMode): void {
    this.#mode = mode;
    this.#stopTimer();
    if (mode.kind === "cut") {
      this.reset();
      return;
    }
    if (mode.kind === "slow") {
      this.#timer = setInterval(() => this.#trickle(mode.bytesPerSecond), slowTickMilliseconds);
    }
    this.#setFlowing(mode.kind !== "stall");
    if (mode.kind === "pass") this.#release();
  }

  reset(): void {
    this.#client.resetAndDestroy();
    this.#server.destroy();
  }

  halfClose(): void {
    this.#client.end();
    this.#server.destroy();
  }

  #setFlowing(flowing: boolean): void {
    for (const socket of [this.#client, this.#server]) {
      if (flowing) socket.resume();
      else socket.pause();
    }
  }

  #forward(chunk: Buffer): void {
    if (this.#mode.kind !== "slow") {
      this.#client.write(chunk);
      return;
    }
    this.#queue.push(chunk);
    this.#server.pause();
  }

  #trickle(bytesPerSecond: number): void {
    let budget = Math.ceil((bytesPerSecond * slowTickMilliseconds) / 1000);
    while (budget > 0) {
      const chunk = this.#queue.shift();
      if (!chunk) break;
      this.#client.write(chunk.subarray(0, budget));
      if (chunk.length > budget) this.#queue.unshift(chunk.subarray(budget));
      budget -= chunk.length;
    }
    if (this.#queue.length === 0) this.#server.resume();
  }

  #release(): void {
    for (const chunk of this.#queue) this.#client.write(chunk);
    this.#queue = [];
  }

  #endClient(): void {
    if (this.#mode.kind === "stall") return;
    this.#release();
    this.#client.end();
  }

  #stopTimer(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

class TcpFaultProxy implements FaultProxy {
  readonly #server: Server;
  readonly #targetPort: number;
  readonly #links = new Set<Link>();
  #mode: FaultMode = { kind: "pass" };
  accepted = 0;

  constructor(targetPort: number) {
    this.#targetPort = targetPort;
    // Half-open, so that the end of one direction does not end the other.
    this.#server = createServer({ allowHalfOpen: true }, (client) => this.#accept(client));
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get connections(): number {
    return this.#links.size;
  }

  async listen(): Promise<void> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
  }

  setMode(mode: FaultMode): void {
    this.#mode = mode;
    for (const link of this.#links) link.setMode(mode);
  }

  reset(choose: () => boolean = () => true): number {
    const chosen = [...this.#links].filter(choose);
    for (const link of chosen) link.reset();
    return chosen.length;
  }

  halfClose(): void {
    for (const link of this.#links) link.halfClose();
  }

  async close(): Promise<void> {
    this.reset();
    this.#server.close();
    await once(this.#server, "close");
  }

  #accept(client: Socket): void {
    this.accepted += 1;
    const server = connect({ port: this.#targetPort, host: "127.0.0.1", allowHalfOpen: true });
    const link = new Link(client, server, () => this.#links.delete(link));
    this.#links.add(link);
    link.setMode(this.#mode);
  }
}

/** Starts a proxy on a free loopback port in front of `targetPort`. */
export async function startFaultProxy(targetPort: number): Promise<FaultProxy> {
  const proxy = new TcpFaultProxy(targetPort);
  await proxy.listen();
  return proxy;
}
