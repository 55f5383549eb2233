/** Components of the process that are started and stopped, in the order in which main.ts adds them. */
import { hostname } from "node:os";
import type { Registry } from "prom-client";
import type { DatabasePool } from "../db/client/connection-pool.ts";
import { readOwnership } from "../db/client/identity.ts";
import { checkSchema, migrate } from "../db/client/migrate.ts";
import { RotaError } from "../errors.ts";
import type { KubeClient } from "../kube/client.ts";
import type { EventRecorder } from "../kube/events.ts";
import { KubeLeaseLock } from "../kube/lease-lock.ts";
import { startHttpServer } from "../observability/http-server.ts";
import type { HttpServer } from "../observability/http-server.ts";
import { aborted, sleepUnlessAborted, systemClock } from "../runtime/clock.ts";
import { LeaderElection } from "../runtime/lease.ts";
import type { Component } from "../runtime/lifecycle.ts";
import { errorText } from "../runtime/logger.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Metrics } from "../runtime/metrics.ts";
import type { Settings } from "../settings/read.ts";
import { watchAdmissionPolicies } from "./admission-policies.ts";
import type { AdmissionPolicyOptions } from "./admission-policies.ts";
import type { RunningInformers } from "./informers.ts";
import type { TermSignals } from "./leader-term.ts";
import type { Ownership } from "./ownership/ownership.ts";

const lastEventsSeconds = 2;
export const leaseName = "rota-operator";
/** How long a new operator tries to reach the database and the cluster before it gives up with a message. */
const startTries = 5;

/** Errors that waiting does not fix: schema, extension, password. */
const isFinal = (error: unknown): boolean =>
  error instanceof RotaError && error.code !== "DatabaseUnavailable" && error.code !== "TimedOut";

/** Another session is in the way: its end is waited for, however long it takes. */
const isBlocked = (error: unknown): boolean =>
  error instanceof RotaError && error.code === "TimedOut";

const maxStartPauseSeconds = 10;

async function retryUntilReady<T>(
  what: string,
  logger: Logger,
  action: () => Promise<T>,
): Promise<T> {
  for (let turn = 1; ; turn += 1) {
    try {
      return await action();
    } catch (error) {
      if ((turn >= startTries && !isBlocked(error)) || isFinal(error))
        throw new Error(`${what}: ${errorText(error)}`, { cause: error });
      logger.warn(`${what} failed; trying again`, { error: errorText(error), turn });
      await systemClock.sleep(Math.min(turn, maxStartPauseSeconds));
    }
  }
}

/** Runs from the start to the end of the process. */
class Background implements Component {
  readonly name: string;
  readonly #run: (stopping: AbortSignal) => Promise<void>;
  #running: Promise<void> | undefined;

  constructor(name: string, run: (stopping: AbortSignal) => Promise<void>) {
    this.name = name;
    this.#run = run;
  }

  start(stopping: AbortSignal): void {
    this.#running = this.#run(stopping);
    // `stop` reports the error.
    this.#running.catch(() => undefined);
  }

  async stop(): Promise<void> {
    await this.#running;
  }
}

export interface HttpOptions {
  readonly settings: Settings;
  readonly logger: Logger;
  readonly registry: Registry;
  readonly unready: () => Promise<readonly string[]>;
}

class Http implements Component {
  readonly name = "http";
  readonly #options: HttpOptions;
  #server: HttpServer | undefined;

  constructor(options: HttpOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const { settings, logger, registry, unready } = this.#options;
    const { httpAddress: address, httpPort: port } = settings;
    this.#server = await startHttpServer({
      address,
      port,
      registry,
      unready,
      clock: systemClock,
    });
    logger.info("serving /healthz, /readyz and /metrics", {
      url: `http://${address}:${this.#server.port}`,
    });
  }

  async stop(): Promise<void> {
    await this.#server?.close();
  }
}

/** Serves health, readiness and metrics. Its start throws an Error that names the setting to change. */
export const httpComponent = (options: HttpOptions): Component => new Http(options);

/** Host and database name, without the password. */
function databaseAddress(url: string): string {
  const { host, pathname } = new URL(url);
  return `${host}${pathname}`;
}

/** One that belongs to a cluster is migrated when it is known to be this one: nothing is written into another's. */
async function prepare(url: string, db: DatabasePool): Promise<void> {
  const owner = await readOwnership(db);
  if (owner?.clusterUid === undefined) await migrate(url);
  else await checkSchema(url);
}

/** Interval of the queries behind readiness, which requests for readiness do not cause. */
const databaseProbeSeconds = 2;
const databaseAnswersWithinSeconds = 5;

/**
 * At start, connects to the database and gives an empty one its schema. Ready while the database answers and accepts writes: after a
 * failover a name may still lead to the former primary.
 */
class Database implements Component {
  readonly name = "database";
  readonly #url: string;
  readonly #db: DatabasePool;
  readonly #logger: Logger;
  #isWritable = false;
  #probing: Promise<void> | undefined;

  constructor({ databaseUrl }: Settings, db: DatabasePool, logger: Logger) {
    this.#url = databaseUrl;
    this.#db = db;
    this.#logger = logger;
  }

  async start(stopping: AbortSignal): Promise<void> {
    const address = databaseAddress(this.#url);
    await retryUntilReady(`cannot use the database ${address} (DATABASE_URL)`, this.#logger, () =>
      prepare(this.#url, this.#db),
    );
    await this.#db.learnTypes();
    this.#logger.info("connected to the database", { database: address });
    this.#isWritable = true;
    this.#probing = this.#probe(stopping);
  }

  async stop(): Promise<void> {
    await this.#probing;
    await this.#db.end();
  }

  ready(): boolean {
    return this.#isWritable;
  }

  async #probe(stopping: AbortSignal): Promise<void> {
    while (await sleepUnlessAborted(systemClock, databaseProbeSeconds, stopping)) {
      const asked = this.#problem();
      const problem = await Promise.race([asked, tooLate(stopping)]);
      if (this.#isWritable && problem !== undefined && !stopping.aborted) {
        this.#logger.warn("the database is not ready", { error: problem });
      }
      this.#isWritable = problem === undefined;
      // One connection at most: the pool is the scheduler's.
      await Promise.race([asked, aborted(stopping)]);
    }
  }

  async #problem(): Promise<string | undefined> {
    try {
      const { rows } = await this.#db.query<{ readOnly: boolean }>(
        `SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean AS "readOnly"`,
      );
      return rows[0]?.readOnly === false ? undefined : "it is read-only";
    } catch (error) {
      return errorText(error);
    }
  }
}

async function tooLate(stopping: AbortSignal): Promise<string> {
  await sleepUnlessAborted(systemClock, databaseAnswersWithinSeconds, stopping);
  return `no answer within ${databaseAnswersWithinSeconds} s`;
}

/** At start, connects to the database; an empty one gets the schema. Reports readiness from memory. */
export const databaseComponent = (
  settings: Settings,
  db: DatabasePool,
  logger: Logger,
): Component => new Database(settings, db, logger);

/** At start, waits for the API server and Rota's CRDs. At stop, closes every client's connections. */
export const clusterComponent = (
  clients: readonly [KubeClient, ...KubeClient[]],
  server: URL,
  logger: Logger,
): Component => ({
  name: "cluster",
  start: async () => {
    const [kube] = clients;
    const ask = (path: string) => kube.raw("GET", path, undefined, { timeoutSeconds: 10 });
    await retryUntilReady(`cannot reach the API server ${server.href} (KUBECONFIG)`, logger, () =>
      ask("/version"),
    );
    await retryUntilReady(
      "the cluster does not serve rota.dev/v1alpha1: apply manifests/ first",
      logger,
      () => ask("/apis/rota.dev/v1alpha1"),
    );
  },
  stop: async () => {
    await Promise.all(clients.map((client) => client.close()));
  },
});

/** Starts all informers, and is ready while they are synced. */
export const informersComponent = (informers: RunningInformers): Component => ({
  name: "informers",
  start: () => informers.start(),
  stop: () => informers.stop(),
  ready: () => informers.synced(),
});

/** Reports admission policies that are not in force, from start to stop. */
export const admissionPoliciesComponent = (options: AdmissionPolicyOptions): Component =>
  new Background("admission policies", (stopping) => watchAdmissionPolicies(options, stopping));

export interface LeaderOptions {
  readonly settings: Settings;
  readonly logger: Logger;
  /** For the lease only. */
  readonly kube: KubeClient;
  readonly metrics: Metrics;
  readonly events: EventRecorder;
  readonly ownership: Pick<Ownership, "whenOurs">;
  readonly runTerm: (signals: TermSignals) => Promise<void>;
  /** The API server's data went back in time, as the Lease's version shows. */
  readonly onTimeTravel: () => void;
  /** The leader's work has ended, and the process should stop. */
  readonly onEnd: (reason: string) => void;
}

/** The signal of a term without leader election; never aborted. */
const endless = new AbortController().signal;

/** Works while it leads. Correctness does not depend on it: the database's locks and fences ensure that. */
export class Leader extends Background {
  readonly #options: LeaderOptions;
  #isLeading = false;
  /** Aborted when the database that this term works on is not the cluster's any more. */
  #lost = endless;

  constructor(options: LeaderOptions) {
    super("leader", (stopping) => this.#lead(stopping));
    this.#options = options;
  }

  get isLeading(): boolean {
    return this.#isLeading;
  }

  override async stop(): Promise<void> {
    await super.stop();
    await this.#options.events.flush(lastEventsSeconds);
  }

  async #lead(stopping: AbortSignal): Promise<void> {
    const { settings, logger, onEnd } = this.#options;
    try {
      const election = settings.leaderElection ? this.#election() : undefined;
      while (!stopping.aborted) await this.#leadWhileOurs(election, stopping);
    } catch (error) {
      logger.error("the work ended", { error: errorText(error) });
      onEnd("the work ended");
      throw error;
    }
  }

  /** Nobody works, or holds the Lease, with a database that is not the cluster's. */
  async #leadWhileOurs(election: LeaderElection | undefined, stopping: AbortSignal): Promise<void> {
    this.#lost = await this.#options.ownership.whenOurs(stopping);
    const until = AbortSignal.any([stopping, this.#lost]);
    if (until.aborted) return;
    if (election) await election.run(until);
    else await this.#work({ stopping, signal: endless });
  }

  async #work({ stopping, signal }: TermSignals): Promise<void> {
    this.#isLeading = true;
    try {
      await this.#options.runTerm({ stopping, signal: AbortSignal.any([signal, this.#lost]) });
    } finally {
      this.#isLeading = false;
    }
  }

  #election(): LeaderElection {
    const { settings, logger, kube, metrics } = this.#options;
    return new LeaderElection({
      lock: new KubeLeaseLock(
        kube,
        { namespace: settings.leaseNamespace, name: leaseName },
        this.#options.onTimeTravel,
      ),
      identity: `${hostname()}-${process.pid}-${crypto.randomUUID().slice(0, 8)}`,
      clock: systemClock,
      logger,
      metrics,
      leaseSeconds: settings.leaseSeconds,
      renewWithinSeconds: (settings.leaseSeconds * 2) / 3,
      retrySeconds: Math.max(0.5, settings.leaseSeconds / 8),
      lead: (signals) => this.#work(signals),
    });
  }
}
