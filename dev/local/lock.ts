/** A lock file between processes; one left by a dead process is taken over. */
import {
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { identityOf } from "./processes.ts";

const heartbeatMs = 5_000;
// A holder elsewhere (a container with the same home) shows that it lives by touching the file.
const staleAfterMs = 60_000;
const pollMs = 300;

interface Holder {
  readonly host: string;
  readonly pid: number;
  readonly identity: string;
}

export interface LockOptions {
  /** Called about three times a second while another process holds the lock. */
  readonly onWait?: (holderPid: number) => void;
}

export async function withLock<T>(
  file: string,
  action: () => Promise<T>,
  { onWait }: LockOptions = {},
): Promise<T> {
  mkdirSync(dirname(file), { recursive: true });
  while (!tryLock(file)) {
    const holder = readHolder(file);
    if (holder === undefined || isStale(file, holder)) removeStale(file, holder);
    else onWait?.(holder.pid);
    await delay(pollMs);
  }
  const heartbeat = setInterval(() => touch(file), heartbeatMs);
  heartbeat.unref();
  try {
    return await action();
  } finally {
    clearInterval(heartbeat);
    rmSync(file, { force: true });
  }
}

/** link() makes the file appear with its content, or fails: nobody reads a half-written holder. */
function tryLock(file: string): boolean {
  const own = `${file}.${process.pid}`;
  const holder: Holder = {
    host: hostname(),
    pid: process.pid,
    identity: identityOf(process.pid) ?? "",
  };
  writeFileSync(own, JSON.stringify(holder));
  try {
    linkSync(own, file);
    return true;
  } catch {
    return false;
  } finally {
    rmSync(own, { force: true });
  }
}

function readHolder(file: string): Holder | undefined {
  try {
    const { host, pid, identity }: Partial<Holder> = JSON.parse(readFileSync(file, "utf8"));
    return host === undefined || pid === undefined || identity === undefined
      ? undefined
      : { host, pid, identity };
  } catch {
    return undefined;
  }
}

function isStale(file: string, holder: Holder): boolean {
  if (holder.host === hostname()) return identityOf(holder.pid) !== holder.identity;
  const modified = statSync(file, { throwIfNoEntry: false })?.mtimeMs;
  return modified !== undefined && Date.now() - modified > staleAfterMs;
}

/** Two processes may find the lock stale at once: the slower one must not remove the lock of the faster. */
function removeStale(file: string, seen: Holder | undefined): void {
  const aside = `${file}.stale.${process.pid}`;
  try {
    renameSync(file, aside);
    const taken = readHolder(aside);
    if (taken?.pid !== seen?.pid || taken?.identity !== seen?.identity) linkSync(aside, file);
  } catch {
    // Somebody else removed it first.
  } finally {
    rmSync(aside, { force: true });
  }
}

function touch(file: string): void {
  try {
    utimesSync(file, new Date(), new Date());
  } catch {
    // Removed by hand: the work goes on, since the lock only saves double work.
  }
}
