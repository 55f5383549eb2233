/** kubectl as a user runs it, in the project's root. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { Cluster } from "../../dev/local/cluster.ts";
import { projectRoot } from "../../dev/local/paths.ts";

const timeoutMs = 120_000;
const maxBuffer = 16 * 1024 * 1024;

export interface Output {
  readonly stdout: string;
  readonly stderr: string;
}

export const runInProject = (command: string, args: readonly string[]): Promise<Output> =>
  promisify(execFile)(command, args, { cwd: projectRoot, timeout: timeoutMs, maxBuffer });

export const kubectl = (cluster: Cluster, ...args: readonly string[]): Promise<Output> =>
  runInProject(cluster.kubectl, [`--kubeconfig=${cluster.kubeconfig}`, ...args]);

/** What `kubectl get -o json` returns of one object or a list. */
export async function read<T>(cluster: Cluster, ...args: readonly string[]): Promise<T> {
  return JSON.parse((await kubectl(cluster, "get", "--output=json", ...args)).stdout) as T;
}
