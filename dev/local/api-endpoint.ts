/** Where a local operator serves its HTTP API: a port and a certificate that stay the same while the folder exists. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { makeKeyPair } from "../../src/http/serving-certificate.ts";
import { freePorts } from "./ports.ts";

export interface ApiEndpoint {
  readonly url: string;
  readonly port: number;
  /** PEM; self-signed, so that it is its own authority. */
  readonly certFile: string;
  readonly keyFile: string;
}

/** Takes a free port and makes a certificate for 127.0.0.1, unless the folder has both. */
export async function ensureApiEndpoint(folder: string): Promise<ApiEndpoint> {
  const portFile = join(folder, "port");
  const certFile = join(folder, "tls.crt");
  const keyFile = join(folder, "tls.key");
  if (!existsSync(portFile)) {
    mkdirSync(folder, { recursive: true });
    const { cert, key } = await makeKeyPair(Temporal.Now.instant());
    const [port = 0] = await freePorts(1);
    writeFileSync(certFile, cert);
    writeFileSync(keyFile, key, { mode: 0o600 });
    // Written last: a folder that was left half done is done again.
    writeFileSync(portFile, String(port));
  }
  const port = Number(readFileSync(portFile, "utf8"));
  return { url: `https://127.0.0.1:${port}`, port, certFile, keyFile };
}
