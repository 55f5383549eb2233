import type { AddressInfo, Server } from "node:net";

export interface ListenOptions {
  readonly address: string;
  /** 0 selects a free port. */
  readonly port: number;
  /** Names of the settings, for error messages. */
  readonly settings: { readonly address: string; readonly port: string };
}

/** Resolves to the port once the server listens. Throws an Error that names the setting to change. */
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
      return `the port is in use (EADDRINUSE): set ${settings.port} to a free port, or to 0`;
    case "EACCES":
      return `permission denied for the port (EACCES): set ${settings.port} to a port above 1023`;
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
      return `the address is not available on this machine (${code}): set ${settings.address} to a local address`;
    default:
      return undefined;
  }
}
