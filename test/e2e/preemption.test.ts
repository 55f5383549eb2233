import { expect } from "chai";
import { jobs, podsOf } from "../../src/resources/types.ts";
import type { Job, Pod } from "../../src/resources/types.ts";
import {
  applyTeam,
  type Installation,
  job,
  plan,
  priorityClass,
  startInstallation,
  owner,
  teamIsReady,
  teamJobIs,
} from "../support/installation.ts";

const podType = podsOf("nvidia.com/gpu");

describe("preemption on a real control plane", function () {
  let installation: Installation;

  before(async () => {
    installation = await startInstallation();
    await applyTeam(installation);
    await installation.view.apply(priorityClass("polite", 1000, "Never"));
    await installation.operate();
    await teamIsReady(installation);
  });

  after(async () => {
    await installation?.stop();
  });

  /** A pool of its own for each test, with its nodes and a plan that grants all of it. */
  async function makePool(pool: string, nodes: number): Promise<void> {
    await installation.view.apply(plan(`all-of-${pool}`, { owner, pool }));
    await installation.cluster.addNodes({ count: nodes, gpus: 8, pool, namePrefix: `${pool}-` });
  }

  const stateOf = (name: string, ...states: string[]) => teamJobIs(installation, name, ...states);

  async function run(
    name: string,
    pool: string,
    gpus: number,
    priorityClassName: string,
  ): Promise<Job> {
    await installation.view.apply(job("team", name, { pool, gpus, priorityClassName }));
    return stateOf(name, "Running");
  }

  const podsOfPool = async (pool: string): Promise<Pod[]> =>
    (await installation.view.pods()).filter(({ nodeName }) => nodeName.startsWith(`${pool}-`));

  const uids = (pods: readonly Pod[]): string[] => pods.map(({ uid }) => uid).toSorted();

  it("makes room on one node and touches nobody elsewhere, though the free GPUs would be enough together", async () => {
    const pool = "scattered";
    await makePool(pool, 3);
    // 5 fit nowhere beside 5, so each node gets one; 9 GPUs stay free, 3 on each node.
    for (const name of ["a", "b", "c"]) await run(`scattered-${name}`, pool, 5, "low");
    const before = await podsOfPool(pool);
    expect(new Set(before.map(({ nodeName }) => nodeName)).size).to.equal(3);

    const release = await run("scattered-high", pool, 8, "high");

    const after = await podsOfPool(pool);
    const kept = new Set(before.filter(({ uid }) => after.some((pod) => pod.uid === uid)));
    const gone = before.filter((pod) => !kept.has(pod));
    expect(gone).to.have.lengthOf(1);
    expect(gone.map(({ nodeName }) => nodeName)).to.deep.equal(release.status.nodes);
    const preemptionLog = await installation.database.pool.query(
      "SELECT victim FROM preemption_victims JOIN preemptions ON id = preemption_id WHERE pool = $1",
      [pool],
    );
    expect(preemptionLog.rows).to.deep.equal([{ victim: gone[0]?.jobKey }]);
    const victim = await stateOf(gone[0]?.jobKey.replace("team/", "") ?? "", "Evicted");
    expect(victim.status.message).to.match(/^evicted: team\/scattered-high/);
    expect(victim.status.queuePosition).to.equal(1);
  });

  it("waits for the pods of a job that was deleted, and evicts nobody in their stead", async () => {
    const pool = "leaving";
    await makePool(pool, 2);
    const stays = await run("leaving-stays", pool, 8, "low");
    const annotations = { "rota.dev/simulate-termination-seconds": "3600" };
    await installation.view.apply(
      job("team", "leaving-goes", { pool, gpus: 8, priorityClassName: "low", annotations }),
    );
    const goes = await stateOf("leaving-goes", "Running");
    const before = await podsOfPool(pool);
    await installation.view.client.delete(jobs, "team/leaving-goes");
    await installation.view.until("the database to know that it leaves", async () => {
      const { rows } = await installation.database.pool.query(
        "SELECT FROM jobs WHERE name = 'leaving-goes' AND ending IS NOT NULL",
      );
      return rows.length === 1;
    });
    await installation.view.apply(
      job("team", "leaving-high", { pool, gpus: 8, priorityClassName: "high" }),
    );
    const waiting = await installation.view.until("the job to say why it waits", async () => {
      const found = await installation.view.job("team/leaving-high");
      return found.status.reason !== undefined && found;
    });
    expect(waiting.status.reason).to.equal("AwaitingRelease");
    expect(waiting.status.message).to.include(
      `waiting for pods on ${goes.status.nodes?.[0]} to terminate`,
    );
    expect(uids(await podsOfPool(pool))).to.deep.equal(uids(before));

    const podKey = "team/leaving-goes-1-0";
    await installation.view.client.delete(podType, podKey, { gracePeriodSeconds: 0 });
    const high = await stateOf("leaving-high", "Running");
    expect(high.status.nodes).to.deep.equal(goes.status.nodes);
    expect((await stateOf("leaving-stays", "Running")).status.attempt).to.equal(1);
    expect(stays.status.nodes).to.not.deep.equal(goes.status.nodes);
  });

  it("evicts nobody for a class with preemptionPolicy Never, and the job says why it waits", async () => {
    const pool = "polite";
    await makePool(pool, 2);
    await run("polite-a", pool, 6, "low");
    await run("polite-b", pool, 6, "low");
    const before = uids(await podsOfPool(pool));

    await installation.view.apply(
      job("team", "polite-high", { pool, gpus: 8, priorityClassName: "polite" }),
    );
    const waiting = await installation.view.until("the job to say why it waits", async () => {
      const found = await installation.view.job("team/polite-high");
      return found.status.queuePosition !== undefined && found;
    });

    expect(waiting.status.state).to.equal("Pending");
    expect(waiting.status.message).to.match(
      /needs 8 GPUs on one node; the closest fit, polite-\d, has 2 free/,
    );
    expect(waiting.status.message).to.match(/Never/);
    expect(uids(await podsOfPool(pool))).to.deep.equal(before);
  });

  it("evicts nobody when the job would not fit even with all lower priorities gone", async () => {
    const pool = "hopeless";
    await makePool(pool, 2);
    await run("hopeless-high-a", pool, 4, "high");
    await run("hopeless-high-b", pool, 5, "high");
    await run("hopeless-low-a", pool, 3, "low");
    await run("hopeless-low-b", pool, 3, "low");
    const before = uids(await podsOfPool(pool));

    await installation.view.apply(
      job("team", "hopeless-big", { pool, gpus: 8, priorityClassName: "high" }),
    );
    const waiting = await installation.view.until("the job to say why it waits", async () => {
      const found = await installation.view.job("team/hopeless-big");
      return found.status.queuePosition !== undefined && found;
    });

    expect(waiting.status.message).to.match(/needs 8 GPUs on one node/);
    expect(uids(await podsOfPool(pool))).to.deep.equal(before);
    const { rows } = await installation.database.pool.query(
      "SELECT FROM preemptions WHERE pool = $1",
      [pool],
    );
    expect(rows).to.have.lengthOf(0);
  });

  it("chooses other victims when a PodDisruptionBudget protects the cheapest ones", async () => {
    const pool = "budget";
    await makePool(pool, 2);
    await installation.view.apply(
      job("team", "guarded", { pool, gpus: 8, priorityClassName: "low" }),
    );
    await stateOf("guarded", "Running");
    for (const name of ["x", "y"]) await run(`open-${name}`, pool, 4, "low");
    await installation.view.client.raw(
      "POST",
      "/apis/policy/v1/namespaces/team/poddisruptionbudgets",
      {
        apiVersion: "policy/v1",
        kind: "PodDisruptionBudget",
        metadata: { name: "guard" },
        spec: { minAvailable: 1, selector: { matchLabels: { "rota.dev/job": "guarded" } } },
      },
    );
    const guardedBefore = (await podsOfPool(pool)).filter(
      ({ jobKey }) => jobKey === "team/guarded",
    );
    await installation.view.until("the budget to be known", async () => {
      const budget = (await installation.view.client.raw(
        "GET",
        "/apis/policy/v1/namespaces/team/poddisruptionbudgets/guard",
      )) as { status?: { currentHealthy?: number } };
      return budget.status?.currentHealthy === 1;
    });

    await run("budget-high", pool, 8, "high");

    const after = await podsOfPool(pool);
    expect(uids(after)).to.include.members(uids(guardedBefore));
    expect(after.map(({ jobKey }) => jobKey).toSorted()).to.deep.equal([
      "team/budget-high",
      "team/guarded",
    ]);

    await installation.view.apply(
      job("team", "budget-next", { pool, gpus: 8, priorityClassName: "high" }),
    );
    await installation.view.until("the job to name the budget", async () => {
      const { status } = await installation.view.job("team/budget-next");
      const isNamed = status.message?.endsWith("protected by PodDisruptionBudget team/guard");
      return status.reason === "BlockedByDisruptionBudget" && isNamed === true;
    });
  });

  it("evicts no part of a gang that a PodDisruptionBudget does not let go whole, and names the budget", async () => {
    const { view } = installation;
    const pool = "gang-budget";
    await makePool(pool, 2);
    const gang = { pool, gpus: 8, parallelism: 2, priorityClassName: "low" };
    await view.apply(job("team", "gang-kept", gang));
    await stateOf("gang-kept", "Running");
    const budgets = "/apis/policy/v1/namespaces/team/poddisruptionbudgets";
    await view.client.raw("POST", budgets, {
      apiVersion: "policy/v1",
      kind: "PodDisruptionBudget",
      metadata: { name: "keep-one" },
      spec: { minAvailable: 1, selector: { matchLabels: { "rota.dev/job": "gang-kept" } } },
    });
    await view.until("the budget to let one of two go", async () => {
      const budget = (await view.client.raw("GET", `${budgets}/keep-one`)) as {
        status?: { disruptionsAllowed?: number };
      };
      return budget.status?.disruptionsAllowed === 1;
    });
    const before = uids(await podsOfPool(pool));

    await view.apply(job("team", "gang-high", { pool, gpus: 8, priorityClassName: "high" }));
    const waiting = await view.until("the job to say why it waits", async () => {
      const found = await view.job("team/gang-high");
      return found.status.reason === "BlockedByDisruptionBudget" && found;
    });

    expect(waiting.status.message).to.match(/protected by PodDisruptionBudget team\/keep-one$/);
    expect(uids(await podsOfPool(pool))).to.deep.equal(before);
    await view.client.raw("DELETE", `${budgets}/keep-one`);
    await stateOf("gang-high", "Running");
    await stateOf("gang-kept", "Evicted");
  });
});
