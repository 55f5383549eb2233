/** A local Kubernetes cluster: real control plane, simulated nodes. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { createApiClient, type ApiClient } from "./api-client.ts";
import { ensureCertificates, issueUser } from "./certificates.ts";
import {
  componentArguments,
  type ClusterLayout,
  type ComponentName,
  componentNames,
  type Ports,
} from "./components.ts";
import { type Daemon, endOfLog, startDaemon, unlessItDies } from "./daemon.ts";
import { writeKubeconfig } from "./kubeconfig.ts";
import { addNodes, type NodeSpec } from "./nodes.ts";
import { freePorts, isFree } from "./ports.ts";
import { readProcesses, recordProcess, writeProcesses } from "./process-file.ts";
import { endProcess, isRunning, type ProcessRecord, sendSignal } from "./processes.ts";
import { ensureToolchain, type Toolchain } from "./toolchain.ts";
import { waitFor } from "./wait.ts";

export interface ClusterOptions {
  /** Data, certificates and logs; what a former cluster left there is used again. */
  readonly directory: string;
  /** Default 3. */
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
  readonly pids: Readonly<Record<ComponentName, number>>;
  addNodes(spec: NodeSpec): Promise<string[]>;
  /** A kubeconfig of another user, for tests of what they may do. */
  user(name: string, groups?: readonly string[]): Promise<string>;
  /** SIGKILL and SIGTERM wait until the component is gone. */
  kill(component: ComponentName, signal: NodeJS.Signals): Promise<void>;
  /** Ends the component if it runs, and starts it with the same data and ports; fulfils when the API answers. */
  restart(component: ComponentName): Promise<void>;
  stop(): Promise<void>;
}

interface Running {
  readonly layout: ClusterLayout;
  readonly toolchain: Toolchain;
  readonly background: boolean;
  readonly api: ApiClient;
  readonly daemons: Map<ComponentName, Daemon>;
}

const readyTimeoutMs = 60_000;
const startAttempts = 3;

export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const toolchain = await ensureToolchain();
  const directory = resolve(options.directory);
  refuseSecondCluster(directory);
  const running = await startControlPlane(toolchain, directory, options);
  try {
    options.onProgress?.("API server is ready; adding nodes");
    await fillCluster(running, options);
  } catch (error) {
    await stop(running);
    throw error;
  }
  return clusterOf(running);
}

function refuseSecondCluster(directory: string): void {
  const alive = readProcesses(directory).filter(isRunning);
  if (alive.length === 0) return;
  const names = alive.map(({ name, pid }) => `${name} (pid ${pid})`).join(", ");
  throw new Error(`a cluster runs in ${directory} already: ${names}`);
}

async function startControlPlane(
  toolchain: Toolchain,
  directory: string,
  options: ClusterOptions,
): Promise<Running> {
  const certificates = join(directory, "certificates");
  mkdirSync(directory, { recursive: true });
  await ensureCertificates(toolchain.certs, certificates);
  for (let attempt = 1; ; attempt += 1) {
    const layout = await layOut(directory, certificates);
    options.onProgress?.(`starting etcd and the API server on port ${layout.ports.apiServer}`);
    const running: Running = {
      layout,
      toolchain,
      background: options.background ?? false,
      api: createApiClient(serverOf(layout), certificates),
      daemons: new Map(),
    };
    try {
      await startComponents(running);
      return running;
    } catch (error) {
      await stop(running);
      // Another process can take a port between our look and the start.
      if (attempt === startAttempts || !portWasTaken(layout)) throw error;
    }
  }
}

async function layOut(directory: string, certificates: string): Promise<ClusterLayout> {
  const ports = await choosePorts(join(directory, "ports.json"));
  const layout = { directory, certificates, kubeconfig: join(directory, "kubeconfig"), ports };
  writeKubeconfig(layout.kubeconfig, { server: serverOf(layout), certificates, user: "admin" });
  return layout;
}

/** The ports of the last time where they are free, so that kubeconfigs in use stay valid. */
async function choosePorts(file: string): Promise<Ports> {
  const former = readPorts(file);
  const formerFree = former && (await Promise.all(Object.values(former).map(isFree)));
  if (former && formerFree?.every(Boolean)) return former;
  const [apiServer = 0, etcdClient = 0, etcdPeer = 0, kwok = 0] = await freePorts(4);
  const ports = { apiServer, etcdClient, etcdPeer, kwok };
  writeFileSync(file, `${JSON.stringify(ports)}\n`);
  return ports;
}

function readPorts(file: string): Ports | undefined {
  if (!existsSync(file)) return undefined;
  const { apiServer, etcdClient, etcdPeer, kwok }: Partial<Ports> = JSON.parse(
    readFileSync(file, "utf8"),
  );
  return apiServer && etcdClient && etcdPeer && kwok
    ? { apiServer, etcdClient, etcdPeer, kwok }
    : undefined;
}

const portWasTaken = (layout: ClusterLayout): boolean =>
  componentNames.some((name) => endOfLog(logOf(layout, name)).includes("address already in use"));

const serverOf = ({ ports }: ClusterLayout): string => `https://127.0.0.1:${ports.apiServer}`;

const logOf = ({ directory }: ClusterLayout, name: ComponentName): string =>
  join(directory, "logs", `${name}.log`);

async function startComponents(running: Running): Promise<void> {
  const etcd = startComponent(running, "etcd");
  const apiServer = startComponent(running, "kube-apiserver");
  const ready = unlessItDies(
    apiServer,
    logOf(running.layout, "kube-apiserver"),
    apiIsReady(running),
  );
  await unlessItDies(etcd, logOf(running.layout, "etcd"), ready);
  for (const name of ["kube-controller-manager", "kube-scheduler", "kwok"] as const) {
    startComponent(running, name);
  }
}

function startComponent(running: Running, name: ComponentName): Daemon {
  const { layout, toolchain, background } = running;
  const daemon = startDaemon({
    name,
    command: toolchain[name],
    args: componentArguments(name, layout),
    logFile: logOf(layout, name),
    // KWOK would read the user's own configuration from there as well.
    env: { KWOK_WORKDIR: layout.directory },
    background,
  });
  running.daemons.set(name, daemon);
  recordProcess(layout.directory, recordOf(daemon));
  return daemon;
}

const recordOf = ({ name, pid, identity }: Daemon): ProcessRecord => ({ name, pid, identity });

const apiIsReady = ({ api }: Running): Promise<boolean> =>
  waitFor(async () => (await api.get("/readyz")).status === 200, {
    what: "the API server to be ready",
    timeoutMs: readyTimeoutMs,
  });

/** Nodes that accept pods, and what a pod needs besides: the default service account. */
async function fillCluster(running: Running, options: ClusterOptions): Promise<void> {
  const { api, daemons, layout } = running;
  const spec = { count: options.nodes ?? 3, gpus: options.gpusPerNode ?? 8 };
  const account = "/api/v1/namespaces/default/serviceaccounts/default";
  let filled = Promise.all([
    addNodes(api, spec),
    waitFor(async () => (await api.get(account)).status === 200, {
      what: "the default service account",
      timeoutMs: readyTimeoutMs,
    }),
  ]);
  for (const name of componentNames) {
    const daemon = daemons.get(name);
    if (daemon) filled = unlessItDies(daemon, logOf(layout, name), filled);
  }
  await filled;
}

function clusterOf(running: Running): Cluster {
  const { layout, toolchain, api, daemons } = running;
  return {
    directory: layout.directory,
    server: serverOf(layout),
    kubeconfig: layout.kubeconfig,
    kubectl: toolchain.kubectl,
    get pids() {
      return pidsOf(daemons);
    },
    addNodes: (spec) => addNodes(api, spec),
    user: (name, groups = []) => addUser(running, name, groups),
    kill: (component, signal) => kill(running, component, signal),
    restart: (component) => restart(running, component),
    stop: () => stop(running),
  };
}

const pidsOf = (daemons: Running["daemons"]): Record<ComponentName, number> => {
  const pid = (name: ComponentName): number => daemons.get(name)?.pid ?? 0;
  return {
    etcd: pid("etcd"),
    "kube-apiserver": pid("kube-apiserver"),
    "kube-controller-manager": pid("kube-controller-manager"),
    "kube-scheduler": pid("kube-scheduler"),
    kwok: pid("kwok"),
  };
};

async function addUser(
  { layout, toolchain }: Running,
  name: string,
  groups: readonly string[],
): Promise<string> {
  await issueUser(toolchain.certs, layout.certificates, name, groups);
  const file = join(layout.directory, `${name}.kubeconfig`);
  const { certificates } = layout;
  writeKubeconfig(file, { server: serverOf(layout), certificates, user: name });
  return file;
}

const termGraceMs = 5_000;

async function kill(
  { daemons }: Running,
  component: ComponentName,
  signal: NodeJS.Signals,
): Promise<void> {
  const daemon = daemons.get(component);
  if (!daemon) return;
  if (signal === "SIGKILL" || signal === "SIGTERM") {
    return endProcess(daemon, signal, termGraceMs);
  }
  sendSignal(daemon, signal);
}

async function restart(running: Running, component: ComponentName): Promise<void> {
  await kill(running, component, "SIGKILL");
  const daemon = startComponent(running, component);
  if (component !== "etcd" && component !== "kube-apiserver") return;
  await unlessItDies(daemon, logOf(running.layout, component), apiIsReady(running));
}

/** How long a component may take to end by itself; one that is in order behind another outlives it. */
const stopOrder: readonly { readonly name: ComponentName; readonly graceMs: number }[] = [
  { name: "kwok", graceMs: 2_000 },
  { name: "kube-scheduler", graceMs: 2_000 },
  { name: "kube-controller-manager", graceMs: 2_000 },
  // It would wait up to a minute for watches to end.
  { name: "kube-apiserver", graceMs: 500 },
  { name: "etcd", graceMs: 5_000 },
];

async function stop({ layout, api, daemons, background }: Running): Promise<void> {
  await api.close();
  // A cluster in the foreground is thrown away: nothing is worth waiting for.
  if (background) await stopRecorded(layout.directory);
  else {
    await Promise.all([...daemons.values()].map((daemon) => endProcess(daemon, "SIGKILL", 0)));
    writeProcesses(layout.directory, []);
  }
}

/** Ends what the records of a folder name and still runs; returns what it ended. */
export async function stopRecorded(directory: string): Promise<readonly ProcessRecord[]> {
  const running = readProcesses(directory).filter(isRunning);
  for (const { name, graceMs } of stopOrder) {
    for (const record of running.filter((candidate) => candidate.name === name)) {
      await endProcess(record, "SIGTERM", graceMs);
    }
  }
  writeProcesses(directory, []);
  return running;
}
