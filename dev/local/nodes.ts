/** Simulated nodes: their objects, and adding them to a cluster. */
import type { ApiClient } from "./api-client.ts";
import { waitFor } from "./wait.ts";

export interface NodeSpec {
  readonly count: number;
  readonly gpus?: number;
  readonly cpus?: number;
  readonly memoryGiB?: number;
  readonly pods?: number;
  /** Further resources by name, such as devices. */
  readonly resources?: Readonly<Record<string, string>>;
  /** Label rota.dev/pool; without it the nodes belong to the pool "default". */
  readonly pool?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly taints?: readonly NodeTaint[];
  /** Names are PREFIX1, PREFIX2, ... */
  readonly namePrefix?: string;
}

export interface NodeTaint {
  readonly key: string;
  readonly value?: string;
  readonly effect: "NoSchedule" | "PreferNoSchedule" | "NoExecute";
}

export interface NodeManifest {
  readonly apiVersion: "v1";
  readonly kind: "Node";
  readonly metadata: {
    readonly name: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly annotations: Readonly<Record<string, string>>;
  };
  readonly spec: { readonly taints?: readonly NodeTaint[] };
  readonly status: {
    readonly capacity: Readonly<Record<string, string>>;
    readonly allocatable: Readonly<Record<string, string>>;
  };
}

/** The annotation by which KWOK knows its own among real nodes. */
export const simulatedNode = ["kwok.x-k8s.io/node", "fake"] as const;

export function nodeManifests(spec: NodeSpec): readonly NodeManifest[] {
  const { count, namePrefix = "node-", taints } = spec;
  const resources = {
    cpu: String(spec.cpus ?? 64),
    memory: `${spec.memoryGiB ?? 512}Gi`,
    pods: String(spec.pods ?? 110),
    ...(spec.gpus === 0 ? {} : { "nvidia.com/gpu": String(spec.gpus ?? 8) }),
    ...spec.resources,
  };
  return Array.from({ length: count }, (_, index) => {
    const name = `${namePrefix}${index + 1}`;
    return {
      apiVersion: "v1",
      kind: "Node",
      metadata: {
        name,
        labels: { ...standardLabels(name), ...poolLabel(spec), ...spec.labels },
        annotations: Object.fromEntries([simulatedNode]),
      },
      spec: taints === undefined ? {} : { taints },
      status: { capacity: resources, allocatable: resources },
    };
  });
}

// What a kubelet sets on its node.
const standardLabels = (name: string) => ({
  "kubernetes.io/hostname": name,
  "kubernetes.io/arch": "amd64",
  "kubernetes.io/os": "linux",
});

const poolLabel = ({ pool }: NodeSpec): Record<string, string> =>
  pool === undefined ? {} : { "rota.dev/pool": pool };

const creationsAtOnce = 16;
const readyTimeoutMs = 60_000;

/** Creates the nodes that are not there yet; fulfils when all of them accept pods. */
export async function addNodes(api: ApiClient, spec: NodeSpec): Promise<string[]> {
  const manifests = nodeManifests(spec);
  const waiting = [...manifests];
  const worker = async (): Promise<void> => {
    for (let next = waiting.pop(); next; next = waiting.pop()) await createNode(api, next);
  };
  await Promise.all(Array.from({ length: creationsAtOnce }, worker));
  const names = manifests.map(({ metadata }) => metadata.name);
  await waitFor(() => acceptPods(api, names), {
    what: `${names.length} nodes to accept pods`,
    timeoutMs: readyTimeoutMs,
  });
  return names;
}

async function createNode(api: ApiClient, manifest: NodeManifest): Promise<void> {
  const { status, body } = await api.post("/api/v1/nodes", manifest);
  if (status !== 201 && status !== 409) {
    throw new Error(`create ${manifest.metadata.name}: status ${status}: ${body}`);
  }
}

interface NodeList {
  readonly items: readonly {
    readonly metadata: { readonly name: string };
    readonly spec: { readonly taints?: readonly { readonly key: string }[] };
  }[];
}

// A new node is born with this taint; the controller manager takes it away once the node is ready.
const notReadyTaint = "node.kubernetes.io/not-ready";

async function acceptPods(api: ApiClient, names: readonly string[]): Promise<boolean> {
  const { body } = await api.get("/api/v1/nodes");
  const { items }: NodeList = JSON.parse(body);
  const accepting = new Set(
    items
      .filter(({ spec }) => !spec.taints?.some(({ key }) => key === notReadyTaint))
      .map(({ metadata }) => metadata.name),
  );
  return names.every((name) => accepting.has(name));
}
