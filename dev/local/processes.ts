/** Processes known by pid: is it still the one we started, and how to end it. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { waitFor } from "./wait.ts";

export interface ProcessRecord {
  readonly name: string;
  readonly pid: number;
  /** Tells this process from a later one that got the same pid. */
  readonly identity: string;
}

/** Start time of a live process, undefined when there is none; a zombie is not alive. */
export function identityOf(pid: number): string | undefined {
  return process.platform === "linux" ? identityFromProc(pid) : identityFromPs(pid);
}

function identityFromProc(pid: number): string | undefined {
  const stat = readIfThere(`/proc/${pid}/stat`);
  // The command name (field 2, in parentheses) may hold spaces: count from behind it.
  const fields = stat?.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state, threads, startTicks] = [fields?.[0], fields?.[17], fields?.[19]];
  // The first thread may be gone while others still end: until then the process has its ports.
  const isZombie = state === "Z" && Number(threads) <= 1;
  if (!startTicks || isZombie || state === "X") return undefined;
  const bootId = readIfThere("/proc/sys/kernel/random/boot_id")?.trim() ?? "";
  return `${bootId}:${startTicks}`;
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}

function identityFromPs(pid: number): string | undefined {
  try {
    const output = execFileSync("ps", ["-o", "stat=,lstart=", "-p", String(pid)], {
      encoding: "utf8",
    }).trim();
    return output === "" || output.startsWith("Z") ? undefined : output.replace(/^\S+\s+/, "");
  } catch {
    return undefined;
  }
}

export const isRunning = ({ pid, identity }: ProcessRecord): boolean =>
  identityOf(pid) === identity;

/** Sends a signal if the process is still ours; says whether it was sent. */
export function sendSignal(record: ProcessRecord, signal: NodeJS.Signals): boolean {
  if (!isRunning(record)) return false;
  try {
    return process.kill(record.pid, signal);
  } catch {
    return false;
  }
}

const killTimeoutMs = 10_000;

/** Ends a process: the signal, and SIGKILL when it has not gone within the grace. */
export async function endProcess(
  record: ProcessRecord,
  signal: NodeJS.Signals,
  graceMs: number,
): Promise<void> {
  if (!sendSignal(record, signal)) return;
  const isGone = (): boolean => !isRunning(record);
  const what = `${record.name} (pid ${record.pid}) to end`;
  if (signal !== "SIGKILL") {
    const went = await waitFor(isGone, { what, timeoutMs: graceMs, intervalMs: 20 }).catch(
      () => false,
    );
    if (went) return;
    sendSignal(record, "SIGKILL");
  }
  await waitFor(isGone, { what, timeoutMs: killTimeoutMs, intervalMs: 10 });
}
