/** The operator as it is shipped: one file and the migrations, far from any node_modules. */
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";
import { startOperator } from "../../dev/local/operator.ts";
import { projectRoot } from "../../dev/local/paths.ts";
import { owner, plan } from "../support/installation.ts";
import { createEmptyDatabase, type TestDatabase } from "../support/database.ts";
import { useTeam } from "../support/team.ts";

describe("the bundle", () => {
  const team = useTeam({ operator: false, objects: [plan("all", { owner })] });
  let database: TestDatabase;
  let folder: string;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "rota-bundle-"));
    const script = join(projectRoot, "dev", "tasks", "bundle.ts");
    await promisify(execFile)(process.execPath, [script, `--output=${join(folder, "dist")}`]);
    database = await createEmptyDatabase();
    await team.cluster.addNodes({ count: 1, gpus: 8 });
  });

  after(async () => {
    await database?.drop();
    rmSync(folder, { recursive: true, force: true });
  });

  it("is one file with source map, migrations and licences", () => {
    expect(readdirSync(join(folder, "dist")).toSorted()).to.deep.equal([
      "THIRD-PARTY-NOTICES.txt",
      "migrations",
      "postgres-migrations",
      "rota.mjs",
      "rota.mjs.map",
    ]);
  });

  it("migrates an empty database, runs a job and drains", async () => {
    const operator = await startOperator({
      program: join(folder, "dist", "rota.mjs"),
      kubeconfig: team.cluster.kubeconfig,
      databaseUrl: database.url,
      logFile: join(folder, "operator.log"),
    });
    try {
      await team.ready();
      await team.run("one", { gpus: 8 });
      const metrics = await (await fetch(`${operator.url}/metrics`)).text();
      expect(metrics).to.match(/^# TYPE \w+/m);
    } finally {
      await operator.stop();
    }
    expect(await operator.ended).to.equal("status 0");
  });
});
