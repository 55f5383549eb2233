/** The operator as it is shipped: one file and the migrations, far from any node_modules. */
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";
import { startOperator } from "../../dev/local/operator.ts";
import { projectRoot } from "../../dev/local/paths.ts";
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
import { createEmptyDatabase, type TestDatabase } from "../support/database.ts";

describe("the bundle", () => {
  let installation: Installation;
  let database: TestDatabase;
  let folder: string;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "rota-bundle-"));
    const script = join(projectRoot, "dev", "tasks", "bundle.ts");
    await promisify(execFile)(process.execPath, [script, `--output=${join(folder, "dist")}`]);
    installation = await startInstallation();
    database = await createEmptyDatabase();
    const { view, cluster } = installation;
    await cluster.addNodes({ count: 1, gpus: 8 });
    const objects = [priorityClass("low", 10), project("team", { owner }), plan("all", { owner })];
    for (const object of objects) await view.apply(object);
  });

  after(async () => {
    await database?.drop();
    await installation?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it("is one file with its source map, what it reads at run time, and the licences of what is in it", () => {
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
      kubeconfig: installation.cluster.kubeconfig,
      databaseUrl: database.url,
      logFile: join(folder, "operator.log"),
    });
    try {
      await teamIsReady(installation);
      await installation.view.apply(
        job("team", "one", { pool: "default", gpus: 8, priorityClassName: "low" }),
      );
      await teamJobIs(installation, "one", "Running");
      const metrics = await (await fetch(`${operator.url}/metrics`)).text();
      expect(metrics).to.match(/^# TYPE \w+/m);
    } finally {
      await operator.stop();
    }
    expect(await operator.ended).to.equal("status 0");
  });
});
