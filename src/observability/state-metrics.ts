/**
 * Gauges of the state in the database, read on scrape but at most every few seconds. Only the leader exports them:
 * otherwise sums over all operators would count everything twice.
 */
import { type ResourceType, unitOf } from "../domain/resource-types.ts";
import { Gauge } from "prom-client";
import type { Registry } from "prom-client";
import {
  countActiveJobs,
  readDatabaseState,
  readReservationAges,
  readPlanState,
  readPoolCapacities,
  readProjectUsage,
} from "../db/reports/state-metrics.ts";
import type { Queryable } from "../db/client/types.ts";
import { secondOfWeek } from "../domain/windows.ts";
import type { Clock } from "../runtime/clock.ts";
import { errorText } from "../runtime/logger.ts";
import type { Logger } from "../runtime/logger.ts";
import { metricPrefix } from "./metrics.ts";

export interface StateMetricsOptions {
  readonly registry: Registry;
  readonly db: Queryable;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly timeZone: string;
  readonly isLeading: () => boolean;
}

/** Scrapes within this time share one read. */
const freshForSeconds = 5;
/** Top-level projects with a label of their own; the others are summed as "_other". */
const projectsShown = 100;

/** Order of the amounts in the database's rows; names as in kube-state-metrics. */
const resources = [
  { resource: "gpu", unit: "integer" },
  { resource: "cpu", unit: "core" },
  { resource: "memory", unit: "byte" },
  { resource: "pods", unit: "integer" },
] as const;

/** As kube-state-metrics names them; extended resources by their own names. */
const labelsOf = (type: ResourceType): { readonly resource: string; readonly unit: string } => {
  const [gpu, cpu, memory] = resources;
  const known: Readonly<Record<string, (typeof resources)[number]>> = {
    GPU: gpu,
    CPU: cpu,
    memory,
  };
  return known[type] ?? { resource: type, unit: "integer" };
};

const poolLabels = ["pool", "resource", "unit"];

class StateMetrics {
  readonly #options: StateMetricsOptions;
  readonly #gauges = new Map<string, Gauge>();
  #readAtSeconds = -Infinity;
  #reading: Promise<void> | undefined;

  constructor(options: StateMetricsOptions) {
    this.#options = options;
    this.#gauge("jobs", "Unfinished jobs, by state", ["pool", "state", "priority_class"]);
    this.#gauge("jobs_gpus", "GPUs of unfinished jobs, by state", ["pool", "state"]);
    this.#gauge("queue_oldest_job_age_seconds", "Age of the oldest queued job", ["pool"]);
    this.#gauge("pool_nodes", "Nodes in the pool", ["pool", "schedulable"]);
    this.#gauge("pool_allocatable", "Allocatable resources of the nodes in the pool", poolLabels);
    this.#gauge("pool_committed", "Resources allocated to live jobs", poolLabels);
    this.#gauge("pool_other_usage", "Resources requested by pods that are not Rota's", poolLabels);
    this.#gauge(
      "pool_reserved",
      "Resources reserved for jobs whose victims are terminating",
      poolLabels,
    );
    this.#gauge("reservations", "Jobs with a reservation", ["pool"]);
    this.#gauge("reservation_oldest_age_seconds", "Age of the oldest reservation", ["pool"]);
    this.#gauge(
      "project_usage",
      "Resources of live jobs, by top-level project and mode (entitled, borrowed)",
      ["pool", "project", "resource", "unit", "mode"],
    );
    this.#gauge("plan_granted", "Resources granted by the open windows of plans", poolLabels);
    this.#gauge("plan_windows", "Windows of plans, open and closed", ["pool", "resource", "open"]);
    this.#gauge(
      "plan_evict_close_seconds",
      "Time until the next open window with onWindowClose: Evict closes; absent if none is open",
      ["pool", "resource"],
    );
    this.#gauge(
      "db_oldest_transaction_seconds",
      "Age of the oldest transaction in the database",
      [],
    );
    this.#gauge("db_dead_rows", "Dead rows not yet removed by vacuum", ["table"]);
    this.#gauge("state_read_success", "1 if the last read of the state succeeded, otherwise 0", []);
  }

  #gauge(name: string, help: string, labelNames: readonly string[]): void {
    const collect = () => this.#refresh();
    const made = new Gauge({
      name: metricPrefix + name,
      help,
      labelNames: [...labelNames],
      registers: [this.#options.registry],
      collect,
    });
    this.#gauges.set(name, made);
  }

  #set(name: string, labels: Readonly<Record<string, string>>, value: number): void {
    this.#gauges.get(name)?.set({ ...labels }, value);
  }

  /** One read per scrape for all gauges. A failed read clears them. */
  #refresh(): Promise<void> {
    const now = this.#options.clock.monotonicSeconds();
    if (this.#reading) return this.#reading;
    if (now - this.#readAtSeconds < freshForSeconds) return Promise.resolve();
    this.#reading = this.#read()
      .catch((error: unknown) => {
        this.#clear();
        this.#set("state_read_success", {}, 0);
        this.#options.logger.warn("failed to read state metrics", {
          error: errorText(error),
        });
      })
      .finally(() => {
        this.#readAtSeconds = this.#options.clock.monotonicSeconds();
        this.#reading = undefined;
      });
    return this.#reading;
  }

  #clear(): void {
    for (const gauge of this.#gauges.values()) gauge.reset();
    // prom-client resets a gauge without labels to 0, which would be a wrong value.
    for (const name of ["db_oldest_transaction_seconds", "state_read_success"])
      this.#gauges.get(name)?.remove();
  }

  async #read(): Promise<void> {
    const { db, clock, timeZone, isLeading } = this.#options;
    if (!isLeading()) {
      this.#clear();
      return;
    }
    const now = clock.now();
    // In sequence: metrics use one connection, not six.
    const jobs = await countActiveJobs(db);
    const pools = await readPoolCapacities(db);
    const reservations = await readReservationAges(db);
    const usage = await readProjectUsage(db, projectsShown);
    const plans = await readPlanState(db, secondOfWeek(now, timeZone));
    const database = await readDatabaseState(db);
    this.#clear();
    this.#showJobs(jobs, now.epochMilliseconds / 1000);
    this.#showPools(pools);
    for (const { pool, reservations: count, oldestAgeSeconds } of reservations) {
      this.#set("reservations", { pool }, count);
      this.#set("reservation_oldest_age_seconds", { pool }, oldestAgeSeconds);
    }
    this.#showUsage(usage);
    this.#showPlans(plans);
    this.#set("db_oldest_transaction_seconds", {}, database.oldestTransactionSeconds);
    for (const { table, rows } of database.deadRows) this.#set("db_dead_rows", { table }, rows);
    this.#set("state_read_success", {}, 1);
  }

  #showJobs(jobs: Awaited<ReturnType<typeof countActiveJobs>>, nowSeconds: number): void {
    const gpus = new Map<string, { pool: string; state: string; sum: number }>();
    const oldest = new Map<string, number>();
    for (const row of jobs) {
      const { pool, status: state, priorityClass } = row;
      this.#set("jobs", { pool, state, priority_class: priorityClass }, row.jobs);
      const key = `${pool}/${state}`;
      gpus.set(key, { pool, state, sum: (gpus.get(key)?.sum ?? 0) + row.gpus });
      if (state !== "pending" && state !== "evicted") continue;
      const age = nowSeconds - row.oldestQueuedAtSeconds;
      oldest.set(pool, Math.max(oldest.get(pool) ?? 0, age));
    }
    for (const { pool, state, sum } of gpus.values()) this.#set("jobs_gpus", { pool, state }, sum);
    for (const [pool, age] of oldest) this.#set("queue_oldest_job_age_seconds", { pool }, age);
  }

  #showPools(pools: Awaited<ReturnType<typeof readPoolCapacities>>): void {
    for (const row of pools) {
      const { pool } = row;
      this.#set("pool_nodes", { pool, schedulable: "true" }, row.schedulableNodes);
      this.#set("pool_nodes", { pool, schedulable: "false" }, row.nodes - row.schedulableNodes);
      for (const [index, kind] of resources.entries()) {
        this.#set("pool_allocatable", { pool, ...kind }, row.allocatable[index] ?? 0);
        this.#set("pool_committed", { pool, ...kind }, row.committed[index] ?? 0);
        this.#set("pool_other_usage", { pool, ...kind }, row.otherUsage[index] ?? 0);
        this.#set("pool_reserved", { pool, ...kind }, row.reserved[index] ?? 0);
      }
    }
  }

  #showUsage(usage: Awaited<ReturnType<typeof readProjectUsage>>): void {
    for (const { pool, project, borrowing, gpus, cpuCores } of usage) {
      const mode = borrowing ? "borrowed" : "entitled";
      const [gpu, cpu] = resources;
      this.#set("project_usage", { pool, project, mode, ...gpu }, gpus);
      this.#set("project_usage", { pool, project, mode, ...cpu }, cpuCores);
    }
  }

  #showPlans(plans: Awaited<ReturnType<typeof readPlanState>>): void {
    for (const row of plans) {
      const { pool } = row;
      const kind = labelsOf(row.resourceType);
      const { resource } = kind;
      const granted = kind.unit === "byte" ? row.granted * unitOf(row.resourceType) : row.granted;
      this.#set("plan_granted", { pool, ...kind }, granted);
      this.#set("plan_windows", { pool, resource, open: "true" }, row.openWindows);
      this.#set("plan_windows", { pool, resource, open: "false" }, row.closedWindows);
      if (row.evictCloseSeconds === null) continue;
      this.#set("plan_evict_close_seconds", { pool, resource }, row.evictCloseSeconds);
    }
  }
}

/** Registers the gauges; they are read on collection. */
export const stateMetrics = (options: StateMetricsOptions): object => new StateMetrics(options);
