/** `npm run local:up`: starts a control plane, simulated nodes and PostgreSQL in the background. */
import { join } from "node:path";
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

const usage = `npm run local:up -- [--nodes N] [--gpus-per-node N]
Starts a control plane, simulated nodes (default: 3 of 8 GPUs) and PostgreSQL in the background, and
installs Rota's CRDs, roles and policies. Run again, it adds nodes and restarts what has stopped.
KUBECONFIG and DATABASE_URL name a cluster and a database of yours to use instead.`;

await runCommand(usage, async () => {
  const asked = parseUpArguments(process.argv.slice(2));
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
  return url;
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

async function growCluster(cluster: Cluster, { nodes, gpusPerNode }: UpArguments) {
  await cluster.addNodes({ count: nodes, gpus: gpusPerNode });
  console.log(
    `Cluster: already running, ${cluster.server}, at least ${nodes} nodes of ${gpusPerNode} GPUs`,
  );
  return cluster;
}

async function startAgain(directory: string, { nodes, gpusPerNode }: UpArguments) {
  const leftovers = await stopRecordedControlPlane(directory);
  if (leftovers.length > 0) console.log("Cluster: parts of it had stopped; restarting it");
  const started = performance.now();
  const cluster = await startCluster({ directory, nodes, gpusPerNode, background: true });
  const elapsed = formatElapsed(performance.now() - started);
  console.log(
    `Cluster: started in ${elapsed}, ${cluster.server}, ${nodes} nodes of ${gpusPerNode} GPUs`,
  );
  return cluster;
}
