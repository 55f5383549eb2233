/** `.local/env`: what a shell needs to use the local environment. */
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface LocalEnvironment {
  readonly kubeconfig: string;
  readonly databaseUrl: string;
  /** Of the local cluster; a cluster from elsewhere comes with the user's own. */
  readonly kubectl?: string;
}

export function writeEnvironment(folder: string, environment: LocalEnvironment): void {
  const bin = join(folder, "bin");
  rmSync(bin, { recursive: true, force: true });
  mkdirSync(bin, { recursive: true });
  if (environment.kubectl) symlinkSync(environment.kubectl, join(bin, "kubectl"));
  // It holds the database's password.
  writeFileSync(join(folder, "env"), environmentScript(environment, bin), { mode: 0o600 });
}

export const removeEnvironment = (folder: string): void => {
  for (const name of ["env", "bin"]) rmSync(join(folder, name), { recursive: true, force: true });
};

export function environmentScript(environment: LocalEnvironment, bin: string): string {
  const lines = [
    "# Written by npm run local:up; use it with: source .local/env",
    `export KUBECONFIG=${quote(environment.kubeconfig)}`,
    `export DATABASE_URL=${quote(environment.databaseUrl)}`,
  ];
  if (environment.kubectl) {
    lines.push(
      `case ":$PATH:" in *:${quote(bin)}:*) ;; *) export PATH=${quote(bin)}:"$PATH" ;; esac`,
    );
  }
  return `${lines.join("\n")}\n`;
}

/** For a POSIX shell: nothing inside single quotes is special but the quote itself. */
export const quote = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`;
