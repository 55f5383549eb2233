/**
 * A complete installation for end-to-end tests: control plane, database, CRDs, manifests, and the operator as a
 * process. The operator has the token of its own ServiceAccount, and thus only the rights that manifests/ grant.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Cluster, type ClusterOptions, startCluster } from "../../dev/local/cluster.ts";
import { installCrds } from "../../dev/local/install-crds.ts";
import { clientFor } from "../../dev/local/kube-client.ts";
import { writeOperatorKubeconfig } from "../../dev/local/operator-identity.ts";
import { type Operator, startOperator } from "../../dev/local/operator.ts";
import { ClusterView, readyOf } from "../../dev/quickstart/cluster-view.ts";
import type { KubeObject } from "../../src/kube/resource.ts";
import type { Job } from "../../src/resources/types.ts";
import { createTestDatabase, type TestDatabase } from "./database.ts";

export interface Installation {
  readonly cluster: Cluster;
  readonly view: ClusterView;
  readonly database: TestDatabase;
  /** Starts the operator, or another one in addition; `stop` stops them all. */
  operate(
    env?: Readonly<Record<string, string>>,
    options?: { readonly untilReady?: boolean },
  ): Promise<Operator>;
  stopOperators(): Promise<void>;
  stop(): Promise<void>;
}

export interface InstallationOptions {
  /** Ignores refused calls, because the test restarts the API server. */
  readonly mayBeRejected?: boolean;
  /** Additions to the default cluster, a control plane without nodes. */
  readonly cluster?: Omit<ClusterOptions, "directory" | "background">;
}

/**
 * For a test that keeps the API server so busy that renewing a short lease fails: most tests want quick elections, it
 * wants none.
 */
export const usualLease = { ROTA_LEASE_SECONDS: "15" } as const;

export async function startInstallation({
  mayBeRejected = false,
  cluster: clusterOptions = {},
}: InstallationOptions = {}): Promise<Installation> {
  const directory = mkdtempSync(join(tmpdir(), "rota-e2e-"));
  const database = await createTestDatabase();
  const cluster = await startCluster({
    directory: join(directory, "cluster"),
    nodes: 0,
    ...clusterOptions,
  });
  await installCrds(cluster);
  const operatorKubeconfig = join(directory, "operator.kubeconfig");
  await writeOperatorKubeconfig(cluster.kubeconfig, operatorKubeconfig);
  const client = clientFor(cluster.kubeconfig);
  const operators: Operator[] = [];
  return {
    cluster,
    database,
    view: new ClusterView(client),
    operate: async (env = {}, { untilReady = true } = {}) => {
      const operator = await startOperator({
        kubeconfig: operatorKubeconfig,
        databaseUrl: database.url,
        logFile: join(directory, `operator-${operators.length + 1}.log`),
        env: {
          ROTA_LEASE_SECONDS: "3",
          ROTA_PLAN_DELETION_SECONDS: "0",
          ROTA_POOL_CHANGE_SECONDS: "0",
          ...env,
        },
        untilReady,
      });
      operators.push(operator);
      return operator;
    },
    stopOperators: async () => {
      await Promise.all(operators.map((operator) => operator.stop()));
    },
    stop: async () => {
      await client.close();
      const rejected = (await Promise.all(operators.map(rejectedCalls))).flat();
      await Promise.all(operators.map((operator) => operator.stop()));
      await cluster.stop();
      await database.drop();
      // Keep the logs for debugging on request.
      if (process.env["ROTA_KEEP_LOGS"] === undefined) {
        rmSync(directory, { recursive: true, force: true });
      }
      if (rejected.length > 0 && !mayBeRejected) {
        throw new Error(
          `manifests/ do not give the operator what it needs:\n${rejected.join("\n")}`,
        );
      }
    },
  };
}

/**
 * Calls that the API server refused with 403, from the operator's metrics; calls of a killed operator are unknown. Pods
 * and events are excluded: Pod Security refuses templates with 403, and a namespace that is being deleted refuses
 * events. Other tests check both.
 */
async function rejectedCalls({ url }: Operator): Promise<string[]> {
  const metrics = await fetch(`${url}/metrics`).then(
    (response) => response.text(),
    () => "",
  );
  return metrics
    .split("\n")
    .filter((line) => line.startsWith("rota_rest_client_requests_total"))
    .filter((line) => line.includes('code="403"'))
    .filter((line) => !/resource="(pods|events)"/.test(line));
}

/** The user whose plans the project "team" runs on. */
export const owner = { kind: "User", name: "pat" };

/** Creates project "team" with additions from `spec`, and the priority classes low and high for its jobs. */
export async function applyTeam(
  { view }: Pick<Installation, "view">,
  spec: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  for (const object of [
    priorityClass("low", 10),
    priorityClass("high", 1000),
    project("team", { owner, ...spec }),
  ]) {
    await view.apply(object);
  }
}

/** Waits until project "team" is ready. */
export function teamIsReady({ view }: Pick<Installation, "view">): Promise<unknown> {
  return view.until("the project to be ready", async () => {
    const found = (await view.projects()).find(({ name }) => name === "team");
    return found && readyOf(found)?.status === "True";
  });
}

/** Waits until the team's job has one of the states. */
export function teamJobIs(
  { view }: Pick<Installation, "view">,
  name: string,
  ...states: string[]
): Promise<Job> {
  return view.untilJob(`team/${name}`, `be ${states.join(" or ")}`, ({ status }) =>
    states.includes(status.state ?? ""),
  );
}

export const priorityClass = (
  name: string,
  value: number,
  preemptionPolicy = "PreemptLowerPriority",
): KubeObject => ({
  apiVersion: "scheduling.k8s.io/v1",
  kind: "PriorityClass",
  metadata: { name },
  value,
  preemptionPolicy,
});

export const project = (
  name: string,
  spec: Readonly<Record<string, unknown>> = {},
): KubeObject => ({
  apiVersion: "rota.dev/v1alpha1",
  kind: "Project",
  metadata: { name },
  spec: { podSecurity: "baseline", ...spec },
});

export const plan = (name: string, spec: Readonly<Record<string, unknown>>): KubeObject => ({
  apiVersion: "rota.dev/v1alpha1",
  kind: "ResourcePlan",
  metadata: { name },
  spec: { resourceType: "GPU", quantity: 100, ...spec },
});

/** A commit of project "team". */
export const commit = (name: string, spec: Readonly<Record<string, unknown>>): KubeObject => ({
  apiVersion: "rota.dev/v1alpha1",
  kind: "ConfigCommit",
  metadata: { namespace: "team", name },
  spec,
});

export interface JobOptions {
  /** Of each pod. */
  readonly gpus: number;
  /** Each pod's request, as a Kubernetes quantity. */
  readonly cpu?: string;
  readonly pool: string;
  readonly priorityClassName?: string;
  readonly parallelism?: number;
  readonly tolerations?: readonly object[];
  readonly annotations?: Readonly<Record<string, string>>;
  readonly spec?: Readonly<Record<string, unknown>>;
}

export const job = (namespace: string, name: string, options: JobOptions): KubeObject => ({
  apiVersion: "rota.dev/v1alpha1",
  kind: "Job",
  metadata: { namespace, name },
  spec: {
    pool: options.pool,
    ...(options.priorityClassName === undefined
      ? {}
      : { priorityClassName: options.priorityClassName }),
    parallelism: options.parallelism ?? 1,
    template: {
      metadata: { annotations: { ...options.annotations } },
      spec: {
        ...(options.tolerations && { tolerations: options.tolerations }),
        containers: [
          {
            name: "main",
            image: "none.example/none:1",
            resources: {
              ...(options.cpu === undefined ? {} : { requests: { cpu: options.cpu } }),
              limits: { "nvidia.com/gpu": options.gpus },
            },
          },
        ],
      },
    },
    ...options.spec,
  },
});
