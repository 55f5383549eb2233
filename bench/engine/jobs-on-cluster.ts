/**
 * 500 one-GPU jobs on 100 nodes of a real control plane: how long until all their pods exist and all jobs are complete,
 * what the API server was asked for them, and what they cost the operator. The jobs are submitted by one kubectl, as
 * were those of the peer that docs/benchmarks/engine.md compares with. Pods end as soon as they run.
 */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Cluster, startCluster } from "../../dev/local/cluster.ts";
import { installCrds } from "../../dev/local/install-crds.ts";
import { clientFor } from "../../dev/local/kube-client.ts";
import { writeOperatorKubeconfig } from "../../dev/local/operator-identity.ts";
import { type Operator, startOperator } from "../../dev/local/operator.ts";
import { startPostgres } from "../../dev/local/postgres.ts";
import { waitFor } from "../../dev/local/wait.ts";
import { ClusterView, readyOf } from "../../dev/quickstart/cluster-view.ts";
import type { KubeClient } from "../../src/kube/client.ts";
import { type Samples, difference, readSamples, total } from "./samples.ts";

const namespace = "team";
const timeoutMs = 240_000;
/** Seldom enough not to be a load of its own. */
const pollMs = 500;

const setting = [
  {
    apiVersion: "scheduling.k8s.io/v1",
    kind: "PriorityClass",
    metadata: { name: "batch" },
    value: 10,
  },
  {
    apiVersion: "rota.dev/v1alpha1",
    kind: "Project",
    metadata: { name: namespace },
    spec: { podSecurity: "baseline", owner: { kind: "User", name: "pat" } },
  },
  {
    apiVersion: "rota.dev/v1alpha1",
    kind: "ResourcePlan",
    metadata: { name: "everything" },
    spec: { resourceType: "GPU", quantity: 10_000, owner: { kind: "User", name: "pat" } },
  },
];

const job = (index: number): object => ({
  apiVersion: "rota.dev/v1alpha1",
  kind: "Job",
  metadata: { namespace, name: `job-${index}` },
  spec: {
    priorityClassName: "batch",
    template: {
      metadata: { annotations: { "rota.dev/simulate-run-seconds": "0" } },
      spec: {
        containers: [
          {
            name: "main",
            image: "none.example/none:1",
            resources: { limits: { "nvidia.com/gpu": 1 } },
          },
        ],
      },
    },
  },
});

export interface ClusterRun {
  readonly jobs: number;
  readonly nodes: number;
  readonly submittedSeconds: number;
  readonly podsExistSeconds: number;
  readonly completeSeconds: number;
  /** Requests of the operator for all jobs, by verb, resource and whether they were dry runs. */
  readonly operatorRequests: Readonly<Record<string, number>>;
  /** Writes of all clients besides the submissions, as the API server counts them. */
  readonly apiWrites: Readonly<Record<string, number>>;
  readonly operatorWritesPerJob: number;
  readonly operatorCpuSeconds: number;
  readonly apiServerCpuSeconds: number;
}

const jobsPath = `/apis/rota.dev/v1alpha1/namespaces/${namespace}/jobs`;

interface Place {
  readonly cluster: Cluster;
  readonly client: KubeClient;
  readonly view: ClusterView;
  readonly operator: Operator;
}

async function submit({ cluster, client }: Place, jobs: number, file: string): Promise<void> {
  if (process.env["SUBMIT"] === "client") {
    const queue = Array.from({ length: jobs }, (_, index) => job(index));
    const worker = async (): Promise<void> => {
      for (let next = queue.shift(); next; next = queue.shift())
        await client.raw("POST", jobsPath, next, { idempotent: true });
    };
    await Promise.all(Array.from({ length: 8 }, worker));
    return;
  }
  const items = Array.from({ length: jobs }, (_, index) => job(index));
  writeFileSync(file, JSON.stringify({ apiVersion: "v1", kind: "List", items }));
  const args = [`--kubeconfig=${cluster.kubeconfig}`, "create", "--output=name", "-f", file];
  await promisify(execFile)(cluster.kubectl, args, { timeout: timeoutMs, maxBuffer: 2 ** 24 });
}

/** One job from end to end: policies, caches and plans of statements are warm then, as in a cluster that works. */
async function warmUp({ client, view }: Place): Promise<void> {
  const first = job(0);
  await view.until("the first job to be accepted", async () => {
    await client.raw("POST", jobsPath, first);
    return true;
  });
  const isGone = async () => (await view.jobs()).length === 0;
  await view.until("the first job to be complete", async () =>
    (await view.jobs()).every(({ status }) => status.state === "Succeeded"),
  );
  await client.raw("DELETE", `${jobsPath}/job-0`);
  await view.until("the first job to be gone", isGone);
  await view.until("its pods to be gone", async () => (await count(client, podsPath)) === 0);
}

const podsPath = `/api/v1/namespaces/${namespace}/pods`;

/** Counts without reading the objects: a list of one says how many remain. */
async function count(client: KubeClient, path: string): Promise<number> {
  const list = (await client.raw("GET", `${path}?limit=1`)) as {
    readonly items: readonly object[];
    readonly metadata: { readonly remainingItemCount?: number };
  };
  return list.items.length + (list.metadata.remainingItemCount ?? 0);
}

async function secondsUntil(started: number, what: string, isDone: () => Promise<boolean>) {
  await waitFor(isDone, { what, timeoutMs, intervalMs: pollMs });
  return (performance.now() - started) / 1000;
}

async function apiServerSamples(client: KubeClient): Promise<Samples> {
  return readSamples(String(await client.raw("GET", "/metrics")));
}

const operatorSamples = async ({ url }: Operator): Promise<Samples> =>
  readSamples(await (await fetch(`${url}/metrics`)).text());

const writeVerbs = new Set(["POST", "PUT", "PATCH", "APPLY", "DELETE"]);
/** Neither for jobs nor in proportion to them. */
const unrelated = new Set(["leases", "subjectaccessreviews", "tokenreviews"]);

function grouped(
  samples: Samples,
  name: string,
  labels: readonly string[],
): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const sample of samples) {
    if (sample.name !== name || sample.value === 0) continue;
    const key = labels.flatMap((label) => sample.labels[label] || []).join(" ");
    sums[key] = (sums[key] ?? 0) + sample.value;
  }
  return sums;
}

/** Of all clients; the submissions themselves are left out. */
function writesOf(samples: Samples): Record<string, number> {
  const relevant = samples.filter(
    ({ labels }) =>
      writeVerbs.has(labels["verb"] ?? "") &&
      !unrelated.has(labels["resource"] ?? "") &&
      !(labels["verb"] === "POST" && labels["resource"] === "jobs"),
  );
  return grouped(relevant, "apiserver_request_total", [
    "verb",
    "resource",
    "subresource",
    "dry_run",
  ]);
}

function requestsOf(samples: Samples): Record<string, number> {
  const relevant = samples.filter(({ labels }) => !unrelated.has(labels["resource"] ?? ""));
  return grouped(relevant, "rota_rest_client_requests_total", ["verb", "resource"]);
}

const isWrite = (key: string): boolean => !/^(get|list|watch)\b/i.test(key);

async function measureOn(
  place: Place,
  jobs: number,
  nodes: number,
  file: string,
): Promise<ClusterRun> {
  const { client, operator, view } = place;
  const before = { api: await apiServerSamples(client), own: await operatorSamples(operator) };
  const started = performance.now();
  const submitted = submit(place, jobs, file).then(() => (performance.now() - started) / 1000);
  const existing = secondsUntil(
    started,
    "all pods to exist",
    async () => (await count(client, podsPath)) >= jobs,
  );
  const [submittedSeconds, podsExistSeconds] = await Promise.all([submitted, existing]);
  const completeSeconds = await secondsUntil(started, "all jobs to be complete", async () => {
    const states = (await view.jobs()).map(({ status }) => status.state);
    return states.length === jobs && states.every((state) => state === "Succeeded");
  });
  const api = difference(before.api, await apiServerSamples(client));
  const own = difference(before.own, await operatorSamples(operator));
  const operatorRequests = requestsOf(own);
  const writes = Object.entries(operatorRequests).filter(([key]) => isWrite(key));
  return {
    jobs,
    nodes,
    submittedSeconds,
    podsExistSeconds,
    completeSeconds,
    operatorRequests,
    apiWrites: writesOf(api),
    operatorWritesPerJob: writes.reduce((sum, [, value]) => sum + value, 0) / jobs,
    operatorCpuSeconds: total(own, "process_cpu_seconds_total"),
    apiServerCpuSeconds: total(api, "process_cpu_seconds_total"),
  };
}

/** Starts everything, measures once, and leaves nothing behind. */
export async function measureJobsOnCluster(jobs: number, nodes: number): Promise<ClusterRun> {
  const directory = mkdtempSync(join(tmpdir(), "rota-bench-"));
  const postgres = await startPostgres({ directory: join(directory, "postgres") });
  const cluster = await startCluster({ directory: join(directory, "cluster"), nodes });
  const client = clientFor(cluster.kubeconfig);
  try {
    await installCrds(cluster);
    const kubeconfig = join(directory, "operator.kubeconfig");
    await writeOperatorKubeconfig(cluster.kubeconfig, kubeconfig);
    const view = new ClusterView(client);
    const logFile = join(directory, "operator.log");
    const operator = await startOperator({ kubeconfig, databaseUrl: postgres.url, logFile });
    try {
      for (const object of setting) await view.apply(object);
      await view.until("the project to be ready", async () =>
        (await view.projects()).some((one) => readyOf(one)?.status === "True"),
      );
      const place = { cluster, client, view, operator };
      await warmUp(place);
      return await measureOn(place, jobs, nodes, join(directory, "jobs.json"));
    } finally {
      await operator.stop();
    }
  } finally {
    await client.close();
    await cluster.stop();
    await postgres.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}
