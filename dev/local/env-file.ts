/** `.local/env`: what a shell needs to use the local environment, and the commands that it puts on the PATH. */
import { chmodSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ApiEndpoint } from "./api-endpoint.ts";
import { projectRoot } from "./paths.ts";

export interface LocalEnvironment {
  readonly kubeconfig: string;
  readonly databaseUrl: string;
  /** Of the local cluster; for a cluster of the user's, absent. */
  readonly kubectl?: string;
  /** Where the operator serves its HTTP API. */
  readonly api: ApiEndpoint;
}

/** Writes `env` and `bin` into the folder; returns the path of `env`. */
export function writeEnvironment(folder: string, environment: LocalEnvironment): string {
  const bin = join(folder, "bin");
  rmSync(bin, { recursive: true, force: true });
  mkdirSync(bin, { recursive: true });
  if (environment.kubectl) symlinkSync(environment.kubectl, join(bin, "kubectl"));
  writePlugin(join(bin, "kubectl-rota"));
  const file = join(folder, "env");
  // It holds the database's password.
  writeFileSync(file, environmentScript(environment, bin), { mode: 0o600 });
  return file;
}

/** `kubectl rota` from the sources, on the project's own Node. */
function writePlugin(file: string): void {
  const node = join(projectRoot, "node_modules", ".bin", "node");
  const program = join(projectRoot, "src", "cli", "main.ts");
  writeFileSync(file, `#!/bin/sh\nexec ${quote(node)} ${quote(program)} "$@"\n`);
  chmodSync(file, 0o755);
}

export const removeEnvironment = (folder: string): void => {
  for (const name of ["env", "bin"]) rmSync(join(folder, name), { recursive: true, force: true });
};

export function environmentScript(environment: LocalEnvironment, bin: string): string {
  const { kubeconfig, databaseUrl, api } = environment;
  const variables = {
    KUBECONFIG: kubeconfig,
    DATABASE_URL: databaseUrl,
    ROTA_LOG_FORMAT: "pretty",
    // npm start serves the HTTP API there, and kubectl rota finds it.
    ROTA_API_PORT: String(api.port),
    ROTA_API_CERT_FILE: api.certFile,
    ROTA_API_KEY_FILE: api.keyFile,
    ROTA_SERVER: api.url,
    ROTA_CERTIFICATE_AUTHORITY: api.certFile,
  };
  const lines = [
    "# Written by npm run local:up; use it with: source .local/env",
    ...Object.entries(variables).map(([name, value]) => `export ${name}=${quote(value)}`),
    `case ":$PATH:" in *:${quote(bin)}:*) ;; *) export PATH=${quote(bin)}:"$PATH" ;; esac`,
  ];
  return `${lines.join("\n")}\n`;
}

/** For a POSIX shell: nothing inside single quotes is special but the quote itself. */
export const quote = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`;
