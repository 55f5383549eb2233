/** `npm run quickstart`: starts a control plane, PostgreSQL and the operator, and runs a demo on them. */
import { rmSync } from "node:fs";
import { join, relative } from "node:path";
import { parseArgs } from "node:util";
import { createPool } from "../../src/db/client/connection-pool.ts";
import { type ApiEndpoint, ensureApiEndpoint } from "../local/api-endpoint.ts";
import { startCluster } from "../local/cluster.ts";
import { runCommand } from "../local/command.ts";
import { writeEnvironment } from "../local/env-file.ts";
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
  /** Absent for a cluster of the user's. */
  readonly kubectl?: string;
  readonly api: ApiEndpoint;
}

/** Called in reverse order on every exit. */
const closers: (() => Promise<unknown>)[] = [];

async function closeAll(): Promise<void> {
  for (const close of closers.splice(0).toReversed()) {
    await close().catch((error: unknown) =>
      console.error(`error while stopping: ${String(error)}`),
    );
  }
}

async function prepareCluster(): Promise<Pick<Backdrop, "kubeconfig" | "kubectl">> {
  const given = externalKubeconfig(process.env);
  if (given !== undefined) {
    console.log(`Cluster:    KUBECONFIG ${given} (${await checkCluster(given)})`);
    return { kubeconfig: given };
  }
  const cluster = await startCluster({
    directory: join(home, "cluster"),
    nodes: 3,
    gpusPerNode: 8,
  });
  closers.push(() => cluster.stop());
  console.log(`Cluster:    control plane at ${cluster.server} with simulated nodes`);
  return cluster;
}

async function prepareDatabase(): Promise<string> {
  const given = externalDatabaseUrl(process.env);
  if (given !== undefined) {
    await checkDatabase(given);
    console.log("PostgreSQL: DATABASE_URL");
    return given;
  }
  const postgres = await startPostgres({ directory: join(home, "postgres") });
  closers.push(() => postgres.stop());
  console.log("PostgreSQL: local server");
  return postgres.url;
}

async function prepare(): Promise<Backdrop> {
  rmSync(home, { recursive: true, force: true });
  const [cluster, databaseUrl] = await Promise.all([prepareCluster(), prepareDatabase()]);
  await installCrds(cluster);
  const logFile = join(home, "operator.log");
  const api = await ensureApiEndpoint(join(home, "api"));
  const operatorKubeconfig = join(home, "operator.kubeconfig");
  await writeOperatorKubeconfig(cluster.kubeconfig, operatorKubeconfig);
  const operator = await startOperator({
    kubeconfig: operatorKubeconfig,
    databaseUrl,
    logFile,
    env: {
      ROTA_LEASE_SECONDS: "5",
      ROTA_API_PORT: String(api.port),
      ROTA_API_CERT_FILE: api.certFile,
      ROTA_API_KEY_FILE: api.keyFile,
    },
  });
  closers.push(() => operator.stop());
  console.log(`Operator:   ${operator.url}/metrics, log: ${relative(process.cwd(), logFile)}`);
  return { ...cluster, databaseUrl, api };
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

function printNextSteps(backdrop: Backdrop): void {
  const file = writeEnvironment(home, backdrop);
  console.log(`
The cluster runs until Ctrl-C. Next, in another terminal:
  source ${relative(process.cwd(), file)}
  kubectl get rproj,rplan,rj -A
  kubectl rota tree
  kubectl rota preemptions --reasons
  kubectl describe rplan vision-crunch
  kubectl delete rj -n speech sweep
  kubectl rota top`);
}

const afterwards = `
Next: a cluster of your own to try things in.
  npm run local:up`;

const interrupted = new Promise<void>((resolve) => {
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve());
});

async function stayUp(): Promise<void> {
  // Handlers of signals alone do not keep a process running.
  const running = setInterval(() => undefined, 60_000);
  await interrupted;
  clearInterval(running);
}

const usage = `npm run quickstart -- [--exit]
Starts a control plane with simulated nodes, PostgreSQL and the operator, and runs a demo on them.
Everything runs until Ctrl-C, or ends after the demo with --exit. KUBECONFIG and DATABASE_URL name a
cluster and a database of yours to use instead.`;

await runCommand(usage, async () => {
  const { values } = parseArgs({ options: { exit: { type: "boolean", default: false } } });
  const ended = interrupted.then(() => undefined);
  try {
    const backdrop = await Promise.race([prepare(), ended]);
    const checks = backdrop && (await Promise.race([tell(backdrop), ended]));
    if (backdrop === undefined || checks === undefined) {
      process.exitCode = 130;
      return;
    }
    console.log(`\nDone: ${checks} checks passed.`);
    if (values.exit) return console.log(afterwards);
    printNextSteps(backdrop);
    await stayUp();
  } finally {
    await closeAll();
  }
});
