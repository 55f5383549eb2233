import { expect } from "chai";
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

describe("an operator that is killed", function () {
  let installation: Installation;

  beforeEach(async () => {
    installation = await startInstallation();
    const { view, cluster } = installation;
    await cluster.addNodes({ count: 1, gpus: 8, namePrefix: "only-" });
    for (const object of [
      priorityClass("low", 10),
      priorityClass("high", 1000),
      project("team", { owner }),
      plan("all", { owner }),
    ]) {
      await view.apply(object);
    }
  });

  afterEach(async () => {
    await installation?.stop();
  });

  const stateOf = (name: string, state: string) => teamJobIs(installation, name, state);

  for (const crashPoint of ["preemption-committed", "before-eviction", "pods-created"]) {
    it(`at "${crashPoint}" loses nothing: whoever starts next finishes, and nobody is evicted twice`, async () => {
      const { view, database } = installation;
      const first = await installation.operate(
        crashPoint === "pods-created" ? {} : { ROTA_CRASH_POINT: crashPoint },
      );
      await teamIsReady(installation);
      for (const name of ["low-a", "low-b"]) {
        await view.apply(job("team", name, { pool: "default", gpus: 4, priorityClassName: "low" }));
        await stateOf(name, "Running");
      }
      const victims = await view.pods();
      let crashing = first;
      if (crashPoint === "pods-created") {
        await first.stop();
        crashing = await installation.operate({ ROTA_CRASH_POINT: crashPoint });
      }
      await view.apply(
        job("team", "urgent", { pool: "default", gpus: 8, priorityClassName: "high" }),
      );
      expect(await crashing.ended).to.equal("SIGKILL");

      await installation.operate();
      await stateOf("urgent", "Running");
      for (const name of ["low-a", "low-b"]) {
        const evicted = await stateOf(name, "Evicted");
        expect(evicted.status.attempt).to.equal(1);
      }
      const pods = await view.pods();
      expect(pods.map(({ jobKey }) => jobKey)).to.deep.equal(["team/urgent"]);
      expect(pods.some(({ uid }) => victims.some((victim) => victim.uid === uid))).to.equal(false);
      const ledger = await database.pool.query(
        "SELECT victim, victim_attempt, outcome FROM preemption_victims ORDER BY victim",
      );
      expect(ledger.rows).to.deep.equal([
        { victim: "team/low-a", victim_attempt: 1, outcome: "Evicted" },
        { victim: "team/low-b", victim_attempt: 1, outcome: "Evicted" },
      ]);
      const nodes = await database.pool.query("SELECT gpus_committed FROM nodes");
      expect(nodes.rows).to.deep.equal([{ gpus_committed: 8 }]);
    });
  }
});
