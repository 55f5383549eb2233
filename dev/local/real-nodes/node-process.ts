/** The processes of one real node: switching it on and off, starting and ending what runs in it. */
import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { unlessItDies } from "../daemon.ts";
import { readProcesses, recordProcess, writeProcesses } from "../process-file.ts";
import { endProcess, identityOf, isRunning, type ProcessRecord, sendSignal } from "../processes.ts";
import type { Toolchain } from "../control-plane-build.ts";
import { waitFor } from "../wait.ts";
import { prefixLength } from "./addresses.ts";
import { readReport, runInNode, startMachine } from "./machine.ts";
import { kubeletConfigFile, kubeletKubeconfig, kubeletPort } from "./node-files.ts";
import type { NodePrograms } from "./programs.ts";

export const nodeParts = ["containerd", "kubelet", "gpus"] as const;

export type NodePart = (typeof nodeParts)[number];

type NodeProcess = "node" | NodePart;

export interface NodeMachine {
  readonly name: string;
  readonly address: string;
  readonly gpus: number;
  readonly labels: Readonly<Record<string, string>>;
  /** State and logs. */
  readonly directory: string;
  /** Its root, as it is seen from outside. */
  readonly root: string;
  readonly programs: NodePrograms;
  readonly toolchain: Pick<Toolchain, "kubelet">;
  readonly background: boolean;
}

const answerTimeoutMs = 30_000;
const termGraceMs = 10_000;
const offGraceMs = 40_000;

const ctr = "/opt/node/bin/ctr";

/** Another name at each start: the former one may still be on its way out. */
export const newCgroupName = (node: string): string =>
  `rota-${node}-${randomBytes(4).toString("hex")}`;

const readyFile = ({ directory }: NodeMachine): string => join(directory, "ready");
export const logOf = ({ directory }: Pick<NodeMachine, "directory">, name: NodeProcess): string =>
  join(directory, "logs", `${name}.log`);

/** Makes the node's namespaces; nothing runs in it yet but its first process. */
export async function switchOn(node: NodeMachine, segment: string, cgroup: string): Promise<void> {
  const { name, address, directory, root, programs, toolchain, background } = node;
  const { daemon } = await startMachine({
    name: "node",
    machine: programs.machine,
    args: [
      "boot",
      `-name=${name}`,
      `-root=${root}`,
      `-cgroup=${cgroup}`,
      `-network=${segment}`,
      `-address=${address}/${prefixLength}`,
      `-bind=${programs.folder}:/opt/node`,
      `-bind=${dirname(toolchain.kubelet)}:/opt/kubernetes`,
      `-ready=${readyFile(node)}`,
    ],
    logFile: logOf(node, "node"),
    background,
    readyFile: readyFile(node),
  });
  recordProcess(directory, { name: "node", pid: daemon.pid, identity: daemon.identity });
}

/** Ends all that runs in the node; with SIGTERM nothing of it is left when this fulfils. */
export async function switchOff(
  { directory }: Pick<NodeMachine, "directory">,
  signal: NodeJS.Signals = "SIGTERM",
): Promise<readonly ProcessRecord[]> {
  const running = readProcesses(directory).filter(isRunning);
  const node = running.find(({ name }) => name === "node");
  if (node) await endProcess(node, signal, offGraceMs);
  // The kernel ends them with the node's first process; it takes them a moment.
  const others = running.filter((record) => record !== node);
  await Promise.all(others.map((record) => endProcess(record, "SIGKILL", 0)));
  writeProcesses(directory, []);
  return node ? [{ ...node, name: `node ${basename(directory)}` }] : [];
}

const commandOf: Readonly<Record<NodePart, (node: NodeMachine) => readonly string[]>> = {
  containerd: () => ["/opt/node/bin/containerd"],
  kubelet: ({ name, address, labels }) => [
    "/opt/kubernetes/kubelet",
    `--config=${kubeletConfigFile}`,
    `--kubeconfig=${kubeletKubeconfig}`,
    `--hostname-override=${name}`,
    `--node-ip=${address}`,
    `--node-labels=${Object.entries(labels)
      .map((pair) => pair.join("="))
      .join(",")}`,
    "--v=2",
  ],
  gpus: ({ gpus }) => ["/opt/node/bin/gpus", `-count=${gpus}`],
};

/** Starts a part that does not run; fulfils when it answers, and throws with the end of its log when it ends first. */
export async function startPart(node: NodeMachine, part: NodePart): Promise<void> {
  const { directory, programs, background } = node;
  const pidFile = join(directory, `${part}.pid`);
  const enter = ["enter", "-target", String(firstPid(node)), "-pid-file", pidFile, "--"];
  const logFile = logOf(node, part);
  const { daemon, ready } = await startMachine({
    name: part,
    machine: programs.machine,
    args: [...enter, ...commandOf[part](node)],
    logFile,
    background,
    readyFile: pidFile,
  });
  rmSync(pidFile, { force: true });
  const pid = Number(ready);
  recordProcess(directory, { name: part, pid, identity: identityOf(pid) ?? "" });
  await unlessItDies(daemon, logFile, untilItAnswers(node, part));
}

/** What succeeds in the node once the part does its work. A kubelet listens when it has met containerd, and ends without. */
const probeOf: Readonly<Record<NodePart, (node: NodeMachine) => readonly string[]>> = {
  containerd: () => [ctr, "version"],
  kubelet: ({ address }) => ["/opt/node/image-programs/work", "dial", `${address}:${kubeletPort}`],
  gpus: () => ["true"],
};

const untilItAnswers = (node: NodeMachine, part: NodePart): Promise<unknown> =>
  waitFor(() => inNode(node, ...probeOf[part](node)).then(() => true), {
    what: `${part} of ${node.name} to answer`,
    timeoutMs: answerTimeoutMs,
  });

export async function importImages(node: NodeMachine): Promise<void> {
  for (const image of ["pause", "work"]) {
    await inNode(
      node,
      ctr,
      "--namespace",
      "k8s.io",
      "images",
      "import",
      `/opt/node/images/${image}.tar`,
    );
  }
}

export const inNode = (node: NodeMachine, ...command: readonly string[]): Promise<string> =>
  runInNode(node.programs.machine, firstPid(node), command);

function firstPid(node: NodeMachine): number {
  const pid = readReport(readyFile(node));
  if (pid === undefined) throw new Error(`node ${node.name} is not on`);
  return Number(pid);
}

export const processOf = (
  { directory }: Pick<NodeMachine, "directory">,
  name: NodeProcess,
): ProcessRecord | undefined =>
  readProcesses(directory).find((record) => record.name === name && isRunning(record));

/** SIGKILL and SIGTERM wait until the part is gone; a stopped one is woken for SIGTERM. */
export async function signalPart(
  node: NodeMachine,
  part: NodePart,
  signal: NodeJS.Signals,
): Promise<void> {
  const record = processOf(node, part);
  if (!record) return;
  if (signal !== "SIGKILL" && signal !== "SIGTERM") return void sendSignal(record, signal);
  if (signal === "SIGTERM") sendSignal(record, "SIGCONT");
  await endProcess(record, signal, termGraceMs);
}
