/** Certificates of a local cluster, issued by the `certs` part of the Go binary. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Made once per cluster: service account tokens and kubeconfigs in use stay valid over restarts. */
export async function ensureCertificates(certs: string, directory: string): Promise<void> {
  // Written last, so that a folder that was left half done is done again.
  if (existsSync(join(directory, "service-account.key"))) return;
  await run(certs, ["init", directory]);
}

export async function issueUser(
  certs: string,
  directory: string,
  name: string,
  groups: readonly string[],
): Promise<void> {
  await run(certs, ["user", directory, name, ...groups]);
}
