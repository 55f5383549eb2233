/** The network of a cluster's real nodes, and its name server. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startDaemon } from "../daemon.ts";
import { writeKubeconfig } from "../kubeconfig.ts";
import { readProcesses, recordProcess, writeProcesses } from "../process-file.ts";
import { endProcess, isRunning, type ProcessRecord } from "../processes.ts";
import {
  apiServerAddress,
  apiServerUrl,
  clusterDomain,
  dnsAddress,
  prefixLength,
} from "./addresses.ts";
import { readReport, startMachine } from "./machine.ts";
import type { NodePrograms } from "./programs.ts";

export interface SegmentOptions {
  readonly directory: string;
  readonly programs: NodePrograms;
  readonly background: boolean;
  readonly certificates: string;
  readonly apiServerPort: number;
  /** Where the API server finds the way to kubelets. */
  readonly socket: string;
}

export interface Segment {
  /** Path of its network namespace. */
  readonly namespace: string;
}

// A path of a Unix socket ends there, in Linux.
const maxSocketPath = 107;
const endGraceMs = 2_000;

const readyFile = (directory: string): string => join(directory, "ready");

export async function startSegment(options: SegmentOptions): Promise<Segment> {
  const { directory, programs, background, apiServerPort, socket } = options;
  if (socket.length > maxSocketPath) {
    throw new Error(`the folder's path is too long for a socket in it: ${socket}`);
  }
  mkdirSync(directory, { recursive: true });
  const { daemon, ready } = await startMachine({
    name: "segment",
    machine: programs.machine,
    args: [
      "network",
      `-address=${apiServerAddress}/${prefixLength}`,
      `-address=${dnsAddress}/${prefixLength}`,
      `-listen=${apiServerAddress}:443`,
      `-api-server=127.0.0.1:${apiServerPort}`,
      `-socket=${socket}`,
      `-ready=${readyFile(directory)}`,
    ],
    logFile: join(directory, "segment.log"),
    background,
    readyFile: readyFile(directory),
  });
  recordProcess(directory, recordOf(daemon));
  startDns(options, ready);
  return { namespace: ready };
}

const recordOf = ({ name, pid, identity }: ProcessRecord): ProcessRecord => ({
  name,
  pid,
  identity,
});

/** It answers once it has read the Services; until then it says that it cannot (SERVFAIL). */
function startDns(options: SegmentOptions, namespace: string): void {
  const { directory, programs, background, certificates } = options;
  const kubeconfig = join(directory, "dns.kubeconfig");
  const corefile = join(directory, "Corefile");
  writeKubeconfig(kubeconfig, { server: apiServerUrl, certificates, user: "admin" });
  writeFileSync(corefile, corefileOf(kubeconfig));
  const daemon = startDaemon({
    name: "dns",
    command: programs.machine,
    args: ["enter", "-network", namespace, "--", programs.dns, "-conf", corefile],
    logFile: join(directory, "dns.log"),
    background,
  });
  recordProcess(directory, recordOf(daemon));
}

/** Names are those of this cluster; there is nobody to ask for others. */
const corefileOf = (kubeconfig: string): string => `${clusterDomain}:53 {
  bind ${dnsAddress}
  errors
  kubernetes ${clusterDomain} {
    kubeconfig ${kubeconfig}
    ttl 1
  }
}
`;

/** The segment that was started in the background in this folder, while it lives. */
export function attachSegment(directory: string): Segment | undefined {
  const namespace = readReport(readyFile(directory));
  const runs = readProcesses(directory).some(
    (record) => record.name === "segment" && isRunning(record),
  );
  return runs && namespace !== undefined ? { namespace } : undefined;
}

/** Ends its processes; returns those that ran. */
export async function stopSegment(directory: string): Promise<readonly ProcessRecord[]> {
  const running = readProcesses(directory).filter(isRunning);
  await Promise.all(running.map((record) => endProcess(record, "SIGTERM", endGraceMs)));
  writeProcesses(directory, []);
  return running;
}
