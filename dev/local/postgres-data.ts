/** The data folder of a local PostgreSQL: where it is, and making it. */
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { type Account, assertOwn, isReachable } from "./postgres-account.ts";
import type { PostgresBinaries } from "./postgres-binaries.ts";

const run = promisify(execFile);

export const superuser = "postgres";

/**
 * The folder itself. When another account must reach it and cannot (a checkout below /root), it is
 * a link to a folder elsewhere, of a name that nobody could prepare.
 */
export function dataFolder(directory: string, account: Account | undefined): string {
  const link = join(directory, "data");
  if (!existsSync(link)) {
    rmSync(link, { force: true });
    // A folder of mkdtemp lets nobody through; this one is ours to open.
    if (account) chmodSync(directory, 0o711);
    if (account && !isReachable(directory)) symlinkSync(makeElsewhere(), link);
    else mkdirSync(link, { mode: 0o700 });
  }
  return realpathSync(link);
}

function makeElsewhere(): string {
  const outer = mkdtempSync("/var/tmp/rota-postgres-data-");
  assertOwn(outer);
  chmodSync(outer, 0o755);
  const folder = join(outer, "data");
  mkdirSync(folder, { mode: 0o700 });
  return folder;
}

/** Removes a data folder that is kept elsewhere; one that is not goes with its directory. */
export function removeElsewhere(directory: string, data: string): void {
  if (dirname(data) === realpathSync(directory)) return;
  rmSync(dirname(data), { recursive: true, force: true });
  rmSync(join(directory, "data"), { force: true });
  rmSync(join(directory, "password"), { force: true });
}

/** Runs initdb where it was not run yet; an unfinished one is done again. */
export async function initialiseData(
  binaries: PostgresBinaries,
  directory: string,
  data: string,
  account: Account | undefined,
): Promise<{ readonly password: string }> {
  const passwordFile = join(directory, "password");
  if (existsSync(passwordFile)) return { password: readFileSync(passwordFile, "utf8").trim() };
  const password = randomBytes(12).toString("hex");
  rmSync(data, { recursive: true, force: true });
  mkdirSync(data, { mode: 0o700 });
  if (account) chownSync(data, account.uid, account.gid);
  await initdb(binaries, data, password, account);
  writeFileSync(passwordFile, `${password}\n`, { mode: 0o600 });
  return { password };
}

async function initdb(
  { initdb: command }: PostgresBinaries,
  data: string,
  password: string,
  account: Account | undefined,
): Promise<void> {
  const args = [
    `--pgdata=${data}`,
    `--username=${superuser}`,
    "--auth=scram-sha-256",
    "--pwfile=/dev/stdin",
    "--encoding=UTF8",
    // The same sort order and messages on every machine.
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-sync",
  ];
  // Node gives a socket as standard input, which cannot be opened by name; the pipe behind cat can.
  const piped = ["-c", 'cat | "$@"', "sh", command, ...args];
  const started = run("/bin/sh", piped, { cwd: "/", ...account });
  started.child.stdin?.end(`${password}\n`);
  await started.catch((error: Error & { readonly stderr?: string }) => {
    throw new Error(`initdb failed: ${error.stderr?.trim() || error.message}`);
  });
}
