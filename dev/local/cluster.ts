/** A local Kubernetes cluster: real control plane, simulated nodes. */
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
import { ensureToolchain } from "./control-plane-build.ts";
import { waitFor } from "./wait.ts";

export type { ComponentName } from "./components.ts";
export type { NodeSpec, NodeTaint } from "./nodes.ts";

export interface ClusterOptions {
  /** Data, certificates and logs; what a former cluster left there is used again. */
  readonly directory: string;
  /** Default 3; 0 for none. */
  readonly nodes?: number;
  /** Default 8. */
  readonly gpusPerNode?: number;
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
  readonly pids: Readonly<Partial<Record<ComponentName, number>>>;
  /** Fulfils when all of them accept pods; nodes that are there already are left as they are. */
  addNodes(spec: NodeSpec): Promise<string[]>;
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
  const toolchain = await ensureToolchain();
  const { background = false, onProgress = () => undefined } = options;
  const directory = resolve(options.directory);
  const plane = await startControlPlane(toolchain, directory, { background, onProgress });
  try {
    onProgress("the API server is ready; adding nodes");
    await Promise.all([fillWithNodes(plane, options), waitForDefaultAccount(plane)]);
  } catch (error) {
    await stopControlPlane(plane);
    throw error;
  }
  return clusterOf(plane);
}

/** The cluster that was started in the background in this folder; undefined when it does not work (any more). */
export async function attachCluster(directory: string): Promise<Cluster | undefined> {
  const plane = await attachControlPlane(await ensureToolchain(), resolve(directory));
  return plane && clusterOf(plane);
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

const clusterOf = (plane: ControlPlane): Cluster => ({
  directory: plane.layout.directory,
  server: plane.layout.server,
  kubeconfig: plane.layout.kubeconfig,
  kubectl: plane.toolchain.kubectl,
  get pids() {
    return Object.fromEntries([...plane.processes].map(([name, { pid }]) => [name, pid]));
  },
  addNodes: (spec) => addNodes(plane.api, spec),
  user: (name, groups = []) => addUser(plane, name, groups),
  kill: (component, signal) => signalComponent(plane, component, signal),
  restart: (component) => restartComponent(plane, component),
  compact: () => compactHistory(plane),
  stop: () => stopControlPlane(plane),
});

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
