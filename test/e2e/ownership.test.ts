/** One cluster, one database, one Rota: who does not lead with which database, and the step that lets it. */
import { readFileSync } from "node:fs";
import { expect } from "chai";
import { Client } from "pg";
import type { Operator } from "../../dev/local/operator.ts";
import { createTestDatabase, databaseUrl, type TestDatabase } from "../support/database.ts";
import { type Installation, owner, plan, startInstallation } from "../support/installation.ts";
import { acceptDatabase, clusterRoles } from "../support/ownership.ts";
import { useTeam } from "../support/team.ts";

const notWaiting = { untilReady: false };

describe("ownership of the database", function () {
  const team = useTeam({ objects: [plan("all", { owner })] });
  const others: (TestDatabase | Installation)[] = [];

  before(async () => {
    await team.cluster.addNodes({ count: 1, gpus: 8 });
    await team.run("runs", { gpus: 4 });
  });
  after(async () => {
    for (const other of others) await ("drop" in other ? other.drop() : other.stop());
  });

  const logOf = (operator: Operator): string => readFileSync(operator.logFile, "utf8");
  const refuses = (operator: Operator, reason: string): Promise<unknown> =>
    team.view.until(`the operator not to lead: ${reason}`, async () => {
      const metrics = await (await fetch(`${operator.url}/metrics`)).text();
      const line = `rota_database_ownership_obstacle{reason="${reason}"} 1`;
      const ready = await fetch(`${operator.url}/readyz`);
      const log = logOf(operator);
      return (
        metrics.includes(line) &&
        ready.status === 503 &&
        (await ready.text()).includes("ownership of the database") &&
        log.includes("this operator does not lead") &&
        log.includes(reason)
      );
    });
  const leads = (operator: Operator): Promise<unknown> =>
    team.view.until("the operator to lead", async () => {
      const ready = await fetch(`${operator.url}/readyz`);
      const metrics = await (await fetch(`${operator.url}/metrics`)).text();
      return ready.ok && metrics.includes("rota_leader_election_master_status 1");
    });
  /** As the log says it. */
  async function accept(operator: Operator, { view } = team): Promise<void> {
    const [, id = ""] = /rota\.dev\/accept-database=([0-9a-f-]{36})/.exec(logOf(operator)) ?? [];
    await acceptDatabase({ view }, id);
  }
  const marker = async (): Promise<Record<string, string>> => {
    const { metadata } = await team.view.client.get(clusterRoles, "rota-installation");
    return metadata.annotations ?? {};
  };
  const idOf = async ({ pool }: TestDatabase): Promise<string | undefined> => {
    const { rows } = await pool.query<{ id: string }>("SELECT database_id AS id FROM installation");
    return rows[0]?.id;
  };
  const runsStill = async (uids: readonly string[]): Promise<void> => {
    await team.stateOf("runs", "Running");
    expect(await team.uids("runs")).to.deep.equal(uids);
    await team.view.until("the row to run", async () => {
      return (await team.row("runs"))?.status === "running";
    });
  };
  async function administer(...statements: readonly string[]): Promise<void> {
    const admin = new Client({ connectionString: databaseUrl(team.database.url, "postgres") });
    await admin.connect();
    try {
      for (const statement of statements) await admin.query(statement);
    } finally {
      await admin.end();
    }
  }

  it("is known to both sides after the start", async () => {
    expect(await marker()).to.include({
      "rota.dev/database": await idOf(team.database),
      "rota.dev/lease": "rota-system/rota-operator",
    });
    const { metadata } = await team.view.client.get(
      { group: "", version: "v1", plural: "namespaces", kind: "Namespace", namespaced: false },
      "kube-system",
    );
    const { rows } = await team.database.pool.query("SELECT cluster_uid FROM installation");
    expect(rows).to.deep.equal([{ cluster_uid: metadata.uid }]);
  });

  it("stops a second installation in the cluster", async () => {
    const second = await createTestDatabase();
    others.push(second);
    const env = { DATABASE_URL: second.url, ROTA_TAKEOVER_SECONDS: "0" };
    const operator = await team.installed().operate(env, notWaiting);
    await refuses(operator, "DatabaseEmpty");
    const beside = await team.installed().operate({ ROTA_LEASE_NAMESPACE: "rota-two" }, notWaiting);
    await refuses(beside, "AnotherInstallation");
    expect(await idOf(team.database)).to.equal((await marker())["rota.dev/database"]);
    const { rowCount } = await second.pool.query("SELECT FROM projects");
    expect(rowCount).to.equal(0);
    await operator.stop();
    await beside.stop();
    await leads(team.operator);
  });

  it("waits for the Lease when the database was emptied", async () => {
    const uids = await team.uids("runs");
    const empty = ["DROP SCHEMA public CASCADE", "CREATE SCHEMA public"];
    // Under a running operator, which holds the Lease until it finds out.
    for (const statement of empty) await team.database.pool.query(statement);
    await refuses(team.operator, "DatabaseEmpty");
    await team.operator.stop();
    const patient = await team.operate({}, notWaiting);
    await refuses(patient, "DatabaseEmpty");
    expect(logOf(patient)).to.include("has been free for 600 s");
    await patient.stop();
    await leads(await team.operate({ ROTA_TAKEOVER_SECONDS: "1" }));
    await runsStill(uids);
    expect(await marker()).to.include({ "rota.dev/database": await idOf(team.database) });
  });

  it("keeps the resource that it counts as GPUs while jobs run", async () => {
    const uids = await team.uids("runs");
    await team.operator.stop();
    const changed = { ROTA_GPU_RESOURCES: "amd.com/gpu,nvidia.com/gpu" };
    const operator = await team.operate(changed, notWaiting);
    await refuses(operator, "GpuResourceChanged");
    await operator.stop();
    await leads(await team.operate());
    await runsStill(uids);
  });

  it("is confirmed after a restore", async () => {
    const uids = await team.uids("runs");
    await team.operator.stop();
    const name = new URL(team.database.url).pathname.slice(1);
    const former = await idOf(team.database);
    await administer(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${name}'`,
      `ALTER DATABASE ${name} RENAME TO ${name}_backup`,
      `CREATE DATABASE ${name} TEMPLATE ${name}_backup`,
      `DROP DATABASE ${name}_backup WITH (FORCE)`,
    );
    const operator = await team.operate({}, notWaiting);
    await refuses(operator, "DatabaseRestored");
    await accept(operator);
    await leads(operator);
    await runsStill(uids);
    const id = await idOf(team.database);
    expect(id).to.not.equal(former);
    expect(await marker()).to.include({ "rota.dev/database": id });
    expect(await marker()).to.not.have.property("rota.dev/accept-database");
  });

  it("stops an operator of another cluster", async () => {
    const uids = await team.uids("runs");
    const rebuilt = await startInstallation();
    others.unshift(rebuilt);
    const foreign = await rebuilt.operate({ DATABASE_URL: team.database.url }, notWaiting);
    await refuses(foreign, "DatabaseOfAnotherCluster");
    await runsStill(uids);

    // As for a cluster that was rebuilt: the database is accepted, and the first cluster's operator does not lead any more.
    await accept(foreign, { ...team, view: rebuilt.view });
    await leads(foreign);
    await refuses(team.operator, "DatabaseOfAnotherCluster");
    await team.operator.stop();
    await refuses(await team.operate({}, notWaiting), "DatabaseOfAnotherCluster");
    expect(await team.uids("runs"), "pods of the first cluster").to.deep.equal(uids);
    const { rowCount } = await team.database.pool.query(
      "SELECT FROM job_events WHERE name = 'runs' AND to_status = 'running'",
    );
    expect(rowCount, "its history").to.be.at.least(1);
  });
});
