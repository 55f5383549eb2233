/** Starts a long-running program that logs to a file. */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { identityOf, type ProcessRecord } from "./processes.ts";
import { guard, release } from "./watchdog.ts";

export interface DaemonOptions<Name extends string = string> {
  readonly name: Name;
  readonly command: string;
  readonly args: readonly string[];
  readonly logFile: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Lives on when this process ends; otherwise it dies with it, also on SIGKILL. */
  readonly background: boolean;
  /** What a guarded program gets when this process dies. */
  readonly lastSignal?: "KILL" | "QUIT";
  readonly uid?: number;
  readonly gid?: number;
}

export interface Daemon<Name extends string = string> extends ProcessRecord {
  readonly name: Name;
  /** Fulfilled when the program ends. */
  readonly ended: Promise<string>;
}

// The program starts only once its pid is guarded: a shell waits for a line and then becomes the
// program. When we die before that line, the shell reads the end of the pipe and ends.
const gate = `
read -r go || { echo "whoever starts $1 left before it began" >&2; exit 1; }
exec "$@" </dev/null
`;

export function startDaemon<Name extends string>(options: DaemonOptions<Name>): Daemon<Name> {
  const child = options.background ? spawnInBackground(options) : spawnGuarded(options);
  const ended = new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, signal) => resolve(signal ?? `status ${code ?? "unknown"}`));
  });
  child.unref();
  const { name } = options;
  // Without a pid the start failed, and `ended` says why.
  if (child.pid === undefined) return { name, pid: 0, identity: "", ended };
  return { name, pid: child.pid, identity: identityOf(child.pid) ?? "", ended };
}

function spawnInBackground(options: DaemonOptions): ChildProcess {
  return withLog(options.logFile, (log) =>
    spawn(options.command, options.args, { ...spawnOptions(options), stdio: ["ignore", log, log] }),
  );
}

function spawnGuarded(options: DaemonOptions): ChildProcess {
  const args = ["-c", gate, "sh", options.command, ...options.args];
  const child = withLog(options.logFile, (log) =>
    spawn("/bin/sh", args, { ...spawnOptions(options), stdio: ["pipe", log, log] }),
  );
  const { pid } = child;
  if (pid === undefined) return child;
  guard(pid, options.lastSignal ?? "KILL");
  child.once("exit", () => release(pid));
  child.stdin?.on("error", () => undefined);
  child.stdin?.end("go\n");
  return child;
}

// A process group of its own: Ctrl-C on the terminal reaches us alone, and we stop in order.
const spawnOptions = ({ env, uid, gid }: DaemonOptions) => ({
  cwd: "/",
  detached: true,
  env: { ...process.env, ...env },
  ...(uid === undefined ? {} : { uid }),
  ...(gid === undefined ? {} : { gid }),
});

function withLog<T>(file: string, action: (descriptor: number) => T): T {
  mkdirSync(dirname(file), { recursive: true });
  const descriptor = openSync(file, "a");
  try {
    return action(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** The last lines of a log, for an error message. */
export function endOfLog(file: string, lines = 15): string {
  const text = existsSync(file) ? readFileSync(file, "utf8") : "";
  return text.trimEnd().split("\n").slice(-lines).join("\n");
}

/** Fulfils with the action, or throws with the end of the log when the program ends first. */
export async function unlessItDies<T>(
  daemon: Daemon,
  logFile: string,
  action: Promise<T>,
): Promise<T> {
  const death = daemon.ended.then((how) => {
    throw new Error(
      `${daemon.name} ended at its start (${how}); the end of ${logFile}:\n${endOfLog(logFile)}`,
    );
  });
  // Whichever loses the race must not surface as an unhandled rejection.
  action.catch(() => undefined);
  death.catch(() => undefined);
  return Promise.race([action, death]);
}
