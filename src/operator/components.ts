/** Components of the process that are started and stopped, in the order in which main.ts adds them. */
import { hostname } from "node:os";
import type { Registry } from "prom-client";
import type { KubeClient } from "../kube/client.ts";
import type { EventRecorder } from "../kube/events.ts";
import { KubeLeaseLock } from "../kube/lease-lock.ts";
import { startHttpServer } from "../observability/http-server.ts";
import type { HttpServer } from "../observability/http-server.ts";
import { systemClock } from "../runtime/clock.ts";
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
import { retryUntilReady } from "./start-tries.ts";

const lastEventsSeconds = 2;
export const leaseName = "rota-operator";

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

/** At start, waits for the API server and Rota's CRDs. At stop, closes every client's connections. */
export const clusterComponent = (
  clients: readonly [KubeClient, ...KubeClient[]],
  server: URL,
  logger: Logger,
): Component => ({
  name: "cluster",
  start: async (stopping) => {
    const [kube] = clients;
    const tries = { clock: systemClock, logger, stopping };
    const ask = (path: string) => kube.raw("GET", path, undefined, { timeoutSeconds: 10 });
    await retryUntilReady(`cannot reach the API server ${server.href} (KUBECONFIG)`, tries, () =>
      ask("/version"),
    );
    await retryUntilReady(
      "the cluster does not serve rota.dev/v1alpha1: apply manifests/ first",
      tries,
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
  waitingFor: () => `the first list of ${informers.unsynced().join(", ")}`,
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
