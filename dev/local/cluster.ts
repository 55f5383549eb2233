/** A local Kubernetes cluster: real control plane, simulated nodes, and real ones where they are asked for. */
import { join, resolve } from "node:path";
import { issueUser } from "./certificates.ts";
import type { ComponentName } from "./components.ts";
import {
  attachControlPlane,
  compactHistory,
  type ControlPlane,
  restartComponent,
  signalComponent,
  startControlPlane,
  stopControlPlane,
} from "./control-plane.ts";
import { writeKubeconfig } from "./kubeconfig.ts";
import { addNodes, type NodeSpec } from "./nodes.ts";
import { type NodeMonitoring, type PlaneSettings, usualMonitoring } from "./plane-settings.ts";
import type { RealNode } from "./real-nodes/real-node.ts";
import {
  type RealNodesSpec,
  startRealNodes,
  stopRecordedRealNodes,
} from "./real-nodes/real-nodes.ts";
import { requireRealNodes } from "./real-nodes/requirements.ts";
import { ensureToolchain } from "./control-plane-build.ts";
import { waitFor } from "./wait.ts";

export type { ComponentName } from "./components.ts";
export type { NodeSpec, NodeTaint } from "./nodes.ts";
export type { RealNode } from "./real-nodes/real-node.ts";

export interface ClusterOptions {
  /** Data, certificates and logs; what a former cluster left there is used again. */
  readonly directory: string;
  /** Default 3; 0 for none. */
  readonly nodes?: number;
  /** Default 8. */
  readonly gpusPerNode?: number;
  /** Nodes with a kubelet and containers, named real-1, real-2, ...; default none. */
  readonly realNodes?: RealNodesSpec;
  /** Default with real nodes: what Kubernetes does by itself. Without them: nodes stay ready. */
  readonly nodeMonitoring?: NodeMonitoring;
  /** Lives on when this process ends; without it the cluster dies with this process, even on SIGKILL. */
  readonly background?: boolean;
  readonly onProgress?: (line: string) => void;
}

export interface Cluster {
  readonly directory: string;
  readonly server: string;
  /** Path of the administrator's kubeconfig. */
  readonly kubeconfig: string;
  /** Path of a kubectl of the same version. */
  readonly kubectl: string;
  readonly realNodes: readonly RealNode[];
  readonly pids: Readonly<Partial<Record<ComponentName, number>>>;
  /** Fulfils when all of them accept pods; nodes that are there already are left as they are. */
  addNodes(spec: NodeSpec): Promise<string[]>;
  /** As addNodes; for a cluster that was started with real nodes. */
  addRealNodes(spec: RealNodesSpec): Promise<readonly RealNode[]>;
  /** Path of a kubeconfig of another user, for tests of what they may do. */
  user(name: string, groups?: readonly string[]): Promise<string>;
  /** SIGKILL and SIGTERM wait until the component is gone. */
  kill(component: ComponentName, signal: NodeJS.Signals): Promise<void>;
  /** Ends the component if it runs, and starts it with the same data and ports; fulfils when the API answers. */
  restart(component: ComponentName): Promise<void>;
  /** Makes etcd forget all former versions, as the API server has it do every five minutes. */
  compact(): Promise<void>;
  stop(): Promise<void>;
}

const accountTimeoutMs = 60_000;

export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  if (options.realNodes) requireRealNodes();
  const toolchain = await ensureToolchain();
  const { background = false, onProgress = () => undefined } = options;
  const settings = settingsOf(options);
  const directory = resolve(options.directory);
  const plane = await startControlPlane(toolchain, directory, { settings, background, onProgress });
  try {
    onProgress("the API server is ready; adding nodes");
    const [realNodes] = await Promise.all([
      startRealNodes(plane, options.realNodes),
      fillWithNodes(plane, options),
      waitForDefaultAccount(plane),
    ]);
    return clusterOf(plane, realNodes);
  } catch (error) {
    await stopCluster(plane);
    throw error;
  }
}

function settingsOf({ realNodes, nodeMonitoring }: ClusterOptions): PlaneSettings {
  const monitoring = nodeMonitoring ?? (realNodes && usualMonitoring);
  return {
    realNodes: realNodes !== undefined,
    ...(monitoring === undefined ? {} : { nodeMonitoring: monitoring }),
  };
}

async function stopCluster(plane: ControlPlane): Promise<void> {
  await stopRecordedRealNodes(plane.layout.directory);
  await stopControlPlane(plane);
}

/** The cluster that was started in the background in this folder; undefined when it does not work (any more). */
export async function attachCluster(directory: string): Promise<Cluster | undefined> {
  const plane = await attachControlPlane(await ensureToolchain(), resolve(directory));
  return plane && clusterOf(plane, []);
}

async function fillWithNodes(plane: ControlPlane, options: ClusterOptions): Promise<void> {
  const { nodes = 3, gpusPerNode = 8 } = options;
  await addNodes(plane.api, { count: nodes, gpus: gpusPerNode });
}

/** Pods of a namespace are refused until its default service account is there. */
const waitForDefaultAccount = ({ api }: ControlPlane): Promise<boolean> =>
  waitFor(
    async () =>
      (await api.get("/api/v1/namespaces/default/serviceaccounts/default")).status === 200,
    { what: "the default service account", timeoutMs: accountTimeoutMs },
  );

const clusterOf = (plane: ControlPlane, realNodes: readonly RealNode[]): Cluster => ({
  directory: plane.layout.directory,
  server: plane.layout.server,
  kubeconfig: plane.layout.kubeconfig,
  kubectl: plane.toolchain.kubectl,
  realNodes,
  get pids() {
    return Object.fromEntries([...plane.processes].map(([name, { pid }]) => [name, pid]));
  },
  addNodes: (spec) => addNodes(plane.api, spec),
  addRealNodes: (spec) => addRealNodes(plane, spec),
  user: (name, groups = []) => addUser(plane, name, groups),
  kill: (component, signal) => signalComponent(plane, component, signal),
  restart: (component) => restartComponent(plane, component),
  compact: () => compactHistory(plane),
  stop: () => stopCluster(plane),
});

async function addRealNodes(
  plane: ControlPlane,
  spec: RealNodesSpec,
): Promise<readonly RealNode[]> {
  if (!plane.settings.realNodes) {
    throw new Error(
      "the cluster was started without real nodes, and cannot have any; start it anew",
    );
  }
  return startRealNodes(plane, spec);
}

async function addUser(
  { layout, toolchain }: ControlPlane,
  name: string,
  groups: readonly string[],
): Promise<string> {
  const { certificates, directory, server } = layout;
  await issueUser(toolchain.certs, certificates, name, groups);
  const file = join(directory, `${name}.kubeconfig`);
  writeKubeconfig(file, { server, certificates, user: name });
  return file;
}
