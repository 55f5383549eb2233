/** The program `machine` as a child process: waits for what it reports, and runs programs in a node. */
import { execFile } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { promisify } from "node:util";
import { type Daemon, startDaemon, unlessItDies } from "../daemon.ts";
import { waitFor } from "../wait.ts";

const readyTimeoutMs = 30_000;

export interface MachineOptions<Name extends string> {
  readonly name: Name;
  /** Path of the program `machine`. */
  readonly machine: string;
  readonly args: readonly string[];
  readonly logFile: string;
  readonly background: boolean;
  /** What it writes when it is ready. */
  readonly readyFile: string;
}

export interface Started<Name extends string> {
  readonly daemon: Daemon<Name>;
  readonly ready: string;
}

/** Fulfils when the ready file is there; throws with the end of the log when the program ends first. */
export async function startMachine<Name extends string>(
  options: MachineOptions<Name>,
): Promise<Started<Name>> {
  const { name, machine, args, logFile, background, readyFile } = options;
  rmSync(readyFile, { force: true });
  const daemon = startDaemon({ name, command: machine, args, logFile, background });
  const reported = waitFor(() => readReport(readyFile), {
    what: `${name} to be ready`,
    timeoutMs: readyTimeoutMs,
    intervalMs: 10,
  });
  return { daemon, ready: await unlessItDies(daemon, logFile, reported) };
}

/** Undefined while there is no report, or half of one. */
export function readReport(file: string): string | undefined {
  try {
    const text = readFileSync(file, "utf8");
    return text.endsWith("\n") ? text.trim() : undefined;
  } catch {
    return undefined;
  }
}

const runTimeoutMs = 30_000;

/** Runs a program in the node whose first process this is, and returns its output. */
export async function runInNode(
  machine: string,
  firstPid: number,
  command: readonly string[],
): Promise<string> {
  const args = ["enter", "-target", String(firstPid), "--", ...command];
  const options = { timeout: runTimeoutMs, maxBuffer: 16 * 1024 * 1024 };
  return (await promisify(execFile)(machine, args, options)).stdout;
}
