/** What is deleted of ended jobs by settings, also where they ended, or became due, while no operator ran. */
import { expect } from "chai";
import type { Operator } from "../../dev/local/operator.ts";
import { labels } from "../../src/api/names.ts";
import { jobs, podsOf } from "../../src/resources/types.ts";
import { checkInvariants } from "../support/invariants.ts";
import {
  type Installation,
  job,
  type JobOptions,
  owner,
  plan,
  project,
  startInstallation,
  teamIsReady,
  teamJobIs,
} from "../support/installation.ts";

const podType = podsOf("nvidia.com/gpu");
const endsAtOnce = { "rota.dev/simulate-run-seconds": "0" };
const ofPods = { ROTA_FINISHED_POD_SECONDS: "1" };
const ofJobs = { ROTA_FINISHED_JOB_SECONDS: "1" };

describe("ended jobs expire", function () {
  let installation: Installation;
  let operator: Operator;

  before(async () => {
    installation = await startInstallation();
    await installation.view.apply(project("team", { owner }));
    await installation.view.apply(plan("all", { owner }));
    await installation.cluster.addNodes({ count: 1, gpus: 8 });
    operator = await installation.operate();
    await teamIsReady(installation);
  });

  after(async () => {
    await installation?.stop();
  });

  afterEach(() => checkInvariants(installation.view, installation.database.pool));

  const submit = (name: string, options: Partial<JobOptions> = {}): Promise<void> =>
    installation.view.apply(job("team", name, { pool: "default", gpus: 1, ...options }));
  const stateOf = (name: string, ...states: string[]) => teamJobIs(installation, name, ...states);
  const jobsThere = async (): Promise<string[]> =>
    (await installation.view.jobs()).map(({ name }) => name).toSorted();
  /**
   * Ended ones as well. The pods of a deleted Job are left to Kubernetes' garbage collector, which looks for new kinds
   * twice a minute only: on a young cluster they stay for so long.
   */
  const podsThere = async (): Promise<string[]> => {
    const pods = await installation.view.client.list(podType);
    const owners = new Set(await jobsThere());
    return pods
      .filter(({ metadata }) => owners.has(metadata.labels?.[labels.job] ?? ""))
      .map(({ metadata }) => metadata.name ?? "")
      .toSorted();
  };
  const podsBecome = (...names: string[]): Promise<unknown> =>
    installation.view.until(`the pods to be ${names.join(", ")}`, async () => {
      return (await podsThere()).join() === names.join();
    });
  const again = async (settings: Readonly<Record<string, string>>): Promise<void> => {
    await operator.stop();
    operator = await installation.operate(settings);
  };
  const endings = async (name: string): Promise<number> => {
    const { rows } = await installation.database.pool.query(
      "SELECT FROM job_events WHERE name = $1 AND to_status = 'succeeded'",
      [name],
    );
    return rows.length;
  };

  it("not without a setting; pods go by theirs, and the Job goes on to say what they did", async () => {
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
      const { status } = await installation.view.job(`team/${name}`);
      expect(status).to.deep.include({ state: "Succeeded", attempt: 1 });
      expect(status.pods?.succeeded, `pods of ${name}`).to.equal(succeeded);
    }
  });

  it("by the setting for Jobs, unless the Job says another time itself", async () => {
    await submit("keeps", { annotations: endsAtOnce, spec: { ttlSecondsAfterFinished: 3600 } });
    await submit("goes", { annotations: endsAtOnce });
    await Promise.all([stateOf("keeps", "Succeeded"), stateOf("goes", "Succeeded")]);
    await again({ ...ofPods, ...ofJobs });
    await installation.view.until("the Jobs to go", async () => {
      return (await jobsThere()).join() === "keeps,stays";
    });
    expect(await endings("goes")).to.equal(1);
  });

  it("where they ended while no operator ran: counted first, then deleted", async () => {
    await operator.stop();
    for (const index of [0, 1]) {
      await installation.view.client.patch(podType, `team/stays-1-${index}`, {
        metadata: { annotations: endsAtOnce },
      });
    }
    await installation.view.until("the pods to end", async () => {
      return (await installation.view.pods()).length === 0;
    });
    operator = await installation.operate(ofPods);
    await stateOf("stays", "Succeeded");
    await podsBecome();
    expect((await installation.view.job("team/stays")).status.pods?.succeeded).to.equal(2);
    expect(await endings("stays")).to.equal(1);
    await again(ofJobs);
    await installation.view.until("the Job to go", async () => {
      return (await jobsThere()).join() === "keeps";
    });
    expect(await endings("stays"), "of history, all stays").to.equal(1);
    await installation.view.client.delete(jobs, "team/keeps");
  });
});
