import { expect } from "chai";
import type { KubeObject } from "../../src/kube/resource.ts";
import { migrate } from "../../src/db/client/migrate.ts";
import {
  type Installation,
  job,
  plan,
  priorityClass,
  project,
  startInstallation,
  owner,
  teamIsReady,
  teamJobIs,
} from "../support/installation.ts";

const commit: KubeObject = {
  apiVersion: "rota.dev/v1alpha1",
  kind: "ConfigCommit",
  metadata: { namespace: "team", name: "first" },
  spec: { content: { rate: 1 }, tag: "v1" },
};

describe("recovery", function () {
  let installation: Installation;

  before(async () => {
    installation = await startInstallation();
    const { view, cluster } = installation;
    await cluster.addNodes({ count: 1, gpus: 8, namePrefix: "only-" });
    for (const object of [
      priorityClass("low", 10),
      project("team", { owner }),
      plan("all", { owner }),
    ]) {
      await view.apply(object);
    }
  });

  after(async () => {
    await installation?.stop();
  });

  const stateOf = (name: string, state: string) => teamJobIs(installation, name, state);

  it("survives the loss of the database's content: what runs runs on, what ended stays ended", async () => {
    const { view, database } = installation;
    const first = await installation.operate();
    await teamIsReady(installation);
    await view.apply(commit);
    const submit = (name: string, gpus: number, options: object = {}) =>
      view.apply(
        job("team", name, { pool: "default", gpus, priorityClassName: "low", ...options }),
      );
    await submit("short", 1, { annotations: { "rota.dev/simulate-run-seconds": "1" } });
    await stateOf("short", "Succeeded");
    await submit("gang", 2, { parallelism: 3, spec: { configRef: { tag: "v1" } } });
    await stateOf("gang", "Running");
    await submit("waits", 6);
    await stateOf("waits", "Pending");
    const before = await view.pods();
    await first.stop();

    await database.pool.query("DROP SCHEMA public CASCADE");
    await database.pool.query("CREATE SCHEMA public");
    await migrate(database.url);

    await installation.operate();
    const adopted = await view.until("the running job to be known again", async () => {
      const { rows } = await database.pool.query<{ name: string; status: string; attempt: number }>(
        "SELECT name, status, attempt FROM jobs ORDER BY name",
      );
      return rows.length === 2 && rows;
    });
    expect(adopted).to.deep.equal([
      { name: "gang", status: "running", attempt: 1 },
      { name: "waits", status: "pending", attempt: 0 },
    ]);
    const { rows: nodes } = await database.pool.query("SELECT gpus_committed FROM nodes");
    expect(nodes).to.deep.equal([{ gpus_committed: 6 }]);
    expect((await view.pods()).map(({ uid }) => uid).toSorted()).to.deep.equal(
      before.map(({ uid }) => uid).toSorted(),
    );
    expect((await view.job("team/short")).status.state).to.equal("Succeeded");
    await view.until("the configuration to be stored again", async () => {
      const { rows } = await database.pool.query("SELECT FROM config_blobs");
      return rows.length === 1;
    });
  });

  it("cancels an adopted job that is deleted, and gives its room to the next", async () => {
    const { view } = installation;
    await view.remove(job("team", "gang", { pool: "default", gpus: 2 }));
    await stateOf("waits", "Running");
    const { rows } = await installation.database.pool.query(
      "SELECT status FROM jobs WHERE name = 'gang'",
    );
    expect(rows).to.deep.equal([{ status: "cancelled" }]);
  });
});
