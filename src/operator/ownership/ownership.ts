/**
 * One cluster, one database, one Rota: an operator leads only while the database is its cluster's, and its cluster's
 * marker names the database and the operator's Lease.
 */
import type { DatabasePool } from "../../db/client/connection-pool.ts";
import {
  claimDatabase,
  countAsGpu,
  nameDatabase,
  readOwnership,
  takeDatabase,
} from "../../db/client/identity.ts";
import type { DatabaseOwnership } from "../../db/client/identity.ts";
import { migrate } from "../../db/client/migrate.ts";
import type { KubeClient } from "../../kube/client.ts";
import { KubeLeaseLock } from "../../kube/lease-lock.ts";
import { namespaces } from "../../resources/types.ts";
import { aborted, sleepUnlessAborted } from "../../runtime/clock.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { Component } from "../../runtime/lifecycle.ts";
import { errorText } from "../../runtime/logger.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { Gauge, Metrics } from "../../runtime/metrics.ts";
import type { Settings } from "../../settings/read.ts";
import { LeaseWatch } from "./lease-watch.ts";
import { readMarker, writeMarker } from "./marker.ts";
import type { FoundMarker } from "./marker.ts";
import { standingOf } from "./standing.ts";
import type { Obstacle, Refusal, Self, Standing } from "./standing.ts";

/** While the database is ours, and while it is not. */
const checkSeconds = 5;
const waitSeconds = 1;
/** Longer than `checkSeconds`: another operator that uses a database which was taken has noticed by then. */
const handoverSeconds = 10;
/** Of one evaluation; each writes at most one step. */
const maxSteps = 5;

const obstacles: readonly Obstacle[] = [
  "AnotherDatabase",
  "AnotherInstallation",
  "DatabaseEmpty",
  "DatabaseOfAnotherCluster",
  "DatabaseRestored",
  "GpuResourceChanged",
  "MarkerMissing",
];

const markerMissing: Refusal = {
  obstacle: "MarkerMissing",
  message: "the cluster has no ClusterRole rota-installation: apply manifests/ first",
};

export interface OwnershipOptions {
  readonly kube: KubeClient;
  readonly db: DatabasePool;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly settings: Settings;
  /** Namespace and name of this operator's Lease. */
  readonly lease: { readonly namespace: string; readonly name: string };
}

export const leaseKey = ({ namespace, name }: OwnershipOptions["lease"]): string =>
  `${namespace}/${name}`;

/** Registers the reasons why the operator may not lead. */
export const ownershipGauge = (metrics: Metrics): Gauge =>
  metrics.gauge({
    name: "database_ownership_obstacle",
    help: "1 for the reason why this operator may not lead with its database; 0 for all if it may",
    labelNames: ["reason"],
  });

export class Ownership implements Component {
  readonly name = "ownership of the database";
  readonly #options: OwnershipOptions;
  readonly #gauge: Gauge;
  #clusterUid = "";
  #refusal: Refusal | undefined = undefined;
  #isOurs = false;
  /** Aborted when the database is no longer ours; replaced when it is again. */
  #owned = new AbortController();
  #becomesOurs: () => void = () => {};
  #leaseWatch: { readonly key: string; readonly watch: LeaseWatch } | undefined;
  #running: Promise<void> | undefined;
  #evaluating: Promise<void> | undefined;

  constructor(options: OwnershipOptions) {
    this.#options = options;
    this.#gauge = ownershipGauge(options.metrics);
    this.#report();
  }

  async start(stopping: AbortSignal): Promise<void> {
    const { kube } = this.#options;
    const { metadata } = await kube.get(namespaces, "kube-system", { signal: stopping });
    this.#clusterUid = metadata.uid ?? "";
    await this.#look(stopping);
    this.#running = this.#follow(stopping);
  }

  async stop(): Promise<void> {
    await this.#running;
  }

  ready(): boolean {
    return this.#isOurs;
  }

  /** Fulfils when the database is ours, with a signal that is aborted when it is not any more. */
  async whenOurs(stopping: AbortSignal): Promise<AbortSignal> {
    while (!this.#isOurs && !stopping.aborted) {
      const becomes = new Promise<void>((resolve) => {
        this.#becomesOurs = resolve;
      });
      await Promise.race([becomes, aborted(stopping)]);
    }
    return this.#owned.signal;
  }

  /** Looks now; for where the database was found to be another one. Throws RotaError or KubeError. */
  async check(signal: AbortSignal): Promise<boolean> {
    this.#evaluating ??= this.#evaluate(signal).finally(() => {
      this.#evaluating = undefined;
    });
    await this.#evaluating;
    return this.#isOurs;
  }

  async #follow(stopping: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    while (!stopping.aborted) {
      await sleepUnlessAborted(clock, this.#isOurs ? checkSeconds : waitSeconds, stopping);
      if (!stopping.aborted) await this.#look(stopping);
    }
  }

  /** Without an answer nothing is known to have changed: locks, fences and the Lease protect meanwhile. */
  async #look(stopping: AbortSignal): Promise<void> {
    const { logger } = this.#options;
    await this.check(stopping).catch((error: unknown) => {
      if (!stopping.aborted)
        logger.warn("cannot check whose the database is", { error: errorText(error) });
    });
  }

  async #evaluate(signal: AbortSignal): Promise<void> {
    for (let step = 0; step < maxSteps; step += 1) {
      const { kube } = this.#options;
      const [database, marker] = [await this.#database(), await readMarker(kube, signal)];
      if (marker === undefined) return this.#refuse(markerMissing);
      const standing = standingOf(database, marker, this.#self());
      const next = await this.#afterWait(standing, signal);
      if (next.is === "ours") return await this.#accept();
      if (next.is === "refused") return this.#refuse(next.refusal);
      if (next.is === "step") await this.#take(next.step, database, marker, signal);
    }
  }

  #self(): Self {
    const { settings, lease } = this.#options;
    return {
      clusterUid: this.#clusterUid,
      lease: settings.leaderElection ? leaseKey(lease) : "",
      gpuResource: settings.gpuResource,
    };
  }

  /** An emptied database has no schema: it is there again before the question is answered. */
  async #database(): Promise<DatabaseOwnership> {
    const { db } = this.#options;
    const found = await readOwnership(db);
    if (found !== undefined) return found;
    await this.#migrate();
    await nameDatabase(db);
    const named = await readOwnership(db);
    if (named === undefined) throw new Error("the database lost its schema while it was asked");
    return named;
  }

  async #migrate(): Promise<void> {
    const { db, settings } = this.#options;
    await migrate(settings.databaseUrl);
    await db.learnTypes();
  }

  async #afterWait(standing: Standing, signal: AbortSignal): Promise<Standing> {
    if (standing.is !== "awaits") {
      this.#leaseWatch = undefined;
      return standing;
    }
    const { takeoverSeconds } = this.#options.settings;
    const { refusal, lease } = standing;
    const freeSeconds = await this.#watchOf(lease).freeSeconds(signal);
    if (freeSeconds >= takeoverSeconds) return { is: "step", step: "mark" };
    const wait = `it takes over when the Lease ${lease} has been free for ${takeoverSeconds} s`;
    return { is: "refused", refusal: { ...refusal, message: `${refusal.message}; or ${wait}` } };
  }

  #watchOf(key: string): LeaseWatch {
    if (this.#leaseWatch?.key !== key) {
      const { kube, clock } = this.#options;
      const [namespace = "", name = ""] = key.split("/");
      const watch = new LeaseWatch(new KubeLeaseLock(kube, { namespace, name }), clock);
      this.#leaseWatch = { key, watch };
    }
    return this.#leaseWatch.watch;
  }

  async #take(
    step: Extract<Standing, { is: "step" }>["step"],
    database: DatabaseOwnership,
    marker: FoundMarker,
    signal: AbortSignal,
  ): Promise<void> {
    const { kube, db, clock, logger } = this.#options;
    const { lease } = this.#self();
    if (step === "mark")
      return writeMarker(kube, marker, { databaseId: database.id, lease }, signal);
    if (step === "claim") return claimDatabase(db, database.id, this.#clusterUid);
    if (step === "count") return countAsGpu(db, database.id, this.#options.settings.gpuResource);
    this.#refuse({
      obstacle: "AnotherDatabase",
      message: "an administrator accepted the database",
    });
    // One of another cluster may have an earlier schema, which was left alone.
    await this.#migrate();
    const id = await takeDatabase(db, database.id, this.#clusterUid);
    if (id === undefined) return;
    logger.warn("the database was accepted for this cluster", { former: database.id, id });
    if (database.clusterUid !== undefined) await sleepUnlessAborted(clock, handoverSeconds, signal);
  }

  async #accept(): Promise<void> {
    if (this.#isOurs) return;
    await this.#migrate();
    this.#isOurs = true;
    this.#refusal = undefined;
    this.#owned = new AbortController();
    this.#report();
    this.#options.logger.info("the database is this cluster's", { cluster: this.#clusterUid });
    this.#becomesOurs();
  }

  #refuse(refusal: Refusal): void {
    const isNews = refusal.message !== this.#refusal?.message;
    this.#refusal = refusal;
    this.#isOurs = false;
    this.#report();
    if (isNews)
      this.#options.logger.error("this operator does not lead", {
        reason: refusal.obstacle,
        message: refusal.message,
      });
    this.#owned.abort(new Error(refusal.message));
  }

  #report(): void {
    for (const reason of obstacles)
      this.#gauge.set({ reason }, this.#refusal?.obstacle === reason ? 1 : 0);
  }
}
