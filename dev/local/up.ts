/** `npm run local:up`: starts a control plane, simulated nodes and PostgreSQL in the background. */
import { join } from "node:path";
import { checkSchema } from "../../src/db/client/migrate.ts";
import { RotaError } from "../../src/errors.ts";
import { ensureApiEndpoint } from "./api-endpoint.ts";
import { attachCluster, type Cluster, startCluster } from "./cluster.ts";
import { runCommand } from "./command.ts";
import { stopRecordedControlPlane } from "./control-plane.ts";
import { formatElapsed } from "./duration.ts";
import { type LocalEnvironment, writeEnvironment } from "./env-file.ts";
import {
  checkCluster,
  checkDatabase,
  externalDatabaseUrl,
  externalKubeconfig,
  withoutPassword,
} from "./user-provided.ts";
import { installCrds } from "./install-crds.ts";
import { withLock } from "./lock.ts";
import { localFolder } from "./paths.ts";
import { attachPostgres, startPostgres, stopRecordedPostgres } from "./postgres.ts";
import { stopRecordedRealNodes } from "./real-nodes/real-nodes.ts";
import { requireRealNodes } from "./real-nodes/requirements.ts";
import { parseUpArguments, type UpArguments } from "./settings.ts";

const nextSteps = `
Ready. Next:
  source .local/env
  npm start                     # the operator; Ctrl-C stops it
In another terminal:
  source .local/env
  kubectl apply -f examples/
  kubectl rota queue -A
To stop everything: npm run local:down`;

const usage = `npm run local:up -- [--nodes N] [--gpus-per-node N] [--real-nodes N]
Starts a control plane, nodes (default: 3 simulated ones of 8 GPUs) and PostgreSQL in the background, and
installs Rota's CRDs, roles and policies. Run again, it adds nodes and restarts what has stopped.
KUBECONFIG and DATABASE_URL name a cluster and a database of yours to use instead.`;

await runCommand(usage, async () => {
  const asked = parseUpArguments(process.argv.slice(2));
  if (asked.realNodes > 0) requireRealNodes();
  await withLock(join(localFolder, "lock"), () => up(asked));
});

async function up(asked: UpArguments): Promise<void> {
  // The user's own cluster and database are checked before anything is started.
  const given = await useGiven();
  const cluster = given.kubeconfig ? { kubeconfig: given.kubeconfig } : await localCluster(asked);
  const databaseUrl = given.databaseUrl ?? (await localDatabase());
  const api = await ensureApiEndpoint(join(localFolder, "api"));
  writeEnvironment(localFolder, { databaseUrl, api, ...cluster });
  await installCrds(cluster);
  console.log("CRDs, roles and policies: installed");
  console.log(nextSteps);
}

async function useGiven() {
  const kubeconfig = externalKubeconfig(process.env);
  const databaseUrl = externalDatabaseUrl(process.env);
  if (kubeconfig) {
    const version = await checkCluster(kubeconfig);
    console.log(`Cluster: KUBECONFIG ${kubeconfig} (${version})`);
  }
  if (databaseUrl) {
    await checkDatabase(databaseUrl);
    console.log(`PostgreSQL: DATABASE_URL ${withoutPassword(databaseUrl)}`);
  }
  return { kubeconfig, databaseUrl };
}

async function localDatabase(): Promise<string> {
  const directory = join(localFolder, "postgres");
  const running = await attachPostgres(directory);
  if (!running) await stopRecordedPostgres(directory);
  const { url } = running ?? (await startPostgres({ directory, background: true }));
  console.log(`PostgreSQL: ${running ? "already running" : "started"}, ${withoutPassword(url)}`);
  await checkLocalSchema(url);
  return url;
}

async function checkLocalSchema(url: string): Promise<void> {
  try {
    await checkSchema(url);
  } catch (error) {
    if (!(error instanceof RotaError) || error.code !== "SchemaChanged") throw error;
    throw new Error(
      "the local database was made by an earlier schema: run `npm run local:down -- --delete`, then `npm run local:up`",
      { cause: error },
    );
  }
}

async function localCluster(asked: UpArguments): Promise<ClusterPart> {
  const directory = join(localFolder, "cluster");
  const running = await attachCluster(directory);
  const { kubeconfig, kubectl } = running
    ? await growCluster(running, asked)
    : await startAgain(directory, asked);
  return { kubeconfig, kubectl };
}

type ClusterPart = Pick<LocalEnvironment, "kubeconfig" | "kubectl">;

async function growCluster(cluster: Cluster, { nodes, gpusPerNode, realNodes }: UpArguments) {
  await cluster.addNodes({ count: nodes, gpus: gpusPerNode });
  if (realNodes > 0) await cluster.addRealNodes({ count: realNodes, gpusPerNode });
  console.log(
    `Cluster: already running, ${cluster.server}, at least ${nodes} nodes of ${gpusPerNode} GPUs`,
  );
  return cluster;
}

async function startAgain(directory: string, { nodes, gpusPerNode, realNodes }: UpArguments) {
  await stopRecordedRealNodes(directory);
  const leftovers = await stopRecordedControlPlane(directory);
  if (leftovers.length > 0) console.log("Cluster: parts of it had stopped; restarting it");
  const started = performance.now();
  const real = realNodes > 0 ? { realNodes: { count: realNodes, gpusPerNode } } : {};
  const cluster = await startCluster({ directory, nodes, gpusPerNode, ...real, background: true });
  const elapsed = formatElapsed(performance.now() - started);
  console.log(
    `Cluster: started in ${elapsed}, ${cluster.server}, ${nodes} simulated and ${realNodes} real nodes of ${gpusPerNode} GPUs`,
  );
  return cluster;
}
