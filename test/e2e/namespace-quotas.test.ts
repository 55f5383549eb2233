/** ResourceQuotas of namespaces: jobs wait for them by name, evict nobody, and start as soon as there is room. */
import { expect } from "chai";
import type { Why } from "../../src/api/http/schemas.ts";
import type { Job } from "../../src/resources/types.ts";
import { ask, certificateOf, withCertificate } from "../support/api-client.ts";
import { core } from "../support/core-resource.ts";
import { owner, priorityClass, project } from "../support/installation.ts";
import { changeLimit, limit, removeLimit } from "../support/resource-quota.ts";
import { uidsOf, useTeam } from "../support/team.ts";

const gpus = "requests.nvidia.com/gpu";
const namespaces = ["never", "next", "pair", "wide", "scoped", "defaults", "held", "pools"];

describe("ResourceQuotas of namespaces", () => {
  const team = useTeam({
    objects: [priorityClass("urgent", 2000), ...namespaces.map((name) => project(name, { owner }))],
  });
  const { submit, run, stateOf } = team;

  before(async () => {
    for (const name of namespaces) await team.ready(name);
  });

  const heldBack = (key: string, message: string): Promise<Job> =>
    team.until(key, `wait for "${message}"`, ({ status }) => {
      return status.reason === "QuotaExceeded" && (status.message ?? "").startsWith(message);
    });

  /** Starts of the namespace's jobs that the API server refused. */
  const refusedStarts = async (namespace: string): Promise<number> => {
    const { rows } = await team.database.pool.query<{ count: number }>(
      `SELECT count(*)::int FROM job_events
       WHERE namespace = $1 AND (reason = 'PodsRejected' OR from_status = 'starting' AND to_status = 'pending')`,
      [namespace],
    );
    return rows[0]?.count ?? 0;
  };

  const why = async (namespace: string, name: string): Promise<Why> => {
    const admin = withCertificate(certificateOf(team.cluster.kubeconfig));
    const path = `/api/v1/namespaces/${namespace}/jobs/${name}/why`;
    return (await ask<Why>(team.operator.apiUrl, path, admin)).body;
  };

  it("that can never hold a gang are named; it evicts nobody, and lesser jobs start", async () => {
    const pool = "never";
    await team.pool(pool, { count: 2 });
    await limit(team.view, { namespace: "never", name: "gpus" }, { [gpus]: "5" });
    await run("never-full", { pool, gpus: 8 });
    await run("never-part", { pool, gpus: 4 });
    const before = uidsOf(await team.podsIn(pool));
    await submit("never/gang", { pool, gpus: 4, parallelism: 2, priorityClassName: "urgent" });
    const message = `ResourceQuota never/gpus: ${gpus} at most 5, the job needs 8`;
    const { status } = await heldBack("never/gang", message);
    expect(status).to.include({ state: "Pending", attempt: 0, queuePosition: 1, message });
    await run("never/small", { pool, gpus: 1 });
    await run("never-other", { pool, gpus: 2 });
    expect(uidsOf(await team.podsIn(pool))).to.include.members(before);
    const answer = await why("never", "gang");
    expect(answer.verdict).to.include({ kind: "wait", reason: "QuotaExceeded", message });
    expect(answer.candidates.total).to.equal(0);
    expect(await refusedStarts("never")).to.equal(0);
  });

  it("let a gang start as soon as another one has ended", async () => {
    const pool = "next";
    await team.pool(pool, { count: 2 });
    await limit(team.view, { namespace: "next", name: "gpus" }, { [gpus]: "8", pods: "50" });
    await run("next/first", { pool, gpus: 3, parallelism: 2 });
    await submit("next/second", { pool, gpus: 2, parallelism: 2 });
    await heldBack("next/second", `ResourceQuota next/gpus: ${gpus} 6 of 8 used, the job needs 4`);
    await team.cancel("next/first");
    const { status } = await stateOf("next/second", "Running");
    expect(status.attempt).to.equal(1);
    expect(await refusedStarts("next")).to.equal(0);
  });

  it("that two jobs exceed together start one, and refuse no pod", async () => {
    const pool = "pair";
    await team.pool(pool, { count: 3 });
    await limit(team.view, { namespace: "pair", name: "gpus" }, { [gpus]: "9" });
    const names = ["pair/a", "pair/b", "pair/c"];
    for (const name of names)
      await submit(name, { pool, gpus: 2, parallelism: 3, spec: { suspend: true } });
    for (const name of names) await stateOf(name, "Suspended");
    await Promise.all(names.map((name) => team.suspend(name, false)));
    const settled = await team.view.until(
      "one of them to run, and the others to wait",
      async () => {
        const found = await Promise.all(names.map((name) => team.job(name)));
        const told = found.map(({ status }) => status.reason);
        const isSettled =
          found.filter(({ status }) => status.state === "Running").length === 1 &&
          told.filter((reason) => reason === "QuotaExceeded").length === 2;
        return isSettled && found;
      },
    );
    for (const { status } of settled.filter(({ status: now }) => now.state === "Pending")) {
      expect(status.attempt).to.equal(0);
      expect(status.message).to.equal(
        `ResourceQuota pair/gpus: ${gpus} 6 of 9 used, the job needs 6`,
      );
    }
    const { rows } = await team.database.pool.query(
      "SELECT FROM jobs WHERE namespace = 'pair' AND (failed_starts > 0 OR not_before IS NOT NULL)",
    );
    expect(rows).to.have.lengthOf(0);
    await changeLimit(team.view, "pair/gpus", { [gpus]: "12" });
    await team.view.until("the raised quota to let another start", async () => {
      const found = await Promise.all(names.map((name) => team.job(name)));
      return found.filter(({ status }) => status.state === "Running").length === 2;
    });
    await removeLimit(team.view, "pair/gpus");
    for (const name of names) {
      const { status } = await stateOf(name, "Running");
      expect(status.attempt, name).to.equal(1);
    }
    expect(await refusedStarts("pair")).to.equal(0);
  });

  it("are filled by a crowd of jobs without a refusal", async () => {
    const pool = "wide";
    await team.pool(pool, { count: 2 });
    await limit(
      team.view,
      { namespace: "wide", name: "gpus" },
      { [gpus]: "7", "limits.memory": "7Gi" },
    );
    const names = Array.from({ length: 10 }, (_, index) => `wide/j${index}`);
    const limits = { "nvidia.com/gpu": 1, memory: "1Gi" };
    const container = { name: "main", image: "none.example/none:1", resources: { limits } };
    const template = { spec: { containers: [container] } };
    await Promise.all(names.map((name) => submit(name, { pool, spec: { template } })));
    await team.view.until("seven to run", async () => {
      const found = await Promise.all(names.map((name) => team.job(name)));
      return found.filter(({ status }) => status.state === "Running").length === 7;
    });
    const waiting = await team.view.until("three to wait for the quota", async () => {
      const found = await Promise.all(names.map((name) => team.job(name)));
      const told = found.filter(({ status }) => status.reason === "QuotaExceeded");
      return told.length === 3 && told;
    });
    for (const { status } of waiting) expect(status.message).to.include("7 GiB of 7 GiB used");
    expect(await refusedStarts("wide")).to.equal(0);
  });

  it("count the pods in their scopes", async () => {
    const pool = "scoped";
    await team.pool(pool);
    const scope = (scopeName: string) => ({
      scopeSelector: { matchExpressions: [{ scopeName, operator: "Exists" }] },
    });
    const classes = { operator: "In", scopeName: "PriorityClass", values: ["urgent"] };
    await limit(
      team.view,
      { namespace: "scoped", name: "dated" },
      { pods: "1" },
      scope("Terminating"),
    );
    await limit(
      team.view,
      { namespace: "scoped", name: "classed" },
      { pods: "0" },
      { scopeSelector: { matchExpressions: [classes] } },
    );
    await limit(team.view, { namespace: "scoped", name: "others" }, { services: "0" });
    const container = { name: "main", image: "none.example/none:1" };
    const dated = { template: { spec: { containers: [container], activeDeadlineSeconds: 3600 } } };
    // Rota's priority classes are not the pods'.
    await run("scoped/free", { pool, gpus: 1, priorityClassName: "urgent" });
    await submit("scoped/two", { pool, parallelism: 2, spec: dated });
    await heldBack("scoped/two", "ResourceQuota scoped/dated: pods at most 1, the job needs 2");
    await run("scoped/one", { pool, spec: dated });
    await run("scoped/more", { pool, gpus: 1 });
    expect(await refusedStarts("scoped")).to.equal(0);
  });

  it("count what a LimitRange adds to the pods", async () => {
    const pool = "defaults";
    await team.pool(pool);
    await team.view.client.create(core("limitranges", "LimitRange"), {
      apiVersion: "v1",
      kind: "LimitRange",
      metadata: { namespace: "defaults", name: "one-core" },
      spec: {
        limits: [{ type: "Container", default: { cpu: "2" }, defaultRequest: { cpu: "1" } }],
      },
    });
    const hard = { "requests.cpu": "4", "limits.cpu": "5" };
    await limit(team.view, { namespace: "defaults", name: "cores" }, hard);
    await submit("defaults/three", { pool, parallelism: 3 });
    await heldBack(
      "defaults/three",
      "ResourceQuota defaults/cores: limits.cpu at most 5, the job needs 6",
    );
    await run("defaults/two", { pool, parallelism: 2 });
    expect(await refusedStarts("defaults")).to.equal(0);
  });

  it("without room for one pod keep a job out of the queue until there is some", async () => {
    const pool = "held";
    await team.pool(pool);
    await limit(team.view, { namespace: "held", name: "gpus" }, { [gpus]: "4" });
    await run("held/first", { pool, gpus: 4 });
    await submit("held/low", { pool, gpus: 3 });
    await submit("held/large", { pool, gpus: 6, priorityClassName: "urgent" });
    const used = `ResourceQuota held/gpus: ${gpus} 4 of 4 used, the job needs 3`;
    const low = await heldBack("held/low", used);
    expect(low.status.state).to.equal("Pending");
    expect(low.status.conditions?.find(({ type }) => type === "Reconciling")).to.include({
      status: "True",
      reason: "QuotaExceeded",
    });
    await heldBack("held/large", `ResourceQuota held/gpus: ${gpus} at most 4, the job needs 6`);
    await team.cancel("held/first");
    await stateOf("held/low", "Running");
    await changeLimit(team.view, "held/gpus", { [gpus]: "9" });
    // It does not fit beside the other one, which it now evicts.
    await stateOf("held/large", "Running");
    expect(await refusedStarts("held")).to.equal(0);
  });

  it("are shared by jobs of several pools, of which none is evicted for nothing", async () => {
    const pools = ["left", "right"];
    await limit(team.view, { namespace: "pools", name: "gpus" }, { [gpus]: "8" });
    for (const pool of pools) {
      await team.pool(pool);
      await run(`${pool}-low`, { pool, gpus: 8 });
      const asked = { pool, gpus: 8, priorityClassName: "urgent", spec: { suspend: true } };
      await submit(`pools/${pool}`, asked);
      await stateOf(`pools/${pool}`, "Suspended");
    }
    await Promise.all(pools.map((pool) => team.suspend(`pools/${pool}`, false)));
    const [one] = await team.view.until("one to run, and one to wait", async () => {
      const found = await Promise.all(pools.map((pool) => team.job(`pools/${pool}`)));
      const isSettled = found.some(({ status }) => status.reason === "QuotaExceeded");
      const running = found.filter(({ status }) => status.state === "Running");
      return isSettled && running.length === 1 && running;
    });
    const { rows } = await team.database.pool.query<{ victim: string }>(
      "SELECT victim FROM preemption_victims WHERE victim LIKE 'team/%-low' AND victim ~ '^team/(left|right)-'",
    );
    expect(rows).to.deep.equal([{ victim: `team/${one?.name}-low` }]);
    expect(await refusedStarts("pools")).to.equal(0);
  });
});
