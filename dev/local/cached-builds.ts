/** Versions of built programs in the cache, each in a folder NAME-KEY: used ones are marked, forgotten ones removed. */
import { readdirSync, renameSync, rmSync, statSync, utimesSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { withLock } from "./lock.ts";

const dayMs = 86_400_000;
const keptDays = 30;
/** Marking costs a lock; so it is done once a day. */
const markedForDays = 1;

const buildingSuffix = ".building";

/** Whoever builds, marks or removes a version holds its lock. */
export const lockOf = (folder: string): string => `${folder}.lock`;

/** Where a version is built before it is put into its place. */
export const buildingFolder = (folder: string): string => `${folder}${buildingSuffix}`;

function unusedDays(folder: string): number | undefined {
  const markedMs = statSync(folder, { throwIfNoEntry: false })?.mtimeMs;
  return markedMs === undefined ? undefined : (Date.now() - markedMs) / dayMs;
}

/** False when there is no such version. Once it is true, nobody removes the version for a month less a day. */
export async function markUsed(folder: string): Promise<boolean> {
  const days = unusedDays(folder);
  if (days === undefined) return false;
  if (days < markedForDays) return true;
  return withLock(lockOf(folder), async () => {
    if (unusedDays(folder) === undefined) return false;
    utimesSync(folder, new Date(), new Date());
    return true;
  });
}

/** Removes the other versions of the folder's program that nobody has used for a month. */
export async function removeForgotten(folder: string): Promise<void> {
  const cache = dirname(folder);
  const program = basename(folder).replace(/-[0-9a-f]+$/, "");
  const version = new RegExp(`^${program}-[0-9a-f]{16}(\\${buildingSuffix})?$`);
  const found = readdirSync(cache).filter((name) => version.test(name));
  for (const name of found) {
    const other = join(cache, name);
    if (other !== folder && isForgotten(other)) await remove(other);
  }
}

const isForgotten = (folder: string): boolean => (unusedDays(folder) ?? 0) > keptDays;

async function remove(folder: string): Promise<void> {
  const version = folder.endsWith(buildingSuffix)
    ? folder.slice(0, -buildingSuffix.length)
    : folder;
  await withLock(lockOf(version), async () => {
    if (!isForgotten(folder)) return;
    // Out of the way at once: a folder that is there is complete, also for who looks without the lock.
    const aside = `${folder}.removed`;
    renameSync(folder, aside);
    rmSync(aside, { recursive: true, force: true });
    process.stderr.write(`Removed ${folder}, which was not used for ${keptDays} days\n`);
  });
}
