/** `npm run quickstart`: a control plane, PostgreSQL, the operator, and the story that shows what they do. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createPool } from "../../src/db/client/connection-pool.ts";
import { startCluster } from "../local/cluster.ts";
import { runCommand } from "../local/command.ts";
import {
  checkCluster,
  checkDatabase,
  externalDatabaseUrl,
  externalKubeconfig,
} from "../local/user-provided.ts";
import { installCrds } from "../local/install-crds.ts";
import { clientFor } from "../local/kube-client.ts";
import { writeOperatorKubeconfig } from "../local/operator-identity.ts";
import { startOperator } from "../local/operator.ts";
import { localFolder } from "../local/paths.ts";
import { startPostgres } from "../local/postgres.ts";
import { ClusterView } from "./cluster-view.ts";
import { Narrator } from "./narrator.ts";
import { tellStory } from "./story.ts";

const home = join(localFolder, "quickstart");

interface Backdrop {
  readonly kubeconfig: string;
  readonly databaseUrl: string;
  readonly kubectl: string;
}

/** Ended in reverse order, whatever happens. */
const closers: (() => Promise<unknown>)[] = [];

async function closeAll(): Promise<void> {
  for (const close of closers.splice(0).toReversed()) {
    await close().catch((error: unknown) => console.error(`while stopping: ${String(error)}`));
  }
}

async function prepareCluster(): Promise<Pick<Backdrop, "kubeconfig" | "kubectl">> {
  const given = externalKubeconfig(process.env);
  if (given !== undefined) {
    console.log(`Cluster: that of KUBECONFIG (${await checkCluster(given)})`);
    return { kubeconfig: given, kubectl: "kubectl" };
  }
  const cluster = await startCluster({
    directory: join(home, "cluster"),
    nodes: 3,
    gpusPerNode: 8,
  });
  closers.push(() => cluster.stop());
  console.log(`Cluster: a control plane of its own at ${cluster.server}, with simulated nodes`);
  return cluster;
}

async function prepareDatabase(): Promise<string> {
  const given = externalDatabaseUrl(process.env);
  if (given !== undefined) {
    await checkDatabase(given);
    console.log("PostgreSQL: that of DATABASE_URL");
    return given;
  }
  const postgres = await startPostgres({ directory: join(home, "postgres") });
  closers.push(() => postgres.stop());
  console.log("PostgreSQL: a server of its own");
  return postgres.url;
}

async function prepare(): Promise<Backdrop> {
  rmSync(home, { recursive: true, force: true });
  const [cluster, databaseUrl] = await Promise.all([prepareCluster(), prepareDatabase()]);
  await installCrds(cluster);
  const logFile = join(home, "operator.log");
  const operatorKubeconfig = join(home, "operator.kubeconfig");
  await writeOperatorKubeconfig(cluster.kubeconfig, operatorKubeconfig);
  const operator = await startOperator({
    kubeconfig: operatorKubeconfig,
    databaseUrl,
    logFile,
    env: { ROTA_LEASE_SECONDS: "5" },
  });
  closers.push(() => operator.stop());
  console.log(
    `Operator: pid ${operator.pid}, metrics at ${operator.url}/metrics, log in ${logFile}`,
  );
  return { ...cluster, databaseUrl };
}

async function tell({ kubeconfig, databaseUrl }: Backdrop): Promise<number> {
  const client = clientFor(kubeconfig);
  const database = createPool(databaseUrl, { applicationName: "quickstart", maxConnections: 2 });
  const narrator = new Narrator();
  try {
    await tellStory({ view: new ClusterView(client), narrator, database });
    return narrator.checks;
  } finally {
    await client.close();
    await database.end();
  }
}

function printWhatToTry({ kubeconfig, kubectl }: Backdrop): void {
  console.log(`
Everything stays up until Ctrl-C. In another terminal:
  export KUBECONFIG=${kubeconfig}
  alias kubectl=${kubectl}
  kubectl get rproj,rplan,rj -A
  kubectl get rj -A -o wide
  kubectl describe rplan vision-crunch
  kubectl explain rj.spec
  kubectl delete rj -n speech sweep`);
}

const interrupted = new Promise<void>((resolve) => {
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve());
});

await runCommand(async () => {
  const { values } = parseArgs({ options: { exit: { type: "boolean", default: false } } });
  const ended = interrupted.then(() => undefined);
  try {
    const backdrop = await Promise.race([prepare(), ended]);
    const checks = backdrop && (await Promise.race([tell(backdrop), ended]));
    if (backdrop === undefined || checks === undefined) {
      process.exitCode = 130;
      return;
    }
    console.log(`\nThe story happened: ${checks} checks of what the API server showed.`);
    if (values.exit) return;
    printWhatToTry(backdrop);
    await interrupted;
  } finally {
    await closeAll();
  }
});
