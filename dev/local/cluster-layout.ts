/** Paths and ports of one local cluster. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePorts, isFree } from "./ports.ts";

export interface Ports {
  readonly apiServer: number;
  readonly etcdClient: number;
  readonly etcdPeer: number;
  readonly kwok: number;
}

export interface ClusterLayout {
  readonly directory: string;
  readonly certificates: string;
  readonly kubeconfig: string;
  readonly server: string;
  readonly ports: Ports;
}

/** The ports of the last time where they are free, so that kubeconfigs in use stay valid. */
export async function layOut(directory: string): Promise<ClusterLayout> {
  const former = readPorts(directory);
  const formerFree = former && (await Promise.all(Object.values(former).map(isFree)));
  if (former && formerFree?.every(Boolean)) return layoutOf(directory, former);
  const [apiServer = 0, etcdClient = 0, etcdPeer = 0, kwok = 0] = await freePorts(4);
  const ports = { apiServer, etcdClient, etcdPeer, kwok };
  writeFileSync(portsFile(directory), `${JSON.stringify(ports)}\n`);
  return layoutOf(directory, ports);
}

/** The layout of a cluster that was started in this folder. */
export function existingLayout(directory: string): ClusterLayout | undefined {
  const ports = readPorts(directory);
  return ports && layoutOf(directory, ports);
}

const layoutOf = (directory: string, ports: Ports): ClusterLayout => ({
  directory,
  certificates: join(directory, "certificates"),
  kubeconfig: join(directory, "kubeconfig"),
  server: `https://127.0.0.1:${ports.apiServer}`,
  ports,
});

const portsFile = (directory: string): string => join(directory, "ports.json");

function readPorts(directory: string): Ports | undefined {
  const file = portsFile(directory);
  if (!existsSync(file)) return undefined;
  const { apiServer, etcdClient, etcdPeer, kwok }: Partial<Ports> = JSON.parse(
    readFileSync(file, "utf8"),
  );
  return apiServer && etcdClient && etcdPeer && kwok
    ? { apiServer, etcdClient, etcdPeer, kwok }
    : undefined;
}
