/** What a machine shows of real nodes: processes, cgroups, network interfaces, mounts. */
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import type { RealNode } from "../../../dev/local/real-nodes/real-node.ts";
import { kubeletConfigFile } from "../../../dev/local/real-nodes/node-files.ts";
import { identityOf } from "../../../dev/local/processes.ts";

const namespaceOf = (pid: number | string): string | undefined => {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch {
    return undefined;
  }
};

/** Pids of all that runs in the node, its containers included: they are in its namespace or in one below it. */
export function processesIn(node: RealNode): readonly number[] {
  const kubelet = node.pid("kubelet");
  const own = kubelet === undefined ? undefined : namespaceOf(kubelet);
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  const direct = pids.filter((pid) => own !== undefined && namespaceOf(pid) === own).map(Number);
  return [...direct, ...processesInCgroup(cgroupOf(node))];
}

/** Name of the cgroup that is the root for the node's kubelet. */
export function cgroupOf(node: RealNode): string {
  const config: { cgroupRoot: string } = JSON.parse(
    readFileSync(join(node.root, kubeletConfigFile), "utf8"),
  );
  return config.cgroupRoot.slice(1);
}

const hierarchies = (): readonly string[] =>
  readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => / - cgroup2? /.test(line))
    .map((line) => line.split(" ")[4] ?? "");

/** Folders of a cgroup that are there. */
export const cgroupFolders = (name: string): readonly string[] =>
  hierarchies()
    .map((hierarchy) => join(hierarchy, name))
    .filter((folder) => existsSync(folder));

function processesInCgroup(name: string): number[] {
  const files = cgroupFolders(name).flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith("cgroup.procs"))
      .map((file) => join(folder, file)),
  );
  const pids = files.flatMap((file) => readFileSync(file, "utf8").split("\n").filter(Boolean));
  return [...new Set(pids.map(Number))];
}

export const alive = (pids: readonly number[]): readonly number[] =>
  pids.filter((pid) => identityOf(pid) !== undefined);

export const networkInterfaces = (): readonly string[] => readdirSync("/sys/class/net").sort();

/** Mounts of this process, those that name the folder. */
export const mountsBelow = (folder: string): readonly string[] =>
  readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => line.includes(folder));
