/** What is deleted of ended jobs by settings, also where they ended, or became due, while no operator ran. */
import { expect } from "chai";
import { labels } from "../../src/api/names.ts";
import { owner, plan } from "../support/installation.ts";
import { podType, useTeam } from "../support/team.ts";

const endsAtOnce = { "rota.dev/simulate-run-seconds": "0" };
const ofPods = { ROTA_FINISHED_POD_SECONDS: "1" };
const ofJobs = { ROTA_FINISHED_JOB_SECONDS: "1" };

describe("expired jobs", function () {
  const team = useTeam({ objects: [plan("all", { owner })] });
  const { submit, stateOf, operate } = team;

  before(() => team.cluster.addNodes({ count: 1, gpus: 8 }));
  afterEach(team.checkInvariants);

  const jobsThere = async (): Promise<string[]> =>
    (await team.view.jobs()).map(({ name }) => name).toSorted();
  /**
   * Ended ones as well. The pods of a deleted Job are left to Kubernetes' garbage collector, which looks for new kinds
   * twice a minute only: on a young cluster they stay for so long.
   */
  const podsThere = async (): Promise<string[]> => {
    const pods = await team.view.client.list(podType);
    const owners = new Set(await jobsThere());
    return pods
      .filter(({ metadata }) => owners.has(metadata.labels?.[labels.job] ?? ""))
      .map(({ metadata }) => metadata.name ?? "")
      .toSorted();
  };
  const podsBecome = (...names: string[]): Promise<unknown> =>
    team.view.until(`the pods to be ${names.join(", ")}`, async () => {
      return (await podsThere()).join() === names.join();
    });
  const again = async (settings: Readonly<Record<string, string>>): Promise<void> => {
    await team.operator.stop();
    await operate(settings);
  };
  const endings = async (name: string): Promise<number> => {
    const { rows } = await team.database.pool.query(
      "SELECT FROM job_events WHERE name = $1 AND to_status = 'succeeded'",
      [name],
    );
    return rows.length;
  };

  it("keep their Jobs when only their pods expire", async () => {
    await submit("former", { annotations: endsAtOnce });
    await submit("stays", { parallelism: 2 });
    await Promise.all([stateOf("former", "Succeeded"), stateOf("stays", "Running")]);
    expect(await podsThere()).to.deep.equal(["former-1-0", "stays-1-0", "stays-1-1"]);
    await again(ofPods);
    await podsBecome("stays-1-0", "stays-1-1");
    await submit("latter", { parallelism: 2, annotations: endsAtOnce });
    await stateOf("latter", "Succeeded");
    await podsBecome("stays-1-0", "stays-1-1");
    for (const [name, succeeded] of [
      ["former", 1],
      ["latter", 2],
    ] as const) {
      const { status } = await team.job(name);
      expect(status).to.deep.include({ state: "Succeeded", attempt: 1 });
      expect(status.pods?.succeeded, `pods of ${name}`).to.equal(succeeded);
    }
  });

  it("go by the setting, unless the Job has its own", async () => {
    await submit("keeps", { annotations: endsAtOnce, spec: { ttlSecondsAfterFinished: 3600 } });
    await submit("goes", { annotations: endsAtOnce });
    await Promise.all([stateOf("keeps", "Succeeded"), stateOf("goes", "Succeeded")]);
    await again({ ...ofPods, ...ofJobs });
    await team.view.until("the Jobs to go", async () => {
      return (await jobsThere()).join() === "keeps,stays";
    });
    expect(await endings("goes")).to.equal(1);
  });

  it("are counted first when they ended without an operator", async () => {
    await team.operator.stop();
    for (const index of [0, 1]) {
      await team.annotate(`stays-1-${index}`, endsAtOnce);
    }
    await team.view.until("the pods to end", async () => {
      return (await team.view.pods()).length === 0;
    });
    await operate(ofPods);
    await stateOf("stays", "Succeeded");
    await podsBecome();
    expect((await team.job("stays")).status.pods?.succeeded).to.equal(2);
    expect(await endings("stays")).to.equal(1);
    await again(ofJobs);
    await team.view.until("the Job to go", async () => {
      return (await jobsThere()).join() === "keeps";
    });
    expect(await endings("stays"), "of history, all stays").to.equal(1);
    await team.cancel("keeps");
  });
});
