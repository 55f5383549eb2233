/** Makes docs/reference/metrics.md: every metric of the operator, as its parts register them. Nothing is connected to. */
import { admissionPolicyGauge } from "../../../src/operator/admission-policies.ts";
import { ownershipGauge } from "../../../src/operator/ownership/ownership.ts";
import { createInformers } from "../../../src/operator/informers.ts";
import { createJobCounters } from "../../../src/controllers/job/metrics.ts";
import { createApiMetrics } from "../../../src/http/metrics.ts";
import { showStuckPods } from "../../../src/controllers/job/stuck-pods.ts";
import { createPool } from "../../../src/db/client/connection-pool.ts";
import { KubeClient } from "../../../src/kube/client.ts";
import type { CredentialSource } from "../../../src/kube/credentials.ts";
import { createEventRecorder } from "../../../src/kube/events.ts";
import { createReflectorMetrics } from "../../../src/kube/reflector-metrics.ts";
import { buildInfo } from "../../../src/observability/build-info.ts";
import { clockMetrics, eventLoopMetrics } from "../../../src/observability/process-metrics.ts";
import { poolMetrics, statementMetrics } from "../../../src/observability/database-metrics.ts";
import { metricPrefix, PrometheusMetrics } from "../../../src/observability/metrics.ts";
import { stateMetrics } from "../../../src/observability/state-metrics.ts";
import { jobs } from "../../../src/resources/types.ts";
import { systemClock } from "../../../src/runtime/clock.ts";
import { createController } from "../../../src/runtime/controller.ts";
import { done } from "../../../src/runtime/result.ts";
import { silentLogger as logger } from "../../../src/runtime/logger.ts";
import { LeaderElection } from "../../../src/runtime/lease.ts";
import { noMetrics } from "../../../src/runtime/metrics.ts";
import { cycleObserver } from "../../../src/scheduler/cycle-report.ts";
import { readSettings } from "../../../src/settings/read.ts";
import type { GeneratedFile } from "./types.ts";

const nowhere = "postgres://127.0.0.1/none";
const unused = (): never => {
  throw new Error("the reference is made without a cluster");
};

interface Described {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly labelNames: readonly string[];
}

async function registered(): Promise<Described[]> {
  const clock = systemClock;
  const metrics = new PrometheusMetrics();
  const db = createPool(nowhere);
  const credentials = { server: new URL("https://127.0.0.1"), dispatcher: unused, headers: unused };
  const client = new KubeClient({
    credentials: credentials as unknown as CredentialSource,
    clock,
    name: "reference",
    metrics,
  });
  buildInfo(metrics, "");
  eventLoopMetrics(metrics);
  clockMetrics(metrics, { aheadSeconds: 0 });
  createApiMetrics(metrics, unused);
  statementMetrics(metrics);
  poolMetrics(metrics, db);
  const isLeading = () => false;
  stateMetrics({ registry: metrics.registry, db, clock, logger, timeZone: "UTC", isLeading });
  cycleObserver(metrics);
  createJobCounters(metrics);
  admissionPolicyGauge(metrics);
  ownershipGauge(metrics);
  const settings = readSettings({ DATABASE_URL: nowhere }, false);
  const { gpuResource } = settings;
  const informers = createInformers({
    kube: client,
    clock,
    logger,
    metrics: noMetrics,
    gpuResource,
    onTimeTravel: () => undefined,
  });
  showStuckPods({ informers, clock, settings }, metrics);
  createEventRecorder({ client, clock, logger, metrics, controller: "", instance: "" });
  createReflectorMetrics(metrics, jobs, { objects: () => 0, lastEventSeconds: () => 0 });
  const reconcile = () => Promise.resolve(done());
  createController({ name: "job", concurrency: 1, reconcile, clock, logger, metrics });
  const lock = { read: unused, write: unused };
  const lead = () => Promise.resolve();
  const election = new LeaderElection({ lock, identity: "", clock, logger, metrics, lead });
  if (election.leadership) unused();
  const all = metrics.registry.getMetricsAsArray() as unknown as (Described & {
    readonly type: string;
  })[];
  await db.end();
  await client.close();
  return all.filter(({ name }) => name.startsWith(metricPrefix));
}

export async function generateMetricsDoc(): Promise<readonly GeneratedFile[]> {
  const rows = (await registered())
    .toSorted((one, other) => (one.name < other.name ? -1 : 1))
    .map(({ name, type, labelNames, help }) => {
      const labels = labelNames.map((label) => `\`${label}\``).join(", ");
      return `| \`${name}\` | ${type} | ${labels} | ${help} |`;
    });
  const content = `# Metrics

Served at \`/metrics\`. Generated from the code by \`npm run docs\`; do not edit.

Gauges of the database's state (jobs, pools, projects, plans, holds, dead rows) are shown by the leader only, so that sums over all replicas count them once. Resources are named as kube-state-metrics does: \`gpu\` and \`pods\` (integer), \`cpu\` (core), \`memory\` (byte). Cardinality is bounded: by the cluster's pools, priority classes and resource types, and by the 100 top-level projects that use most; the others are summed as \`_other\`. The metrics of the process (\`process_*\`, \`nodejs_*\`) are those of prom-client.

| metric | type | labels | meaning |
|---|---|---|---|
${rows.join("\n")}
`;
  return [{ path: "docs/reference/metrics.md", content }];
}
