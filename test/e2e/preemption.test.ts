import { expect } from "chai";
import { owner, priorityClass, project } from "../support/installation.ts";
import { core } from "../support/core-resource.ts";
import { failingWebhook, putInForce, refusedUrl, webhooks } from "../support/failing-webhook.ts";
import { podType, uidsOf, useTeam } from "../support/team.ts";

describe("preemption", function () {
  const team = useTeam({
    objects: [priorityClass("polite", 1000, "Never"), project("no-room", { owner })],
  });
  const { submit, run, stateOf } = team;

  it("evicts on one node, and touches no other", async () => {
    const pool = "scattered";
    await team.pool(pool, { count: 3 });
    // 5 fit nowhere beside 5, so each node gets one; 9 GPUs stay free, 3 on each node.
    for (const name of ["a", "b", "c"]) await run(`scattered-${name}`, { pool, gpus: 5 });
    const before = await team.podsIn(pool);
    expect(new Set(before.map(({ nodeName }) => nodeName)).size).to.equal(3);

    const release = await run("scattered-high", { pool, gpus: 8, priorityClassName: "high" });

    const after = await team.podsIn(pool);
    const kept = new Set(before.filter(({ uid }) => after.some((pod) => pod.uid === uid)));
    const gone = before.filter((pod) => !kept.has(pod));
    expect(gone).to.have.lengthOf(1);
    expect(gone.map(({ nodeName }) => nodeName)).to.deep.equal(release.status.nodes);
    const preemptionLog = await team.database.pool.query(
      "SELECT victim FROM preemption_victims JOIN preemptions ON id = preemption_id WHERE pool = $1",
      [pool],
    );
    expect(preemptionLog.rows).to.deep.equal([{ victim: gone[0]?.jobKey }]);
    const victim = await stateOf(gone[0]?.jobKey.replace("team/", "") ?? "", "Evicted");
    expect(victim.status.message).to.match(/\. Evicted by team\/scattered-high \(LowerPriority\)$/);
    expect((await team.waits(victim.name)).status.queuePosition).to.equal(1);
  });

  it("waits for a deleted job's pods, and evicts nobody", async () => {
    const pool = "leaving";
    await team.pool(pool, { count: 2 });
    const stays = await run("leaving-stays", { pool, gpus: 8 });
    const annotations = { "rota.dev/simulate-termination-seconds": "3600" };
    await submit("leaving-goes", { pool, gpus: 8, annotations });
    const goes = await stateOf("leaving-goes", "Running");
    const before = await team.podsIn(pool);
    await team.cancel("leaving-goes");
    await team.view.until("the database to know that it leaves", async () => {
      const { rows } = await team.database.pool.query(
        "SELECT FROM jobs WHERE name = 'leaving-goes' AND ending IS NOT NULL",
      );
      return rows.length === 1;
    });
    await submit("leaving-high", { pool, gpus: 8, priorityClassName: "high" });
    const waiting = await team.view.until("the job to say why it waits", async () => {
      const found = await team.job("leaving-high");
      return found.status.reason !== undefined && found;
    });
    expect(waiting.status.reason).to.equal("AwaitingRelease");
    expect(waiting.status.message).to.include(
      `waiting for pods on ${goes.status.nodes?.[0]} to terminate`,
    );
    expect(uidsOf(await team.podsIn(pool))).to.deep.equal(uidsOf(before));

    const podKey = "team/leaving-goes-1-0";
    await team.view.client.delete(podType, podKey, { gracePeriodSeconds: 0 });
    const high = await stateOf("leaving-high", "Running");
    expect(high.status.nodes).to.deep.equal(goes.status.nodes);
    expect((await stateOf("leaving-stays", "Running")).status.attempt).to.equal(1);
    expect(stays.status.nodes).to.not.deep.equal(goes.status.nodes);
  });

  it("evicts nobody for a class with preemptionPolicy Never", async () => {
    const pool = "polite";
    await team.pool(pool, { count: 2 });
    await run("polite-a", { pool, gpus: 6 });
    await run("polite-b", { pool, gpus: 6 });
    const before = uidsOf(await team.podsIn(pool));

    await submit("polite-high", { pool, gpus: 8, priorityClassName: "polite" });
    const waiting = await team.waits("polite-high");

    expect(waiting.status.state).to.equal("Pending");
    expect(waiting.status.message).to.match(
      /needs 8 GPUs on one node; the closest fit, polite-\d, has 2 free/,
    );
    expect(waiting.status.message).to.match(/Never/);
    expect(uidsOf(await team.podsIn(pool))).to.deep.equal(before);
  });

  it("evicts nobody where all lower priorities are not enough", async () => {
    const pool = "hopeless";
    await team.pool(pool, { count: 2 });
    await run("hopeless-high-a", { pool, gpus: 4, priorityClassName: "high" });
    await run("hopeless-high-b", { pool, gpus: 5, priorityClassName: "high" });
    await run("hopeless-low-a", { pool, gpus: 3 });
    await run("hopeless-low-b", { pool, gpus: 3 });
    const before = uidsOf(await team.podsIn(pool));

    await submit("hopeless-big", { pool, gpus: 8, priorityClassName: "high" });
    const waiting = await team.waits("hopeless-big");

    expect(waiting.status.message).to.match(/needs 8 GPUs on one node/);
    expect(uidsOf(await team.podsIn(pool))).to.deep.equal(before);
    const { rows } = await team.database.pool.query("SELECT FROM preemptions WHERE pool = $1", [
      pool,
    ]);
    expect(rows).to.have.lengthOf(0);
  });

  it("chooses other victims when a budget protects the cheapest", async () => {
    const pool = "budget";
    await team.pool(pool, { count: 2 });
    await submit("guarded", { pool, gpus: 8 });
    await stateOf("guarded", "Running");
    for (const name of ["x", "y"]) await run(`open-${name}`, { pool, gpus: 4 });
    await team.view.client.raw("POST", "/apis/policy/v1/namespaces/team/poddisruptionbudgets", {
      apiVersion: "policy/v1",
      kind: "PodDisruptionBudget",
      metadata: { name: "guard" },
      spec: { minAvailable: 1, selector: { matchLabels: { "rota.dev/job": "guarded" } } },
    });
    const guardedBefore = (await team.podsIn(pool)).filter(
      ({ jobKey }) => jobKey === "team/guarded",
    );
    await team.view.until("the budget to be known", async () => {
      const budget = (await team.view.client.raw(
        "GET",
        "/apis/policy/v1/namespaces/team/poddisruptionbudgets/guard",
      )) as { status?: { currentHealthy?: number } };
      return budget.status?.currentHealthy === 1;
    });

    await run("budget-high", { pool, gpus: 8, priorityClassName: "high" });

    const after = await team.podsIn(pool);
    expect(uidsOf(after)).to.include.members(uidsOf(guardedBefore));
    expect(after.map(({ jobKey }) => jobKey).toSorted()).to.deep.equal([
      "team/budget-high",
      "team/guarded",
    ]);

    await submit("budget-next", { pool, gpus: 8, priorityClassName: "high" });
    await team.view.until("the job to name the budget", async () => {
      const { status } = await team.job("budget-next");
      const isNamed = status.message?.endsWith("protected by PodDisruptionBudget team/guard");
      return status.reason === "BlockedByDisruptionBudget" && isNamed === true;
    });
  });

  it("evicts no part of a gang that a budget protects", async () => {
    const { view } = team;
    const pool = "gang-budget";
    await team.pool(pool, { count: 2 });
    const gang = { pool, gpus: 8, parallelism: 2 };
    await submit("gang-kept", gang);
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
    const before = uidsOf(await team.podsIn(pool));

    await submit("gang-high", { pool, gpus: 8, priorityClassName: "high" });
    const waiting = await team.reasonOf("gang-high", "BlockedByDisruptionBudget");

    expect(waiting.status.message).to.match(/protected by PodDisruptionBudget team\/keep-one$/);
    expect(uidsOf(await team.podsIn(pool))).to.deep.equal(before);
    await view.client.raw("DELETE", `${budgets}/keep-one`);
    await stateOf("gang-high", "Running");
    await stateOf("gang-kept", "Evicted");
  });

  it("ends for a job whose pods are refused three times", async () => {
    const { view, database } = team;
    const pool = "refused";
    await team.pool(pool);
    await team.ready("no-room");
    const high = "no-room/refused-high";
    const asked = { pool, gpus: 8, priorityClassName: "high" };
    await submit(high, { ...asked, spec: { suspend: true } });
    await stateOf(high, "Suspended");
    const pods = core("pods", "Pod");
    const down = failingWebhook({ name: "down", namespace: "no-room", of: pods, url: refusedUrl });
    await putInForce(view, down, "no-room", pods);
    await run("refused-low", { pool, gpus: 8 });
    await submit(high, { ...asked, spec: { suspend: false } });
    for (const attempt of [1, 2, 3]) {
      await team.until(high, `be refused in attempt ${attempt}`, ({ status }) => {
        const isRefused = status.reason === "PodsRejected" && status.state === "Pending";
        return isRefused && status.attempt === attempt;
      });
      await team.runs("refused-low", attempt + 1);
      // As if its pause were over; another job wakes the pool.
      await database.pool.query(
        "UPDATE jobs SET not_before = now() WHERE name = 'refused-high' AND not_before > now()",
      );
      await run(`wakes-${attempt}`, { pool, gpus: 0 });
    }
    const { status } = await team.until(high, "say that it evicts nobody", (found) =>
      /it preempts no other job after 3 failed starts/.test(found.status.message ?? ""),
    );
    expect(status).to.include({ state: "Pending", attempt: 3 });
    expect((await team.job("refused-low")).status).to.include({ state: "Running", attempt: 4 });
    await team.cancel(high);
    await view.client.delete(webhooks, "down");
  });
});
