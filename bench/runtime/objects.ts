/** The objects the benchmark holds: custom resources of about 2 KB of JSON, shaped like a job. */
import type { KubeClient } from "../../src/kube/client.ts";
import type { KubeObject, ResourceName, ResourceType } from "../../src/kube/resource.ts";

export const benchNamespace = "default";

export const benchJobs: ResourceName = {
  group: "bench.example.com",
  version: "v1",
  plural: "benchjobs",
  kind: "BenchJob",
  namespaced: true,
};

interface BenchSpec {
  readonly priorityClassName: string;
  readonly pool: string;
  readonly parallelism: number;
}

/** Thirteen fields, as an operator keeps them. */
export interface KeptJob {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly generation: number;
  readonly createdAt: string;
  readonly deletedAt: string | undefined;
  readonly priorityClass: string;
  readonly pool: string;
  readonly parallelism: number;
  readonly state: string;
  readonly attempt: number;
  readonly observedGeneration: number;
}

export const keptJobs: ResourceType<KeptJob> = { ...benchJobs, project: projectJob };

function projectJob(raw: KubeObject): KeptJob {
  const { metadata } = raw;
  const spec = raw["spec"] as BenchSpec;
  const status = (raw["status"] ?? {}) as {
    state?: string;
    attempt?: number;
    observedGeneration?: number;
  };
  return {
    namespace: metadata.namespace ?? "",
    name: metadata.name ?? "",
    uid: metadata.uid ?? "",
    resourceVersion: metadata.resourceVersion ?? "",
    generation: metadata.generation ?? 0,
    createdAt: metadata.creationTimestamp ?? "",
    deletedAt: metadata.deletionTimestamp,
    priorityClass: spec.priorityClassName,
    pool: spec.pool,
    parallelism: spec.parallelism,
    state: status.state ?? "Pending",
    attempt: status.attempt ?? 0,
    observedGeneration: status.observedGeneration ?? 0,
  };
}

export function benchJob(index: number): KubeObject {
  const env = Array.from({ length: 12 }, (_, at) => ({
    name: `SETTING_NUMBER_${at}`,
    value: `a value of some length, as they are in practice: ${index}-${at}`,
  }));
  return {
    metadata: {
      name: `job-${index}`,
      namespace: benchNamespace,
      labels: { team: `team-${index % 40}` },
    },
    spec: {
      priorityClassName: ["low", "normal", "high"][index % 3],
      pool: "default",
      parallelism: 1 + (index % 8),
      template: {
        metadata: { labels: { app: "train" } },
        spec: {
          restartPolicy: "Never",
          containers: [
            {
              name: "main",
              image: "registry.example.com/team/train:2026-11",
              command: ["python", "-m", "train", "--config", "/etc/config.json"],
              env,
              resources: { limits: { "nvidia.com/gpu": "1", cpu: "4", memory: "16Gi" } },
            },
          ],
        },
      },
    },
  };
}

const definition: KubeObject = {
  metadata: { name: `${benchJobs.plural}.${benchJobs.group}` },
  spec: {
    group: benchJobs.group,
    scope: "Namespaced",
    names: { plural: benchJobs.plural, singular: "benchjob", kind: benchJobs.kind },
    versions: [
      {
        name: benchJobs.version,
        served: true,
        storage: true,
        schema: {
          openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
        },
      },
    ],
  },
};

/** Creates the kind and waits until the API server serves it. */
export async function defineBenchJobs(client: KubeClient): Promise<void> {
  const definitions: ResourceName = {
    group: "apiextensions.k8s.io",
    version: "v1",
    plural: "customresourcedefinitions",
    kind: "CustomResourceDefinition",
    namespaced: false,
  };
  await client.create(definitions, definition);
  for (let attempt = 1; attempt <= 100; attempt += 1) {
    const served = await client.list(benchJobs).then(
      () => true,
      () => false,
    );
    if (served) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error("the API server does not serve the benchmark's kind");
}

export async function createBenchJobs(client: KubeClient, count: number): Promise<void> {
  const indices = Array.from({ length: count }, (_, index) => index).values();
  const worker = async (): Promise<void> => {
    for (const index of indices) await client.create(benchJobs, benchJob(index));
  };
  await Promise.all(Array.from({ length: 32 }, worker));
}
