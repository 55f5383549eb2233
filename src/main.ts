/** The operator: settings in, parts assembled, run, drained. */
import { hostname } from "node:os";
import packageFile from "../package.json" with { type: "json" };
import type { Context } from "./controllers/context.ts";
import { probeGang } from "./controllers/job/pods.ts";
import { NodePools } from "./controllers/node-pools.ts";
import { tenantsOf } from "./controllers/project/tenants.ts";
import { createPool } from "./db/client/connection-pool.ts";
import { createApi } from "./http/api.ts";
import { KubeClient } from "./kube/client.ts";
import { loadCredentials } from "./kube/credentials.ts";
import type { CredentialSource } from "./kube/credentials.ts";
import { createEventRecorder } from "./kube/events.ts";
import { leaseConnections } from "./kube/lease-lock.ts";
import { StatusWriter } from "./kube/status-writer.ts";
import { buildInfo } from "./observability/build-info.ts";
import { poolMetrics, statementMetrics } from "./observability/database-metrics.ts";
import { exitWhenLogged, loggedProcess } from "./observability/flush-on-exit.ts";
import { createLogger } from "./observability/logs.ts";
import { PrometheusMetrics } from "./observability/metrics.ts";
import { clockMetrics, eventLoopMetrics } from "./observability/process-metrics.ts";
import { stateMetrics } from "./observability/state-metrics.ts";
import { admissionPolicyGauge } from "./operator/admission-policies.ts";
import {
  Leader,
  admissionPoliciesComponent,
  clusterComponent,
  httpComponent,
  informersComponent,
  leaseName,
} from "./operator/components.ts";
import { databaseComponent } from "./operator/database.ts";
import { createControllers, createQueues } from "./operator/controllers.ts";
import { createInformers } from "./operator/informers.ts";
import { namespaceQuotasOf } from "./operator/namespace-quotas.ts";
import { runTerm } from "./operator/leader-term.ts";
import { Ownership } from "./operator/ownership/ownership.ts";
import { AnchoredClock, systemClock } from "./runtime/clock.ts";
import { createLifecycle } from "./runtime/lifecycle.ts";
import type { Lifecycle } from "./runtime/lifecycle.ts";
import { errorText } from "./runtime/logger.ts";
import type { Logger } from "./runtime/logger.ts";
import { Scheduler } from "./scheduler/scheduler.ts";
import { readSettings } from "./settings/read.ts";
import type { Settings } from "./settings/read.ts";

/** After the drain: the lease is released, the last events are sent, connections are closed. */
const shutdownSeconds = 5;

async function main(): Promise<number> {
  const settings = readSettings(process.env, process.stderr.isTTY);
  const logger = createLogger(settings.logLevel, settings.logFormat);
  return assemble(settings, logger, readCredentials()).run();
}

function readCredentials(): CredentialSource {
  try {
    return loadCredentials();
  } catch (error) {
    throw new Error(`cannot start:\n  - KUBECONFIG: ${errorText(error)}`, { cause: error });
  }
}

/** The components, in start order; they stop in reverse. */
function assemble(settings: Settings, logger: Logger, credentials: CredentialSource): Lifecycle {
  const clients = connect(settings, logger, credentials);
  const { clock, metrics, kube, apiKube, leaseKube, db, informers, events } = clients;
  const { context, scheduler } = createContext(settings, clients);
  const controllers = createControllers(context, metrics);
  const lifecycle = createLifecycle({
    clock,
    logger,
    graceSeconds: settings.drainSeconds + shutdownSeconds,
    process: loggedProcess,
  });
  const lease = { namespace: settings.leaseNamespace, name: leaseName };
  const ownership = new Ownership({ kube, db, clock, logger, metrics, settings, lease });
  const leader = new Leader({
    settings,
    logger,
    kube: leaseKube,
    metrics,
    events,
    ownership,
    runTerm: (signals) => runTerm({ context, controllers, scheduler, ownership }, signals),
    onTimeTravel: () => informers.reread("the Lease"),
    onEnd: (reason) => lifecycle.stop(reason),
  });
  const { registry } = metrics;
  const { timeZone } = settings;
  stateMetrics({ registry, db, clock, logger, timeZone, isLeading: () => leader.isLeading });
  const unready = async () => (await lifecycle.readiness()).waitingFor;
  const policies = { kube, clock, logger, gauge: admissionPolicyGauge(metrics) };

  lifecycle.add(httpComponent({ settings, logger, registry, unready }));
  lifecycle.add(
    databaseComponent({
      settings,
      db,
      logger,
      clock,
      onRefused: (reason) => lifecycle.stop(reason),
    }),
  );
  lifecycle.add(clusterComponent([kube, apiKube, leaseKube], credentials.server, logger));
  lifecycle.add(ownership);
  const namespaceQuotas = namespaceQuotasOf(informers);
  lifecycle.add(createApi({ settings, kube: apiKube, clock, logger, metrics, namespaceQuotas }));
  lifecycle.add(informersComponent(informers));
  lifecycle.add(admissionPoliciesComponent(policies));
  lifecycle.add(leader);
  return lifecycle;
}

/** The clients and caches of the process; nothing is contacted before the start. */
function connect(settings: Settings, logger: Logger, credentials: CredentialSource) {
  const clock = new AnchoredClock(systemClock);
  const metrics = new PrometheusMetrics();
  eventLoopMetrics(metrics);
  clockMetrics(metrics, clock);
  buildInfo(metrics, packageFile.version);
  const client = { credentials, clock, name: "rota", metrics };
  const kube = new KubeClient(client);
  // Separate connections: neither a burst of the controllers nor slow reviews delay the renewal of the lease.
  const apiKube = new KubeClient(client);
  const leaseKube = new KubeClient({ ...client, connections: leaseConnections });
  const db = createPool(settings.databaseUrl, {
    applicationName: "rota",
    onError: (error) => logger.warn("a database connection was lost", { error: error.message }),
    onStatement: statementMetrics(metrics),
  });
  poolMetrics(metrics, db);
  const { gpuResource } = settings;
  const statuses = new StatusWriter({ client: kube, clock });
  const onTimeTravel = () => statuses.forget();
  const informers = createInformers({ kube, clock, logger, metrics, gpuResource, onTimeTravel });
  const events = createEventRecorder({
    client: kube,
    clock,
    logger,
    metrics,
    controller: "rota.dev/operator",
    instance: hostname(),
  });
  return { clock, logger, metrics, kube, apiKube, leaseKube, db, informers, statuses, events };
}

/** The dependencies of controllers, including the scheduler. */
function createContext(
  settings: Settings,
  { clock, logger, metrics, kube, db, informers, statuses, events }: ReturnType<typeof connect>,
): { readonly context: Context; readonly scheduler: Scheduler } {
  const { owned } = informers;
  const checkpoint = crashPoints(settings, logger);
  const queues = createQueues(clock, metrics, informers);
  const scheduler = new Scheduler({
    ...settings,
    db,
    clock,
    logger,
    metrics,
    checkpoint,
    namespaceQuotas: namespaceQuotasOf(informers),
    probeGang: probeGang({ kube, informers, settings, logger }),
    onChanged: (keys) => {
      for (const key of keys) queues.jobs.add(key, { priority: "urgent" });
    },
    onExplained: (keys) => {
      for (const key of keys) queues.jobs.add(key);
    },
  });
  const nodePools = new NodePools(clock, settings.poolChangeSeconds);
  informers.nodes.onChange((change) => nodePools.note(change));
  const context = {
    db,
    kube,
    statuses,
    events,
    informers,
    owned,
    clock,
    logger,
    settings,
    queues,
    scheduler,
    tenants: tenantsOf(informers, owned, queues),
    nodePools,
    checkpoint,
  };
  return { context, scheduler };
}

/** "name" or "name:hit": kills the process at the point, or at its nth hit. */
function crashPoints({ crashPoint = "" }: Settings, logger: Logger): (name: string) => void {
  const [point, hit = "1"] = crashPoint.split(":");
  let hits = 0;
  return (name) => {
    if (name !== point) return;
    hits += 1;
    if (hits < Number(hit)) return;
    logger.warn("crash point reached", { name });
    process.kill(process.pid, "SIGKILL");
  };
}

try {
  // Exits even if something still runs: work that did not stop in time must not continue, least of all renewals of the
  // lease.
  exitWhenLogged(await main());
} catch (error) {
  console.error(errorText(error));
  process.exitCode = 1;
}
