/** Whole scheduling cycles on a PostgreSQL of its own, without the API server: 10,000 waiting jobs of 50 projects. */
import { createPool, type DatabasePool } from "../../src/db/client/connection-pool.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import { silentLogger } from "../../src/runtime/logger.ts";
import { runCycle, type CycleDependencies } from "../../src/scheduler/cycle.ts";
import { EvictionProbe } from "../../src/scheduler/eviction-probe.ts";
import { noNamespaceQuotas } from "../../test/support/namespace-quotas.ts";
import { mayAllGo } from "../../test/support/gang-answers.ts";
import { PositionPace } from "../../src/scheduler/wait-reasons/position-pace.ts";
import { SearchTurns } from "../../src/scheduler/search-turns.ts";
import { WindowNotices } from "../../src/scheduler/windows/notices.ts";
import { type ClusterSize, fillCluster } from "./cluster.ts";
import { withDatabase } from "./database.ts";
import { measure, type Measurement } from "./measure.ts";

const jobs = 10_000;
const projects = 50;
const empty = "empty";

/** Jobs of one GPU, of ten priorities, that may evict nobody; each project owns a plan that grants more than is there. */
const waiting = (pool: string, preempts: boolean): readonly string[] => [
  `INSERT INTO jobs (
     id, project_id, namespace, name, pool, priority, priority_class, parallelism, pod_gpus, pod_cpu_millis,
     pod_memory_bytes, created_at, allows_borrowing, preempts, backoff_limit
   )
   SELECT gen_random_uuid(), project.id, project.name, '${pool}-' || number, '${pool}', number % 10, 'bench', 1, 1, 1000,
     1073741824, now() + number * interval '1 millisecond', true, ${preempts}, 0
   FROM generate_series(1, ${jobs}) AS number
   JOIN projects AS project ON project.name = 'team-' || number % ${projects}`,
  `INSERT INTO job_specs (job_id) SELECT id FROM jobs WHERE pool = '${pool}' AND status = 'pending'
   ON CONFLICT DO NOTHING`,
];

const setting: readonly string[] = [
  `INSERT INTO projects (id, name, namespace, owner_id)
   SELECT gen_random_uuid(), 'team-' || number, 'team-' || number, ensure_owner('Group', 'team-' || number)
   FROM generate_series(0, ${projects - 1}) AS number`,
  `INSERT INTO resource_plans (
     plan_uid, plan_name, resource_owner_id, resource_type, pool, quantity, time_window, generation
   )
   SELECT gen_random_uuid(), 'plan-' || pool || '-' || owner_id, owner_id, 'GPU', pool, 100000, int4range(0, 604800), 1
   FROM projects CROSS JOIN (VALUES ('bench'), ('${empty}')) AS pools (pool) WHERE owner_id IS NOT NULL`,
  `INSERT INTO nodes (
     name, uid, pool, schedulable, gpus_allocatable, cpu_millis_allocatable, memory_bytes_allocatable, pods_allocatable
   )
   SELECT 'empty-' || number, gen_random_uuid(), '${empty}', true, 8, 128000, 1099511627776, 110
   FROM generate_series(1, 2000) AS number`,
  ...waiting("bench", false),
  ...waiting(empty, false),
  "ANALYZE",
];

const dependencies = (db: DatabasePool, claimLimit: number): CycleDependencies => ({
  db,
  clock: systemClock,
  logger: silentLogger,
  timeZone: "UTC",
  unmeteredResources: ["rdma/*"],
  namespaceQuotas: noNamespaceQuotas,
  claimLimit,
  reservationSeconds: 300,
  avoidNodeSeconds: 600,
  windowWarningSeconds: 900,
  windowGraceSeconds: 300,
  notices: new WindowNotices(),
  probe: new EvictionProbe(() => Promise.resolve(mayAllGo), systemClock),
  explain: () => {},
  positions: new PositionPace(systemClock),
  turns: new SearchTurns(),
  onChanged: () => {},
  observe: () => {},
  checkpoint: () => {},
});

async function admittedOf(db: DatabasePool): Promise<number> {
  const { rows } = await db.query<{ count: number }>(
    `SELECT count(*)::int FROM jobs WHERE pool = '${empty}' AND status = 'starting'`,
  );
  return rows[0]?.count ?? 0;
}

/** How many jobs a second the cycle admits with the claim limit of the default settings, until none waits. */
async function measureAdmissions(db: DatabasePool): Promise<Measurement> {
  const deps = dependencies(db, 500);
  const signal = AbortSignal.timeout(120_000);
  const times: number[] = [];
  const started = performance.now();
  let unfinished = true;
  while (unfinished) {
    const begun = performance.now();
    unfinished = (await runCycle(deps, empty, signal)).isUnfinished;
    times.push(performance.now() - begun);
  }
  const seconds = (performance.now() - started) / 1000;
  const admitted = await admittedOf(db);
  if (admitted !== jobs) throw new Error(`${admitted} of ${jobs} jobs were admitted`);
  times.sort((one, other) => one - other);
  const at = (share: number): number =>
    Math.round((times[Math.floor((times.length - 1) * share)] ?? 0) * 10) / 10;
  return {
    name: `cycle, claims of 500 until ${jobs} jobs have started: ${Math.round(admitted / seconds)} jobs/s`,
    rounds: times.length,
    p50Milliseconds: at(0.5),
    p99Milliseconds: at(0.99),
    worstMilliseconds: at(1),
  };
}

export function measureCycles(size: ClusterSize, rounds: number): Promise<Measurement[]> {
  return withDatabase(async (url) => {
    const pool = createPool(url, { statementTimeoutSeconds: 120 });
    await pool.learnTypes();
    try {
      await fillCluster(pool, size);
      for (const statement of setting) await pool.query(statement);
      const signal = AbortSignal.timeout(300_000);
      const usual = dependencies(pool, 500);
      const everything = dependencies(pool, 5 * jobs);
      return [
        await measureAdmissions(pool),
        await measure("cycle, full cluster, 10,000 wait, 500 looked at", rounds, () =>
          runCycle(usual, "bench", signal),
        ),
        await measure("cycle, full cluster, 10,000 wait, all looked at", rounds, () =>
          runCycle(everything, "bench", signal),
        ),
      ];
    } finally {
      await pool.end();
    }
  });
}
