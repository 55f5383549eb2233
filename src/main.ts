/** The operator: settings in, parts wired, started, drained. */
import { hostname } from "node:os";
import packageFile from "../package.json" with { type: "json" };
import { createInformers } from "./operator/informers.ts";
import { admissionPolicyGauge, watchAdmissionPolicies } from "./operator/admission-policies.ts";
import type { Rejection } from "./controllers/job/rejection.ts";
import { TemplateCache } from "./controllers/job/template-cache.ts";
import { PodExpectations } from "./controllers/job/expectations.ts";
import { createWork } from "./operator/leader-term.ts";
import type { TermSignals } from "./operator/leader-term.ts";
import { createPool } from "./db/client/connection-pool.ts";
import type { DatabasePool } from "./db/client/connection-pool.ts";
import { migrate } from "./db/client/migrate.ts";
import { RotaError } from "./errors.ts";
import { createApi } from "./http/api.ts";
import { KubeClient } from "./kube/client.ts";
import { loadCredentials } from "./kube/credentials.ts";
import type { CredentialSource } from "./kube/credentials.ts";
import { createEventRecorder } from "./kube/events.ts";
import type { KubeObject } from "./kube/resource.ts";
import { KubeLeaseLock, leaseConnections } from "./kube/lease-lock.ts";
import { StatusWriter } from "./kube/status-writer.ts";
import { buildInfo } from "./observability/build-info.ts";
import { poolMetrics, statementMetrics } from "./observability/database-metrics.ts";
import { exitWhenLogged, loggedProcess } from "./observability/flush-on-exit.ts";
import { createLogger } from "./observability/logs.ts";
import { startHttpServer } from "./observability/http-server.ts";
import type { HttpServer } from "./observability/http-server.ts";
import { PrometheusMetrics } from "./observability/metrics.ts";
import { stateMetrics } from "./observability/state-metrics.ts";
import { systemClock } from "./runtime/clock.ts";
import { LeaderElection } from "./runtime/lease.ts";
import { createLifecycle } from "./runtime/lifecycle.ts";
import type { Lifecycle } from "./runtime/lifecycle.ts";
import { errorText } from "./runtime/logger.ts";
import type { Logger } from "./runtime/logger.ts";
import { readSettings } from "./settings/read.ts";
import type { Settings } from "./settings/read.ts";

const lastEventsSeconds = 2;
/** After the drain: the lease is released, the last events are sent, connections are closed. */
const shutdownSeconds = 5;
const leaseName = "rota-operator";
/** How long a new operator tries to reach the database and the cluster before it gives up with a message. */
const startTries = 5;

/** Where the database is, without the password. */
function databaseAddress(url: string): string {
  const { host, pathname } = new URL(url);
  return `${host}${pathname}`;
}

/** What waiting cannot mend: the schema, an extension, a password. */
const isFinal = (error: unknown): boolean =>
  error instanceof RotaError && error.code !== "DatabaseUnavailable" && error.code !== "TimedOut";

async function retryUntilReady<T>(
  what: string,
  logger: Logger,
  action: () => Promise<T>,
): Promise<T> {
  for (let turn = 1; ; turn += 1) {
    try {
      return await action();
    } catch (error) {
      if (turn >= startTries || isFinal(error))
        throw new Error(`${what}: ${errorText(error)}`, { cause: error });
      logger.warn(`${what} failed; trying again`, { error: errorText(error), turn });
      await systemClock.sleep(turn);
    }
  }
}

async function prepareDatabase(
  settings: Settings,
  db: DatabasePool,
  logger: Logger,
): Promise<void> {
  const address = databaseAddress(settings.databaseUrl);
  await retryUntilReady(`cannot use the database ${address} (DATABASE_URL)`, logger, () =>
    migrate(settings.databaseUrl),
  );
  await db.learnTypes();
  logger.info("the database is at the newest schema", { database: address });
}

/** Says at the start whether the API server is there and knows Rota's resources. */
async function checkCluster(kube: KubeClient, server: URL, logger: Logger): Promise<void> {
  await retryUntilReady(`cannot reach the API server ${server.href} (KUBECONFIG)`, logger, () =>
    kube.raw("GET", "/version", undefined, { timeoutSeconds: 10 }),
  );
  await retryUntilReady(
    "the cluster does not serve rota.dev/v1alpha1: apply manifests/ first",
    logger,
    () => kube.raw("GET", "/apis/rota.dev/v1alpha1", undefined, { timeoutSeconds: 10 }),
  );
}

/** "name" or "name:hit": killed when the point is reached, or reached for that time. */
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

async function databaseAnswers(db: DatabasePool): Promise<boolean> {
  await db.query("SELECT 1");
  return true;
}

interface Parts {
  readonly settings: Settings;
  readonly logger: Logger;
  readonly credentials: CredentialSource;
}

function assemble({ settings, logger, credentials }: Parts): Lifecycle {
  const clock = systemClock;
  const metrics = new PrometheusMetrics();
  buildInfo(metrics, packageFile.version);
  const kube = new KubeClient({ credentials, clock, name: "rota", metrics });
  // Connections of their own: neither a burst of the controllers nor slow questions delay the renewal of the lease.
  const apiKube = new KubeClient({ credentials, clock, name: "rota", metrics });
  const leaseKube = new KubeClient({
    credentials,
    clock,
    name: "rota",
    metrics,
    connections: leaseConnections,
  });
  const db = createPool(settings.databaseUrl, {
    applicationName: "rota",
    onError: (error) => logger.warn("a database connection was lost", { error: error.message }),
    onStatement: statementMetrics(metrics),
  });
  poolMetrics(metrics, db);
  const informers = createInformers({
    kube,
    clock,
    logger,
    metrics,
    gpuResource: settings.gpuResource,
  });
  const lifecycle = createLifecycle({
    clock,
    logger,
    graceSeconds: settings.drainSeconds + shutdownSeconds,
    process: loggedProcess,
  });
  const events = createEventRecorder({
    client: kube,
    clock,
    logger,
    metrics,
    controller: "rota.dev/operator",
    instance: hostname(),
  });
  const work = createWork({
    db,
    kube,
    statuses: new StatusWriter({ client: kube, clock }),
    templates: new TemplateCache<KubeObject | Rejection>(clock, (answer) => "metadata" in answer),
    podExpectations: new PodExpectations(clock),
    events,
    informers,
    clock,
    logger,
    metrics,
    settings,
    checkpoint: crashPoints(settings, logger),
  });
  let isLeading = false;
  const leaderWork = async (signals: TermSignals): Promise<void> => {
    isLeading = true;
    await work(signals).finally(() => {
      isLeading = false;
    });
  };
  stateMetrics({
    registry: metrics.registry,
    db,
    clock,
    logger,
    timeZone: settings.timeZone,
    isLeading: () => isLeading,
  });
  let http: HttpServer | undefined;
  let working: Promise<void> | undefined;

  lifecycle.add({
    name: "http",
    start: async () => {
      const unready = async () => (await lifecycle.readiness()).waitingFor;
      http = await startHttpServer({
        address: settings.httpAddress,
        port: settings.httpPort,
        registry: metrics.registry,
        unready,
      });
      logger.info("serving /healthz, /readyz and /metrics", {
        url: `http://${settings.httpAddress}:${http.port}`,
      });
    },
    stop: () => http?.close(),
  });
  lifecycle.add({
    name: "database",
    start: () => prepareDatabase(settings, db, logger),
    stop: () => db.end(),
    ready: () => databaseAnswers(db),
  });
  lifecycle.add({
    name: "cluster",
    start: () => checkCluster(kube, credentials.server, logger),
    stop: async () => {
      await Promise.all([kube, apiKube, leaseKube].map((client) => client.close()));
    },
  });
  lifecycle.add(createApi({ settings, kube: apiKube, clock, logger, metrics }));
  lifecycle.add({
    name: "informers",
    start: () => informers.start(),
    stop: () => informers.stop(),
    ready: () => informers.synced(),
  });
  const gauge = admissionPolicyGauge(metrics);
  let watching: Promise<void> | undefined;
  lifecycle.add({
    name: "guarantees",
    start: (stopping) => {
      watching = watchAdmissionPolicies({ kube, clock, logger, gauge }, stopping);
    },
    stop: () => watching,
  });
  lifecycle.add({
    name: "work",
    start: (stopping) => {
      working = lead({ settings, logger, kube: leaseKube, metrics, stopping, work: leaderWork }).catch(
        (error: unknown) => {
          logger.error("the work ended", { error: errorText(error) });
          lifecycle.stop("the work ended");
          throw error;
        },
      );
      working.catch(() => undefined);
    },
    stop: async () => {
      await working;
      await events.flush(lastEventsSeconds);
    },
  });
  return lifecycle;
}

interface LeadOptions {
  readonly settings: Settings;
  readonly logger: Logger;
  readonly kube: KubeClient;
  readonly metrics: PrometheusMetrics;
  readonly stopping: AbortSignal;
  readonly work: (signals: TermSignals) => Promise<void>;
}

/** A term that nobody can take away: without leader election. */
const endless = new AbortController().signal;

/** Works while it leads. Correctness does not rest on it: the database's locks and fences do that. */
async function lead(options: LeadOptions): Promise<void> {
  const { settings, logger, kube, metrics, stopping, work } = options;
  if (!settings.leaderElection) return work({ stopping, signal: endless });
  const election = new LeaderElection({
    lock: new KubeLeaseLock(kube, { namespace: settings.leaseNamespace, name: leaseName }),
    identity: `${hostname()}-${process.pid}-${crypto.randomUUID().slice(0, 8)}`,
    clock: systemClock,
    logger,
    metrics,
    leaseSeconds: settings.leaseSeconds,
    renewWithinSeconds: (settings.leaseSeconds * 2) / 3,
    retrySeconds: Math.max(0.5, settings.leaseSeconds / 8),
    lead: work,
  });
  await election.run(stopping);
}

async function main(): Promise<number> {
  const settings = readSettings(process.env, process.stderr.isTTY);
  const logger = createLogger(settings.logLevel, settings.logFormat);
  let credentials: CredentialSource;
  try {
    credentials = loadCredentials();
  } catch (error) {
    throw new Error(`cannot start:\n  - KUBECONFIG: ${errorText(error)}`, { cause: error });
  }
  return assemble({ settings, logger, credentials }).run();
}

try {
  // Exits though something may still run: what did not stop in time must not go on, least of all renewing the lease.
  exitWhenLogged(await main());
} catch (error) {
  console.error(errorText(error));
  process.exitCode = 1;
}
