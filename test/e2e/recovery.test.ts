import { expect } from "chai";
import { migrate } from "../../src/db/client/migrate.ts";
import { commit, owner, plan } from "../support/installation.ts";
import { useTeam } from "../support/team.ts";

describe("recovery of the database", function () {
  const team = useTeam({ objects: [plan("all", { owner })] });
  const { submit, stateOf } = team;

  before(() => team.cluster.addNodes({ count: 1, gpus: 8, namePrefix: "only-" }));

  it("keeps running and ended jobs when the database is emptied", async () => {
    const { view, database } = team;
    await view.apply(commit("first", { content: { rate: 1 }, tag: "v1" }));
    await submit("short", { annotations: { "rota.dev/simulate-run-seconds": "1" } });
    await stateOf("short", "Succeeded");
    await submit("gang", { gpus: 2, parallelism: 3, spec: { configRef: { tag: "v1" } } });
    await stateOf("gang", "Running");
    await submit("waits", { gpus: 6 });
    await stateOf("waits", "Pending");
    const before = await view.pods();
    await team.operator.stop();

    await database.pool.query("DROP SCHEMA public CASCADE");
    await database.pool.query("CREATE SCHEMA public");
    await migrate(database.url);

    await team.operate({ ROTA_TAKEOVER_SECONDS: "1" });
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
    expect((await team.job("short")).status.state).to.equal("Succeeded");
    await view.until("the configuration to be stored again", async () => {
      const { rows } = await database.pool.query("SELECT FROM config_blobs");
      return rows.length === 1;
    });
  });

  it("cancels an adopted job, and starts the next", async () => {
    await team.cancel("gang");
    await stateOf("waits", "Running");
    expect((await team.row("gang"))?.status).to.equal("cancelled");
  });
});
