import type { AddressInfo, Server } from "node:net";

export interface ListenOptions {
  readonly address: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** What address and port are set by, for messages. */
  readonly settings: { readonly address: string; readonly port: string };
}

/** Fulfils with the port when the server listens; an error says which setting to change. */
export async function listen(server: Server, options: ListenOptions): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => reject(explained(error, options)));
    server.listen(options.port, options.address, () => resolve());
  });
  return (server.address() as AddressInfo).port;
}

function explained(error: Error, { address, port, settings }: ListenOptions): Error {
  const cure = cureOf("code" in error ? error.code : undefined, settings);
  return new Error(`cannot listen on ${address}:${port}: ${cure ?? error.message}`, {
    cause: error,
  });
}

function cureOf(code: unknown, settings: ListenOptions["settings"]): string | undefined {
  switch (code) {
    case "EADDRINUSE":
      return `another process has the port (EADDRINUSE): set ${settings.port} to a free one, or to 0`;
    case "EACCES":
      return `this user may not have the port (EACCES): set ${settings.port} to one above 1023`;
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
      return `this machine has no such address (${code}): set ${settings.address} to one it has`;
    default:
      return undefined;
  }
}
