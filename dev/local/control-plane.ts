/** The processes of one local cluster: starting, restarting and ending them. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { createApiClient, type ApiClient } from "./api-client.ts";
import { ensureCertificates, issueUser } from "./certificates.ts";
import { type ClusterLayout, existingLayout, layOut } from "./cluster-layout.ts";
import {
  componentArguments,
  type ComponentName,
  componentNames,
  kubeletClient,
} from "./components.ts";
import { type Daemon, endOfLog, startDaemon, unlessItDies } from "./daemon.ts";
import { writeEgressConfiguration } from "./egress.ts";
import { writeKubeconfig } from "./kubeconfig.ts";
import { type PlaneSettings, readSettings, writeSettings } from "./plane-settings.ts";
import { readProcesses, recordProcess, writeProcesses } from "./process-file.ts";
import { endProcess, isRunning, type ProcessRecord, sendSignal } from "./processes.ts";
import type { Toolchain } from "./control-plane-build.ts";
import { waitFor } from "./wait.ts";

export interface ControlPlane {
  readonly layout: ClusterLayout;
  readonly toolchain: Toolchain;
  readonly settings: PlaneSettings;
  readonly background: boolean;
  readonly api: ApiClient;
  readonly processes: Map<ComponentName, ProcessRecord>;
}

export interface StartOptions {
  readonly settings: PlaneSettings;
  readonly background: boolean;
  readonly onProgress: (line: string) => void;
}

const readyTimeoutMs = 60_000;
const startAttempts = 3;

/** Fulfils when the API server is ready; the other components have been started by then. */
export async function startControlPlane(
  toolchain: Toolchain,
  directory: string,
  { settings, background, onProgress }: StartOptions,
): Promise<ControlPlane> {
  refuseSecond(directory);
  mkdirSync(directory, { recursive: true });
  await ensureCertificates(toolchain.certs, join(directory, "certificates"));
  writeSettings(directory, settings);
  if (settings.realNodes) await prepareForRealNodes(toolchain, directory);
  for (let attempt = 1; ; attempt += 1) {
    const layout = await layOut(directory);
    const { certificates, kubeconfig, server } = layout;
    writeKubeconfig(kubeconfig, { server, certificates, user: "admin" });
    const plane = describe(toolchain, layout, settings, background);
    onProgress(`starting the control plane at ${server}`);
    try {
      await startComponents(plane);
      return plane;
    } catch (error) {
      await stopControlPlane(plane);
      // Another process can take a port between our look and the start.
      if (attempt === startAttempts || !portWasTaken(layout)) throw error;
    }
  }
}

/** The control plane that was started in the background in this folder, if all of it still works. */
export async function attachControlPlane(
  toolchain: Toolchain,
  directory: string,
): Promise<ControlPlane | undefined> {
  const layout = existingLayout(directory);
  const records = readProcesses(directory).filter(isRunning);
  if (!layout || records.length < componentNames.length) return undefined;
  const plane = describe(toolchain, layout, readSettings(directory), true);
  for (const name of componentNames) {
    const record = records.find((candidate) => candidate.name === name);
    if (record) plane.processes.set(name, record);
  }
  if (await isReady(plane).catch(() => false)) return plane;
  await plane.api.close();
  return undefined;
}

async function prepareForRealNodes(toolchain: Toolchain, directory: string): Promise<void> {
  const certificates = join(directory, "certificates");
  await issueUser(toolchain.certs, certificates, kubeletClient, ["system:masters"]);
  writeEgressConfiguration(directory);
}

function refuseSecond(directory: string): void {
  const alive = readProcesses(directory).filter(isRunning);
  if (alive.length === 0) return;
  const names = alive.map(({ name, pid }) => `${name} (pid ${pid})`).join(", ");
  throw new Error(`a cluster runs in ${directory} already: ${names}`);
}

const describe = (
  toolchain: Toolchain,
  layout: ClusterLayout,
  settings: PlaneSettings,
  background: boolean,
): ControlPlane => ({
  layout,
  toolchain,
  settings,
  background,
  api: createApiClient(layout.server, layout.certificates),
  processes: new Map(),
});

const portWasTaken = (layout: ClusterLayout): boolean =>
  componentNames.some((name) => endOfLog(logOf(layout, name)).includes("address already in use"));

const logOf = ({ directory }: ClusterLayout, name: ComponentName): string =>
  join(directory, "logs", `${name}.log`);

async function startComponents(plane: ControlPlane): Promise<void> {
  const first = [startComponent(plane, "etcd"), startComponent(plane, "kube-apiserver")];
  await unlessOneDies(plane, first, becomeReady(plane));
  const others = (["kube-controller-manager", "kube-scheduler", "kwok"] as const).map((name) =>
    startComponent(plane, name),
  );
  await unlessOneDies(plane, others, isReady(plane));
}

async function unlessOneDies<T>(
  { layout }: ControlPlane,
  daemons: readonly Daemon<ComponentName>[],
  action: Promise<T>,
): Promise<T> {
  const guarded = daemons.map((daemon) => unlessItDies(daemon, logOf(layout, daemon.name), action));
  await Promise.all(guarded);
  return action;
}

function startComponent(plane: ControlPlane, name: ComponentName): Daemon<ComponentName> {
  const { layout, toolchain, settings, background, processes } = plane;
  const daemon = startDaemon({
    name,
    command: toolchain[name],
    args: componentArguments(name, layout, settings),
    logFile: logOf(layout, name),
    // KWOK would read the user's own configuration from there as well.
    env: { KWOK_WORKDIR: layout.directory },
    background,
  });
  const record = { name, pid: daemon.pid, identity: daemon.identity };
  processes.set(name, record);
  recordProcess(layout.directory, record);
  return daemon;
}

const isReady = async ({ api }: ControlPlane): Promise<boolean> =>
  (await api.get("/readyz")).status === 200;

const becomeReady = (plane: ControlPlane): Promise<boolean> =>
  waitFor(() => isReady(plane), { what: "the API server to be ready", timeoutMs: readyTimeoutMs });

const termGraceMs = 5_000;
const etcdTimeoutMs = 10_000;

/** SIGKILL and SIGTERM wait until the component is gone. */
export async function signalComponent(
  { processes }: ControlPlane,
  name: ComponentName,
  signal: NodeJS.Signals,
): Promise<void> {
  const record = processes.get(name);
  if (!record) return;
  if (signal === "SIGKILL" || signal === "SIGTERM") await endProcess(record, signal, termGraceMs);
  else sendSignal(record, signal);
}

/** Ends the component if it runs, and starts it with the same data and ports; fulfils when the API answers. */
export async function restartComponent(plane: ControlPlane, name: ComponentName): Promise<void> {
  await signalComponent(plane, name, "SIGKILL");
  const daemon = startComponent(plane, name);
  if (name === "etcd" || name === "kube-apiserver") {
    await unlessOneDies(plane, [daemon], becomeReady(plane));
  }
}

/** By etcd's JSON gateway: it has no client here, and the API server may be away. */
export async function compactHistory({ layout }: ControlPlane): Promise<void> {
  const ask = async (path: string, body: object): Promise<unknown> => {
    const url = `http://127.0.0.1:${layout.ports.etcdClient}/v3/${path}`;
    const signal = AbortSignal.timeout(etcdTimeoutMs);
    const answer = await fetch(url, { method: "POST", body: JSON.stringify(body), signal });
    if (!answer.ok) throw new Error(`etcd answers ${answer.status}: ${await answer.text()}`);
    return answer.json();
  };
  const status = (await ask("maintenance/status", {})) as { header: { revision: string } };
  await ask("kv/compaction", { revision: status.header.revision, physical: true });
}

/** How long a component may take to end by itself; one that comes later in the list outlives the ones before. */
const stopOrder: readonly { readonly name: ComponentName; readonly graceMs: number }[] = [
  { name: "kwok", graceMs: 2_000 },
  { name: "kube-scheduler", graceMs: 2_000 },
  { name: "kube-controller-manager", graceMs: 2_000 },
  // It would wait up to a minute for watches to end.
  { name: "kube-apiserver", graceMs: 500 },
  { name: "etcd", graceMs: 5_000 },
];

export async function stopControlPlane(plane: ControlPlane): Promise<void> {
  const { layout, api, processes, background } = plane;
  await api.close();
  if (background) {
    await stopRecordedControlPlane(layout.directory);
    return;
  }
  // A cluster in the foreground is thrown away: nothing is worth waiting for.
  await Promise.all([...processes.values()].map((record) => endProcess(record, "SIGKILL", 0)));
  writeProcesses(layout.directory, []);
}

/** Ends what the records of a folder name and still runs; returns what it ended. */
export async function stopRecordedControlPlane(
  directory: string,
): Promise<readonly ProcessRecord[]> {
  const running = readProcesses(directory).filter(isRunning);
  for (const { name, graceMs } of stopOrder) {
    for (const record of running.filter((candidate) => candidate.name === name)) {
      await endProcess(record, "SIGTERM", graceMs);
    }
  }
  writeProcesses(directory, []);
  return running;
}
