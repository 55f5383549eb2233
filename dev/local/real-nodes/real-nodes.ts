/** The real nodes of one cluster, with the network that joins them. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { ApiClient } from "../api-client.ts";
import type { ClusterLayout } from "../cluster-layout.ts";
import { egressSocket } from "../egress.ts";
import type { ProcessRecord } from "../processes.ts";
import type { Toolchain } from "../control-plane-build.ts";
import { maxRealNodes } from "./addresses.ts";
import type { KubeletOverrides } from "./node-files.ts";
import { switchOff } from "./node-process.ts";
import { ensureNodePrograms } from "./programs.ts";
import { describeRealNode, type NodeSurroundings, type RealNode } from "./real-node.ts";
import { requireRealNodes } from "./requirements.ts";
import { attachSegment, startSegment, stopSegment } from "./segment.ts";

export interface RealNodesSpec {
  readonly count: number;
  /** Default 4. */
  readonly gpusPerNode?: number;
  /** Label rota.dev/pool; without it the nodes belong to the pool "default". */
  readonly pool?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** Fields of KubeletConfiguration that differ from ours. */
  readonly kubelet?: KubeletOverrides;
}

/** What the cluster has for them. */
export interface RealNodesHost {
  readonly layout: ClusterLayout;
  readonly toolchain: Toolchain;
  readonly background: boolean;
  readonly api: ApiClient;
}

const namePrefix = "real-";
const segmentFolder = "segment";

const folderOf = (clusterDirectory: string): string => join(clusterDirectory, "real-nodes");

/** Fulfils when all nodes are ready; those that run already, in the background, are left as they are. */
export async function startRealNodes(
  host: RealNodesHost,
  spec: RealNodesSpec = { count: 0 },
): Promise<readonly RealNode[]> {
  if (spec.count === 0) return [];
  requireRealNodes();
  if (spec.count > maxRealNodes)
    throw new Error(`at most ${maxRealNodes} real nodes, not ${spec.count}`);
  const around = await surround(host);
  const nodes = Array.from({ length: spec.count }, (_, index) => describe(around, spec, index + 1));
  // All of them, also when one fails: whoever ends the cluster then must not meet one that is still being started.
  const outcomes = await Promise.allSettled(nodes.map(ensureReady));
  const failure = outcomes.find(({ status }) => status === "rejected");
  if (failure?.status === "rejected") throw failure.reason;
  return nodes;
}

async function ensureReady(node: RealNode): Promise<void> {
  if (node.pid("kubelet") === undefined) await node.powerOn();
  await node.untilReady();
}

async function surround(host: RealNodesHost): Promise<NodeSurroundings> {
  const { layout, toolchain, background, api } = host;
  const { certificates } = layout;
  const directory = folderOf(layout.directory);
  const programs = await ensureNodePrograms();
  const segment =
    attachSegment(join(directory, segmentFolder)) ??
    (await startSegment({
      directory: join(directory, segmentFolder),
      programs,
      background,
      certificates,
      apiServerPort: layout.ports.apiServer,
      socket: egressSocket(layout.directory),
    }));
  const { namespace } = segment;
  return { directory, segment: namespace, certificates, toolchain, programs, background, api };
}

function describe(around: NodeSurroundings, spec: RealNodesSpec, ordinal: number): RealNode {
  const { gpusPerNode = 4, pool, labels = {}, kubelet = {} } = spec;
  return describeRealNode(around, {
    name: `${namePrefix}${ordinal}`,
    ordinal,
    gpus: gpusPerNode,
    labels: { ...(pool === undefined ? {} : { "rota.dev/pool": pool }), ...labels },
    kubelet,
  });
}

/** Switches off the nodes that were started for a cluster in this folder; returns what it ended. */
export async function stopRecordedRealNodes(
  clusterDirectory: string,
): Promise<readonly ProcessRecord[]> {
  const directory = folderOf(clusterDirectory);
  if (!existsSync(directory)) return [];
  const names = readdirSync(directory).filter((name) => name.startsWith(namePrefix));
  const nodes = names.map((name) => switchOff({ directory: join(directory, name) }));
  const ended = (await Promise.all(nodes)).flat();
  return [...ended, ...(await stopSegment(join(directory, segmentFolder)))];
}
