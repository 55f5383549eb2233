/** A database brought back to an earlier state while the cluster went on: the cluster is the newer truth. */
import { expect } from "chai";
import { Client } from "pg";
import type { Operator } from "../../dev/local/operator.ts";
import { jobs } from "../../src/resources/types.ts";
import { databaseUrl } from "../support/database.ts";
import {
  type Installation,
  job,
  owner,
  plan,
  priorityClass,
  project,
  startInstallation,
  teamIsReady,
  teamJobIs,
} from "../support/installation.ts";

const backup = `rota_backup_${process.pid}`;

describe("restoring an old backup", () => {
  let installation: Installation;
  let operator: Operator;

  const submit = (name: string, gpus: number): Promise<void> =>
    installation.view.apply(job("team", name, { pool: "default", gpus, priorityClassName: "low" }));

  /** Statements that nobody may be connected for. */
  async function administer(...statements: readonly string[]): Promise<void> {
    const admin = new Client({
      connectionString: databaseUrl(installation.database.url, "postgres"),
    });
    await admin.connect();
    try {
      for (const statement of statements) await admin.query(statement);
    } finally {
      await admin.end();
    }
  }

  const pods = async (): Promise<string[]> =>
    (await installation.view.pods()).map(({ name, uid }) => `${name} ${uid}`).toSorted();

  before(async () => {
    installation = await startInstallation();
    const { view, cluster } = installation;
    await cluster.addNodes({ count: 1, gpus: 8 });
    const objects = [priorityClass("low", 10), project("team", { owner }), plan("all", { owner })];
    for (const object of objects) await view.apply(object);
    operator = await installation.operate();
    await teamIsReady(installation);
  });

  after(async () => {
    await administer(`DROP DATABASE IF EXISTS ${backup} WITH (FORCE)`).catch(() => undefined);
    await installation?.stop();
  });

  it("finds what the backup does not know, ends what is gone, and runs nothing twice at once", async () => {
    const { view, database } = installation;
    const name = new URL(database.url).pathname.slice(1);
    await submit("ends", 6);
    await teamJobIs(installation, "ends", "Running");
    await submit("starts", 4);
    await teamJobIs(installation, "starts", "Pending");
    await operator.stop();
    const ofOthers = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${name}' AND pid <> pg_backend_pid()`;
    await administer(ofOthers, `CREATE DATABASE ${backup} TEMPLATE ${name}`);

    operator = await installation.operate();
    await view.client.delete(jobs, "team/ends");
    await teamJobIs(installation, "starts", "Running");
    await submit("new", 4);
    await teamJobIs(installation, "new", "Running");
    await submit("waits", 8);
    await teamJobIs(installation, "waits", "Pending");
    const running = await pods();
    await operator.stop();

    await administer(
      `DROP DATABASE ${name} WITH (FORCE)`,
      `ALTER DATABASE ${backup} RENAME TO ${name}`,
    );
    operator = await installation.operate();
    const rows = await view.until("the database to say what the cluster says", async () => {
      const { rows: found } = await database.pool.query<{ name: string; status: string }>(
        "SELECT name, status, attempt FROM jobs ORDER BY name",
      );
      const isRunning = (job: string) =>
        found.some((row) => row.name === job && row.status === "running");
      const hasEnded = found.every((row) => row.name !== "ends" || row.status === "cancelled");
      return isRunning("new") && isRunning("starts") && hasEnded && found;
    });
    expect(rows.filter(({ name: jobName }) => jobName !== "ends")).to.deep.equal([
      { name: "new", status: "running", attempt: 1 },
      { name: "starts", status: "running", attempt: 1 },
      { name: "waits", status: "pending", attempt: 0 },
    ]);
    const { rows: nodes } = await database.pool.query("SELECT gpus_committed FROM nodes");
    expect(nodes).to.deep.equal([{ gpus_committed: 8 }]);
    // "starts" waited when the backup was made: it is started anew, while "new", which the backup does not know, runs on.
    const ofNew = (all: readonly string[]) => all.filter((pod) => pod.startsWith("new-"));
    const now = await pods();
    expect(ofNew(now)).to.deep.equal(ofNew(running));
    expect(now).to.have.lengthOf(2);

    await view.client.delete(jobs, "team/new");
    await view.client.delete(jobs, "team/starts");
    await teamJobIs(installation, "waits", "Running");
  });
});
