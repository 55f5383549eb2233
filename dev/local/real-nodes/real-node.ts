/** A real node: a kubelet and a containerd in namespaces of their own, with GPUs of a device plugin, and controls for all of it. */
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ApiClient } from "../api-client.ts";
import { issueUser } from "../certificates.ts";
import { writeKubeconfig } from "../kubeconfig.ts";
import type { Toolchain } from "../control-plane-build.ts";
import { waitFor } from "../wait.ts";
import { apiServerUrl, nodeAddress } from "./addresses.ts";
import { type Container, listContainers } from "./containers.ts";
import {
  certificateAuthority,
  gpuControlFolder,
  kubeletKubeconfig,
  type KubeletOverrides,
  staticPodFolder,
  writeNodeFiles,
} from "./node-files.ts";
import {
  importImages,
  inNode,
  logOf,
  newCgroupName,
  type NodeMachine,
  type NodePart,
  processOf,
  signalPart,
  startPart,
  switchOff,
  switchOn,
} from "./node-process.ts";
import type { NodePrograms } from "./programs.ts";

export interface RealNodeOptions {
  readonly name: string;
  /** From 1; no two nodes of a cluster have the same. */
  readonly ordinal: number;
  readonly gpus: number;
  readonly labels: Readonly<Record<string, string>>;
  /** Fields of KubeletConfiguration. */
  readonly kubelet: KubeletOverrides;
}

/** What all real nodes of a cluster share. */
export interface NodeSurroundings {
  /** Each node has a folder in it. */
  readonly directory: string;
  /** Path of the segment's network namespace. */
  readonly segment: string;
  readonly certificates: string;
  readonly toolchain: Pick<Toolchain, "kubelet" | "certs">;
  readonly programs: NodePrograms;
  readonly background: boolean;
  readonly api: ApiClient;
}

export interface RealNode {
  readonly name: string;
  readonly address: string;
  /** Its root folder, as it is seen from outside. */
  readonly root: string;
  /** Pid of a part as it is seen from outside; undefined while it does not run. */
  pid(part: NodePart): number | undefined;
  logFile(part: NodePart): string;
  /** SIGKILL and SIGTERM wait until the part is gone; SIGSTOP and SIGCONT are for a part that hangs. */
  signal(part: NodePart, signal: NodeJS.Signals): Promise<void>;
  /** Ends the part with SIGKILL if it runs, and starts it; containers run on. Fulfils when it answers; untilReady is for the rest. */
  restart(part: NodePart): Promise<void>;
  /** Writes other fields of KubeletConfiguration; they count from the kubelet's next start. */
  configureKubelet(overrides: KubeletOverrides): void;
  /** That many of its GPUs are healthy from now on; "none" withdraws all devices. */
  setHealthyGpus(count: number | "none"): void;
  /** Allocations of GPUs fail with this reason; undefined ends that. */
  refuseGpus(reason: string | undefined): void;
  /** The kubelet runs the pod by itself, also without the API server. */
  addStaticPod(name: string, pod: object): void;
  removeStaticPod(name: string): void;
  /** Runs a program in the node. */
  run(...command: readonly string[]): Promise<string>;
  /** What containerd says of its containers, sandboxes of pods included. */
  containers(): Promise<Container[]>;
  /** Takes the node off the network, or puts it back; its pods see each other still. */
  setConnected(isConnected: boolean): Promise<void>;
  /** Fulfils when the node is Ready and has so many GPUs to give, default all, as the kubelet says that runs now. */
  untilReady(gpus?: number): Promise<void>;
  /** As when its power fails: nothing in it runs any more, and its disk stays. */
  cutPower(): Promise<void>;
  /** Starts it again with its former disk. */
  powerOn(): Promise<void>;
}

const readyTimeoutMs = 90_000;

/** A node that is started when powerOn is called. */
export function describeRealNode(around: NodeSurroundings, options: RealNodeOptions): RealNode {
  const node = machineOf(around, options);
  const write = (file: string, content: string): void =>
    writeFileSync(join(node.root, file), content);
  const remove = (file: string): void => rmSync(join(node.root, file), { force: true });
  const run = (...command: readonly string[]): Promise<string> => inNode(node, ...command);
  let kubelet = options.kubelet;
  let cgroup = "";
  let kubeletStartedMs = 0;
  const start = async (part: NodePart): Promise<void> => {
    if (part === "kubelet") kubeletStartedMs = Date.now();
    await startPart(node, part);
  };
  return {
    name: node.name,
    address: node.address,
    root: node.root,
    pid: (part) => processOf(node, part)?.pid,
    logFile: (part) => logOf(node, part),
    signal: (part, signal) => signalPart(node, part, signal),
    restart: async (part) => {
      await signalPart(node, part, "SIGKILL");
      await start(part);
    },
    configureKubelet: (overrides) => {
      kubelet = { ...options.kubelet, ...overrides };
      writeNodeFiles(node.root, { ...options, address: node.address, cgroup, kubelet });
    },
    setHealthyGpus: (count) => write(join(gpuControlFolder, "healthy"), String(count)),
    refuseGpus: (reason) => {
      const file = join(gpuControlFolder, "refuse");
      if (reason === undefined) remove(file);
      else write(file, reason);
    },
    addStaticPod: (name, pod) => write(join(staticPodFolder, `${name}.json`), JSON.stringify(pod)),
    removeStaticPod: (name) => remove(join(staticPodFolder, `${name}.json`)),
    run,
    containers: () => listContainers(run),
    setConnected: async (isConnected) => {
      await run("/opt/node/bin/machine", "link", "-name", "uplink", isConnected ? "-up" : "-down");
    },
    untilReady: (gpus = node.gpus) => untilReady(around.api, node.name, gpus, kubeletStartedMs),
    cutPower: async () => {
      await switchOff(node, "SIGKILL");
    },
    powerOn: async () => {
      cgroup = newCgroupName(node.name);
      writeNodeFiles(node.root, { ...options, address: node.address, cgroup, kubelet });
      await identify(around, node);
      await switchOn(node, around.segment, cgroup);
      await start("containerd");
      await Promise.all([importImages(node), start("kubelet"), start("gpus")]);
    },
  };
}

const machineOf = (
  { directory, programs, toolchain, background }: NodeSurroundings,
  { name, ordinal, gpus, labels }: RealNodeOptions,
): NodeMachine => ({
  name,
  address: nodeAddress(ordinal),
  gpus,
  labels,
  directory: join(directory, name),
  root: join(directory, name, "root"),
  programs,
  toolchain,
  background,
});

/** The client certificate by which the API server knows the node, and may refuse it what is not its own. */
async function identify(around: NodeSurroundings, node: NodeMachine): Promise<void> {
  const { certificates, toolchain } = around;
  const user = `system:node:${node.name}`;
  await issueUser(toolchain.certs, certificates, user, ["system:nodes"]);
  const file = join(node.root, kubeletKubeconfig);
  writeKubeconfig(file, { server: apiServerUrl, certificates, user });
  copyFileSync(join(certificates, "ca.crt"), join(node.root, certificateAuthority));
  mkdirSync(join(node.directory, "logs"), { recursive: true });
}

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly lastHeartbeatTime: string;
}

interface NodeObject {
  readonly spec: { readonly taints?: readonly { readonly key: string }[] };
  readonly status: {
    readonly allocatable?: Readonly<Record<string, string>>;
    readonly conditions?: readonly Condition[];
  };
}

const untilReady = async (
  api: ApiClient,
  name: string,
  gpus: number,
  sinceMs: number,
): Promise<void> => {
  await waitFor(() => isReady(api, name, gpus, sinceMs), {
    what: `node ${name} to be ready with ${gpus} GPUs`,
    timeoutMs: readyTimeoutMs,
  });
};

/** True, or an error that says what is missing. */
async function isReady(api: ApiClient, name: string, gpus: number, sinceMs: number): Promise<true> {
  const { status, body } = await api.get(`/api/v1/nodes/${name}`);
  if (status !== 200) throw new Error(body);
  const node: NodeObject = JSON.parse(body);
  const ready = node.status.conditions?.find(({ type }) => type === "Ready");
  const found = Number(node.status.allocatable?.["nvidia.com/gpu"] ?? 0);
  const taints = (node.spec.taints ?? []).map(({ key }) => key);
  const isTainted = taints.some((key) => key.startsWith("node.kubernetes.io/"));
  // It is told in whole seconds.
  const isNews = Date.parse(ready?.lastHeartbeatTime ?? "") + 1_000 > sinceMs;
  if (ready?.status === "True" && isNews && found === gpus && !isTainted) return true;
  const { status: said = "nothing", lastHeartbeatTime = "never" } = ready ?? {};
  throw new Error(
    `Ready: ${said} (${lastHeartbeatTime}), GPUs: ${found}, taints: ${taints.join(", ")}`,
  );
}
