/**
 * The operator of an installed Deployment as a process, with its ServiceAccount's token and its declared environment.
 */
import { join } from "node:path";
import type { Cluster } from "../../dev/local/cluster.ts";
import { clientFor } from "../../dev/local/kube-client.ts";
import { writeOperatorKubeconfig } from "../../dev/local/operator-identity.ts";
import { type Operator, startOperator } from "../../dev/local/operator.ts";
import { ClusterView } from "../../dev/quickstart/cluster-view.ts";
import {
  job,
  owner,
  plan,
  priorityClass,
  project,
  teamIsReady,
  teamJobIs,
} from "./installation.ts";
import { kubectl, read } from "./kubectl.ts";

interface Variable {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: {
    readonly secretKeyRef?: { readonly name: string; readonly key: string };
    readonly fieldRef?: { readonly fieldPath: string };
  };
}

export interface InstalledDeployment {
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: {
    readonly replicas: number;
    readonly template: {
      readonly spec: {
        readonly serviceAccountName: string;
        readonly terminationGracePeriodSeconds: number;
        readonly containers: readonly {
          readonly image: string;
          readonly env: readonly Variable[];
        }[];
      };
    };
  };
}

export const namespace = "rota-system";

export const deployment = (cluster: Cluster): Promise<InstalledDeployment> =>
  read(cluster, "deployment", "rota-operator", `--namespace=${namespace}`);

/** The Secret that the Deployment requires, created as the documentation describes. */
export async function createDatabaseSecret(cluster: Cluster, url: string): Promise<void> {
  const args = [`--namespace=${namespace}`, "rota-database", `--from-literal=url=${url}`];
  await kubectl(cluster, "create", "secret", "generic", ...args);
}

async function valueOf(cluster: Cluster, variable: Variable): Promise<string> {
  const { secretKeyRef, fieldRef } = variable.valueFrom ?? {};
  if (fieldRef?.fieldPath === "metadata.namespace") return namespace;
  if (!secretKeyRef) return variable.value ?? "";
  const secret = await read<{ readonly data: Readonly<Record<string, string>> }>(
    cluster,
    "secret",
    secretKeyRef.name,
    `--namespace=${namespace}`,
  );
  return Buffer.from(secret.data[secretKeyRef.key] ?? "", "base64").toString();
}

/** Everything except the listen addresses: test servers listen on loopback, on a free port. */
async function environmentOf(
  cluster: Cluster,
  { spec }: InstalledDeployment,
): Promise<Record<string, string>> {
  const variables = spec.template.spec.containers[0]?.env ?? [];
  const declared = await Promise.all(
    variables
      .filter(({ name }) => !/^ROTA_(HTTP|API)_/.test(name))
      .map(async (variable) => [variable.name, await valueOf(cluster, variable)] as const),
  );
  return Object.fromEntries(declared);
}

export async function startInstalledOperator(cluster: Cluster, logFile: string): Promise<Operator> {
  const installed = await deployment(cluster);
  const { DATABASE_URL: databaseUrl = "", ...env } = await environmentOf(cluster, installed);
  const kubeconfig = join(cluster.directory, "operator.kubeconfig");
  await writeOperatorKubeconfig(cluster.kubeconfig, kubeconfig);
  return startOperator({ kubeconfig, databaseUrl, logFile, env });
}

/** Runs the installed operator as its Deployment declares it until a job of this name runs, then stops it cleanly. */
export async function runsJob(cluster: Cluster, folder: string, name: string): Promise<void> {
  const operator = await startInstalledOperator(cluster, join(folder, `operator-${name}.log`));
  const client = clientFor(cluster.kubeconfig);
  const view = new ClusterView(client);
  const objects = [priorityClass("low", 10), project("team", { owner }), plan("all", { owner })];
  try {
    for (const object of objects) await view.apply(object);
    await teamIsReady({ view });
    await view.apply(job("team", name, { pool: "default", gpus: 8, priorityClassName: "low" }));
    await teamJobIs({ view }, name, "Running");
  } finally {
    await client.close();
    await operator.stop();
  }
  const how = await operator.ended;
  if (how !== "status 0") throw new Error(`the operator ended with ${how}`);
}
