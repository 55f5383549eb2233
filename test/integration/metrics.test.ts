/** What the metrics read of the database, against rows that were put there; and the timing of statements. */
import { randomUUID } from "node:crypto";
import { expect } from "chai";
import { Registry } from "prom-client";
import { admitJobs } from "../../src/db/jobs/admit.ts";
import { createPool } from "../../src/db/client/connection-pool.ts";
import { replacePlan } from "../../src/db/tenants/plans.ts";
import { readPlanState } from "../../src/db/reports/state-metrics.ts";
import { stateMetrics } from "../../src/observability/state-metrics.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import { silentLogger } from "../../src/runtime/logger.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { addJob, addNode, addProject, monday, rejection } from "../support/fixtures.ts";

describe("metrics of the state", () => {
  let database: TestDatabase;
  before(async () => {
    database = await createTestDatabase();
    const { pool } = database;
    const root = await addProject(pool, "lab-one");
    const child = await addProject(pool, "lab-two", { parent: "lab-one" });
    await addNode(pool, "node-1", 8);
    const running = await addJob(pool, child, {
      perPod: { gpus: 3, cpuMillis: 1500, memoryBytes: 1024 },
    });
    await admitJobs(pool, [
      { id: running, attempt: 0, borrowing: true, placements: [{ node: "node-1", pods: 1 }] },
    ]);
    await addJob(pool, root, { priorityClass: "high" });
    await addJob(pool, root, { priorityClass: "high" });
  });
  after(() => database.drop());

  const scrape = async (isLeading: boolean, url?: string): Promise<string> => {
    const registry = new Registry();
    const db = url === undefined ? database.pool : createPool(url);
    stateMetrics({
      registry,
      db,
      clock: { ...systemClock, now: () => monday.add({ minutes: 5 }) },
      logger: silentLogger,
      timeZone: "UTC",
      isLeading: () => isLeading,
    });
    const text = await registry.metrics();
    if (db !== database.pool) await db.end();
    return text;
  };

  it("count jobs, capacity and usage by top-level project", async () => {
    const text = await scrape(true);
    expect(text).to.include('rota_jobs{pool="default",state="pending",priority_class="high"} 2');
    expect(text).to.include('rota_queue_oldest_job_age_seconds{pool="default"} 300');
    expect(text).to.include(
      'rota_pool_allocatable{pool="default",resource="gpu",unit="integer"} 8',
    );
    expect(text).to.include('rota_pool_committed{pool="default",resource="cpu",unit="core"} 1.5');
    expect(text).to.include(
      'rota_project_usage{pool="default",project="lab_one",mode="borrowed",resource="gpu",unit="integer"} 3',
    );
    expect(text).to.match(/rota_state_read_success 1/);
  });

  it("are absent where another operator leads", async () => {
    const text = await scrape(false);
    expect(text).not.to.match(/^rota_[a-z_]+(\{.*\})? /m);
  });

  it("report that the state could not be read", async () => {
    const text = await scrape(true, "postgres://nobody@127.0.0.1:1/none");
    expect(text).to.match(/^rota_state_read_success 0$/m);
    expect(text).not.to.match(/^rota_jobs\{/m);
  });

  it("include the next Evict close, across Sunday midnight", async () => {
    const { pool } = database;
    const owner = { kind: "Group" as const, name: "night-shift" };
    const common = { owner, quantity: 4, onWindowClose: "Evict" as const, generation: 1 };
    await replacePlan(pool, {
      ...common,
      uid: randomUUID(),
      name: "weekend-night",
      resourceType: "GPU",
      pool: "night",
      windows: [{ days: ["Sun"], start: "22:00", end: "06:00" }],
    });
    await replacePlan(pool, {
      ...common,
      uid: randomUUID(),
      name: "always",
      resourceType: "CPU",
      pool: "night",
      windows: undefined,
    });
    const sundayAt23 = 604_800 - 3600;
    const states = (await readPlanState(pool, sundayAt23)).filter(({ pool }) => pool === "night");
    const [cpu, gpu] = states.toSorted((one, other) =>
      one.resourceType < other.resourceType ? -1 : 1,
    );
    expect(gpu).to.deep.include({ granted: 4, openWindows: 1, closedWindows: 1 });
    expect(gpu?.evictCloseSeconds).to.equal(7 * 3600);
    expect(cpu?.evictCloseSeconds).to.equal(null);
  });

  it("measure the time and error of each statement", async () => {
    const seen: [string, string | undefined][] = [];
    const pool = createPool(database.url, {
      onStatement: (statement, seconds, error) => {
        expect(seconds).to.be.at.least(0);
        seen.push([statement, error]);
      },
    });
    await pool.query("SELECT 1");
    await rejection(pool.query("DELETE FROM nodes WHERE name = 'node-1'"));
    const client = await pool.connect();
    await client.query({ name: "one", text: "SELECT 1" });
    await rejection(client.query("SELEC 1"));
    client.release();
    await pool.end();
    expect(seen).to.deep.equal([
      ["select", undefined],
      ["delete", "allocations_node_exists"],
      ["one", undefined],
      ["other", "42601"],
    ]);
  });
});
