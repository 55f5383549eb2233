/** What can happen to a job between its start and its end. */
import { expect } from "chai";
import { fieldsOf } from "../../src/resources/meta.ts";
import type { Job } from "../../src/resources/types.ts";
import { jobs as jobType, nodesOf } from "../../src/resources/types.ts";
import { job } from "../support/installation.ts";
import { podType, useTeam } from "../support/team.ts";

const nodeType = nodesOf("nvidia.com/gpu");

describe("a job", function () {
  const settings = {
    ROTA_START_DEADLINE_SECONDS: "3",
    ROTA_AVOID_NODE_SECONDS: "600",
    ROTA_STUCK_POD_SECONDS: "1",
  };

  const team = useTeam({ operator: settings });
  const { submit, stateOf, until, runs, row, annotate } = team;

  afterEach(team.checkInvariants);

  it("is placed on another node when its pod starts late", async () => {
    await team.pool("slow", { count: 2 });
    await submit("slow", {
      pool: "slow",
      annotations: { "rota.dev/simulate-start-seconds": "3600" },
    });
    const first = await team.reasonOf("slow", "PodsPending");
    expect(first.status).to.include({ state: "Starting", attempt: 1 });
    expect(first.status.message).to.match(
      /^0 of 1 pods running, pending: slow-1-0 on slow-\d \(not started by the kubelet yet\); the gang is placed again at \S+ unless all are running$/,
    );
    const second = await until("slow", "be placed anew", ({ status }) => status.attempt === 2);
    expect(second.status.nodes).to.not.deep.equal(first.status.nodes);
    const waiting = await until("slow", "avoid both nodes", ({ status }) =>
      /avoided for now after a failed start/.test(status.message ?? ""),
    );
    expect(waiting.status).to.include({ state: "Pending", reason: "AwaitingNodes", attempt: 2 });
    expect(await row("slow")).to.deep.equal({ status: "pending", attempt: 2, failures: 0 });
  });

  it("does not count deleted pods and lost nodes as failures", async () => {
    await team.pool("lost", { count: 2 });
    await submit("unlucky", { pool: "lost", parallelism: 2, gpus: 2 });
    await stateOf("unlucky", "Running");
    const [pod] = await team.pods("unlucky");
    await team.view.client.delete(podType, `team/${pod?.name ?? ""}`);
    const again = await runs("unlucky", 2);
    await team.view.client.delete(nodeType, again.status.nodes?.[0] ?? "");
    const elsewhere = await runs("unlucky", 3);
    expect(elsewhere.status.nodes).to.not.include(again.status.nodes?.[0]);
    expect(await row("unlucky")).to.deep.equal({ status: "running", attempt: 3, failures: 0 });
    const { rows } = await team.database.pool.query(
      `SELECT DISTINCT reason FROM job_events WHERE name = 'unlucky' AND to_status = 'pending' AND from_status IS NOT NULL
       ORDER BY reason`,
    );
    expect(rows).to.deep.equal([{ reason: "NodeLost" }, { reason: "PodsLost" }]);
  });

  it("leaves a node that is not ready, without a failure", async () => {
    const { view } = team;
    await team.pool("sick", { count: 2 });
    const patient = { key: "node.kubernetes.io/not-ready", effect: "NoExecute" };
    const sickJob = job("team", "sick", { pool: "sick", gpus: 8 });
    const spec = fieldsOf(sickJob["spec"]);
    const template = fieldsOf(fieldsOf(spec["template"])["spec"]);
    const tolerations = [{ ...patient, operator: "Exists", tolerationSeconds: 3 }];
    await submit("sick", {
      pool: "sick",
      gpus: 8,
      spec: { template: { spec: { ...template, tolerations } } },
    });
    const first = await stateOf("sick", "Running");
    const node = first.status.nodes?.[0] ?? "";
    const makeReady = (value: string) =>
      view.client.patch(nodeType, node, {
        metadata: { annotations: { "rota.dev/simulate-ready": value } },
      });
    await makeReady("False");
    await view.until("the node to be left out", async () => {
      const { rows } = await team.database.pool.query(
        "SELECT schedulable FROM nodes WHERE name = $1",
        [node],
      );
      return rows[0]?.schedulable === false;
    });
    expect((await team.job("sick")).status).to.include({ state: "Running", attempt: 1 });
    // The other node is full: there is no room but on the one that is not ready.
    const again = await runs("sick", 2);
    expect(again.status.nodes).to.not.include(node);
    await submit("next", { pool: "sick" });
    const waiting = await team.waits("next");
    expect(waiting.status.message).to.match(/the closest fit, sick-\d, has 0 free/);
    expect(waiting.status.message).to.include(again.status.nodes?.[0]);
    expect(await row("sick")).to.deep.equal({ status: "running", attempt: 2, failures: 0 });
    const { rows } = await team.database.pool.query<{ reason: string }>(
      "SELECT reason FROM job_events WHERE name = 'sick' AND to_status = 'pending' AND from_status IS NOT NULL",
    );
    // The second when the pod is gone before it was seen on its way out.
    expect(rows).to.have.lengthOf(1);
    expect(rows[0]?.reason).to.be.oneOf(["PodDisrupted", "PodsLost"]);
    await makeReady("True");
    expect((await stateOf("next", "Running")).status.nodes).to.deep.equal([node]);
  });

  it("reports a pod stuck terminating, and counts it once", async () => {
    await team.pool("stuck", { gpus: 4 });
    await submit("stuck", {
      pool: "stuck",
      gpus: 3,
      annotations: { "rota.dev/simulate-termination-seconds": "3600" },
    });
    await stateOf("stuck", "Running");
    const [pod] = await team.pods("stuck");
    await team.view.client.delete(podType, `team/${pod?.name ?? ""}`, {
      gracePeriodSeconds: 1,
    });
    const told = await until("stuck", "be told", ({ status }) =>
      (status.conditions ?? []).some(({ type }) => type === "PodsStuck"),
    );
    const condition = told.status.conditions?.find(({ type }) => type === "PodsStuck");
    expect(condition?.message).to.match(/^pod stuck-1-0 on node stuck-\d/);
    const { rows } = await team.database.pool.query(
      "SELECT gpus_committed FROM nodes WHERE pool = 'stuck'",
    );
    expect(rows, "its space is in use, once").to.deep.equal([{ gpus_committed: 3 }]);
    expect((await row("stuck"))?.attempt).to.equal(1);

    await team.view.client.delete(podType, `team/${pod?.name ?? ""}`, {
      gracePeriodSeconds: 0,
    });
    const again = await runs("stuck", 2);
    expect(again.status.conditions?.map(({ type }) => type)).to.deep.equal(["Ready", "Admitted"]);
  });

  it("gives back the nodes that its pods have left, while one stays", async () => {
    await team.pool("partly", { count: 2 });
    await submit("partly", { pool: "partly", gpus: 8, parallelism: 2 });
    const { status } = await stateOf("partly", "Running");
    await annotate("partly-1-1", { "rota.dev/simulate-termination-seconds": "3600" });
    await team.suspend("partly", true);
    await team.run("partly-next", { pool: "partly", gpus: 8 });
    const left = await until(
      "partly",
      "hold one node",
      (found) => found.status.nodes?.length === 1,
    );
    expect(status.nodes).to.include(left.status.nodes?.[0]);
    expect((await team.job("partly-next")).status.nodes).to.not.deep.equal(left.status.nodes);
    await team.letGo("partly");
    await stateOf("partly", "Suspended");
  });

  it("stops on suspend, and resumes with its queue position", async () => {
    await team.pool("pause");
    await submit("pause", { pool: "pause" });
    const before = await stateOf("pause", "Running");
    await team.suspend("pause", true);
    await stateOf("pause", "Suspended");
    expect(await team.pods("pause")).to.deep.equal([]);
    await team.suspend("pause", false);
    const after = await stateOf("pause", "Running");
    expect(after.status).to.include({ attempt: 2, queuedAt: before.status.queuedAt });
    expect((await row("pause"))?.failures).to.equal(0);
  });

  it("releases its reservation on suspend", async () => {
    await team.pool("regret");
    await submit("regret-victim", {
      pool: "regret",
      gpus: 8,
      annotations: { "rota.dev/simulate-termination-seconds": "3600" },
    });
    await stateOf("regret-victim", "Running");
    await submit("regret", { pool: "regret", gpus: 8, priorityClassName: "high" });
    await stateOf("regret", "Reserved");
    // One that was not asked to leave yet would run on.
    await team.view.until("the victim to be terminating", async () =>
      (await team.pods("regret-victim")).some(({ deleting }) => deleting),
    );
    await team.suspend("regret", true);
    await stateOf("regret", "Suspended");
    const { rows } = await team.database.pool.query("SELECT FROM reservations");
    expect(rows).to.deep.equal([]);
    await team.letGo("regret-victim");
    const back = await until("regret-victim", "run again", ({ status }) => status.attempt === 2);
    expect(back.status.attempt).to.equal(2);
  });

  it("restarts the whole gang up to backoffLimit", async () => {
    await team.pool("fails");
    await submit("fails", {
      pool: "fails",
      parallelism: 2,
      spec: { backoffLimit: 1 },
      annotations: { "rota.dev/simulate-run-seconds": "0", "rota.dev/simulate-exit-code": "3" },
    });
    const backingOff = await until("fails", "back off", ({ status }) =>
      /the next attempt starts at/.test(status.message ?? ""),
    );
    expect(backingOff.status.message).to.match(/exited with code 3/);
    const ended = await stateOf("fails", "Failed");
    expect(ended.status).to.include({ attempt: 2, reason: "PodFailed" });
    expect(await row("fails")).to.deep.equal({ status: "failed", attempt: 2, failures: 2 });
  });

  it("fails when it exceeds maxRuntime", async () => {
    await team.pool("long");
    await submit("long", { pool: "long", spec: { maxRuntime: "1s" } });
    const ended = await stateOf("long", "Failed");
    expect(ended.status.reason).to.equal("MaxRuntimeExceeded");
  });

  it("counts a succeeded pod once, though it is deleted", async () => {
    await team.pool("parts");
    await submit("parts", { pool: "parts", parallelism: 3 });
    await stateOf("parts", "Running");
    await annotate("parts-1-0", { "rota.dev/simulate-run-seconds": "0" });
    await until("parts", "count the first pod", ({ status }) => status.pods?.succeeded === 1);
    await team.view.client.delete(podType, "team/parts-1-0");
    for (const name of ["parts-1-1", "parts-1-2"])
      await annotate(name, { "rota.dev/simulate-run-seconds": "0" });
    const ended = await stateOf("parts", "Succeeded");
    expect(ended.status).to.deep.include({ attempt: 1 });
    expect(ended.status.pods?.succeeded).to.equal(3);
  });

  it("is deleted after ttlSecondsAfterFinished, except its history", async () => {
    await team.pool("ttl");
    await submit("ttl", {
      pool: "ttl",
      spec: { ttlSecondsAfterFinished: 1 },
      annotations: { "rota.dev/simulate-run-seconds": "0" },
    });
    await team.view.until("the Job to be gone", async () => {
      const all = await team.view.jobs();
      return !all.some(({ name }) => name === "ttl") && (await row("ttl"))?.status === "succeeded";
    });
    const { rows } = await team.database.pool.query(
      "SELECT to_status::text FROM job_events WHERE name = 'ttl' ORDER BY id",
    );
    const statuses = rows.map(({ to_status: status }) => status);
    expect(statuses.slice(0, 2)).to.deep.equal(["pending", "starting"]);
    expect(statuses.at(-1)).to.equal("succeeded");
  });

  it("reports its deletion while a finalizer keeps it", async () => {
    await team.pool("deleted");
    await submit("leaves", {
      pool: "deleted",
      annotations: { "rota.dev/simulate-termination-seconds": "3600" },
    });
    await stateOf("leaves", "Running");
    const { client } = team.view;
    const keepFor = (finalizers: readonly string[]) =>
      client.patch(jobType, "team/leaves", { metadata: { finalizers } });
    await keepFor(["example.com/backup"]);
    await client.delete(jobType, "team/leaves");
    const isCurrent = ({ deleting, generation, status }: Job): boolean =>
      deleting && status.observedGeneration === generation;
    const leaving = await until("leaves", "say that its pods are being stopped", (found) => {
      return isCurrent(found) && found.status.state === "Running";
    });
    expect(leaving.status.reason).to.equal("Deleted");
    await team.letGo("leaves");
    const left = await until("leaves", "say that it was cancelled", (found) => {
      return isCurrent(found) && found.status.state === "Cancelled";
    });
    expect(left.status.reason).to.equal("Deleted");
    await keepFor([]);
    await team.view.until("the Job to be gone", async () => {
      return !(await team.view.jobs()).some(({ name }) => name === "leaves");
    });
  });

  it("is counted once when it ends without an operator", async () => {
    await team.pool("away");
    await submit("away", { pool: "away", parallelism: 2 });
    await submit("dies", { pool: "away" });
    await Promise.all([stateOf("away", "Running"), stateOf("dies", "Running")]);
    await team.stopOperators();
    for (const name of ["away-1-0", "away-1-1"])
      await annotate(name, { "rota.dev/simulate-run-seconds": "0" });
    await annotate("dies-1-0", {
      "rota.dev/simulate-run-seconds": "0",
      "rota.dev/simulate-exit-code": "9",
    });
    await team.view.until("the pods to end", async () => {
      const left = await team.view.pods();
      return !left.some(({ jobKey }) => jobKey === "team/away" || jobKey === "team/dies");
    });
    await team.operate(settings);
    await Promise.all([stateOf("away", "Succeeded"), stateOf("dies", "Failed")]);
    expect(await row("away")).to.deep.equal({ status: "succeeded", attempt: 1, failures: 0 });
    expect(await row("dies")).to.deep.equal({ status: "failed", attempt: 1, failures: 1 });
  });
});
