/** kubectl as a user runs it, in the project's root. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { Cluster } from "../../dev/local/cluster.ts";
import { projectRoot } from "../../dev/local/paths.ts";

/** Longer than the waits that a command itself is given. */
const timeoutMs = 90_000;
const maxBuffer = 16 * 1024 * 1024;

export interface Output {
  readonly stdout: string;
  readonly stderr: string;
}

/** Kills the command if it does not end in time; its output so far is kept. */
export async function runInProject(command: string, args: readonly string[]): Promise<Output> {
  try {
    return await promisify(execFile)(command, args, {
      cwd: projectRoot,
      timeout: timeoutMs,
      killSignal: "SIGKILL",
      maxBuffer,
    });
  } catch (error) {
    if (!(error instanceof Error) || !("killed" in error) || error.killed !== true) throw error;
    const { stdout = "", stderr = "" } = error as Partial<Output>;
    const line = [command, ...args].join(" ");
    throw new Error(`no end within ${timeoutMs / 1000} s: ${line}\n${stdout}${stderr}`, {
      cause: error,
    });
  }
}

export const kubectl = (cluster: Cluster, ...args: readonly string[]): Promise<Output> =>
  runInProject(cluster.kubectl, [`--kubeconfig=${cluster.kubeconfig}`, ...args]);

/** The parsed result of `kubectl get -o json`: one object or a list. */
export async function read<T>(cluster: Cluster, ...args: readonly string[]): Promise<T> {
  return JSON.parse((await kubectl(cluster, "get", "--output=json", ...args)).stdout) as T;
}
