/** Builds a folder of programs once for each content of its sources, and keeps it for all checkouts while it is used. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { buildingFolder, lockOf, markUsed, removeForgotten } from "./cached-builds.ts";
import { formatElapsed } from "./duration.ts";
import { withLock } from "./lock.ts";
import { startProgress, type Progress } from "./progress.ts";

export interface Built {
  /** In words, as in "Building NAME". */
  readonly name: string;
  readonly typicalTime: string;
  /** What `go list -deps` counts; only for the progress line. */
  readonly packageCount: number;
  /** Puts the programs into the folder; tells each line that the build prints. */
  readonly build: (folder: string, onLine: (line: string) => void) => Promise<void>;
}

/** Returns when the folder is there, complete; of several processes one builds and the others wait. */
export async function builtOnce(folder: string, built: Built): Promise<void> {
  if (await markUsed(folder)) return;
  let waiting: Progress | undefined;
  const onWait = (pid: number): void => {
    waiting ??= startProgress(`Waiting for process ${pid}, which builds ${built.name}`);
  };
  const build = async (): Promise<boolean> => {
    waiting?.end();
    if (existsSync(folder)) return false;
    await buildInto(folder, built);
    return true;
  };
  const hasBuilt = await withLock(lockOf(folder), build, { onWait });
  if (hasBuilt) await removeForgotten(folder);
}

/** Built beside its place and renamed, so that a folder that is there is complete. */
async function buildInto(folder: string, built: Built): Promise<void> {
  const temporary = buildingFolder(folder);
  rmSync(temporary, { recursive: true, force: true });
  mkdirSync(temporary, { recursive: true });
  const progress = startProgress(`Building ${built.name} (${built.typicalTime})`);
  const started = performance.now();
  try {
    await built.build(temporary, describeLines(progress, built.packageCount));
  } finally {
    progress.end();
  }
  renameSync(temporary, folder);
  const elapsed = formatElapsed(performance.now() - started);
  process.stderr.write(`Built ${built.name} in ${elapsed}; kept in ${folder}\n`);
}

function describeLines(progress: Progress, packageCount: number): (line: string) => void {
  let compiled = 0;
  return (line) => {
    if (line.startsWith("go: ")) return progress.update(line.slice("go: ".length));
    compiled += 1;
    progress.update(`${compiled} of about ${packageCount} packages, now ${line}`);
  };
}

/** A short hash of the sources and of what else the programs depend on. */
export function contentKey(
  sources: Readonly<Record<string, string>>,
  settings: readonly string[],
): string {
  const ordered = Object.entries(sources).sort(([a], [b]) => (a < b ? -1 : 1));
  const platform = [process.platform, process.arch];
  return createHash("sha256")
    .update(JSON.stringify([ordered, settings, platform]))
    .digest("hex")
    .slice(0, 16);
}

/** The sources of a Go module's top folder, by name. */
export function readSources(moduleFolder: string): Record<string, string> {
  const names = readdirSync(moduleFolder).filter((name) => /\.go$|^go\.(mod|sum)$/.test(name));
  return Object.fromEntries(
    names.map((name) => [name, readFileSync(join(moduleFolder, name), "utf8")]),
  );
}
