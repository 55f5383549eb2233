/** What can happen to a job between its start and its end. */
import { expect } from "chai";
import { fieldsOf } from "../../src/resources/meta.ts";
import type { Job } from "../../src/resources/types.ts";
import { jobs as jobType, nodesOf, podsOf } from "../../src/resources/types.ts";
import { checkInvariants } from "../support/invariants.ts";
import {
  type Installation,
  job,
  type JobOptions,
  owner,
  plan,
  priorityClass,
  project,
  startInstallation,
  teamIsReady,
  teamJobIs,
} from "../support/installation.ts";

const podType = podsOf("nvidia.com/gpu");
const nodeType = nodesOf("nvidia.com/gpu");

describe("the life of a job", function () {
  let installation: Installation;

  const settings = {
    ROTA_START_DEADLINE_SECONDS: "3",
    ROTA_AVOID_NODE_SECONDS: "600",
    ROTA_STUCK_POD_SECONDS: "1",
  };

  before(async () => {
    installation = await startInstallation();
    await installation.view.apply(project("team", { owner }));
    await installation.view.apply(priorityClass("high", 1000));
    await installation.operate(settings);
    await teamIsReady(installation);
  });

  after(async () => {
    await installation?.stop();
  });

  afterEach(() => checkInvariants(installation.view, installation.database.pool));

  const makePool = async (pool: string, nodes: number, gpus = 8): Promise<void> => {
    await installation.view.apply(plan(`all-of-${pool}`, { owner, pool }));
    await installation.cluster.addNodes({ count: nodes, gpus, pool, namePrefix: `${pool}-` });
  };
  const submit = (name: string, options: Partial<JobOptions> & { readonly pool: string }) =>
    installation.view.apply(job("team", name, { gpus: 1, ...options }));
  const stateOf = (name: string, ...states: string[]) => teamJobIs(installation, name, ...states);
  const until = (name: string, what: string, is: (found: Job) => boolean): Promise<Job> =>
    installation.view.until(`${name} to ${what}`, async () => {
      const found = await installation.view.job(`team/${name}`);
      return is(found) && found;
    });
  const podsOfJob = async (name: string) =>
    (await installation.view.pods()).filter(({ jobKey }) => jobKey === `team/${name}`);
  const row = async (name: string) => {
    const { rows } = await installation.database.pool.query<{
      status: string;
      attempt: number;
      failures: number;
    }>("SELECT status::text, attempt, failures FROM jobs WHERE name = $1", [name]);
    return rows[0];
  };
  const annotate = (name: string, annotations: Readonly<Record<string, string>>) =>
    installation.view.client.patch(podType, `team/${name}`, { metadata: { annotations } });

  it("a pod that does not start in time is released, its node avoided, and the job placed anew", async () => {
    await makePool("slow", 2);
    await submit("slow", {
      pool: "slow",
      annotations: { "rota.dev/simulate-start-seconds": "3600" },
    });
    const first = await until("slow", "say what it waits for", ({ status }) => {
      return status.reason === "PodsPending";
    });
    expect(first.status).to.include({ state: "Starting", attempt: 1 });
    expect(first.status.message).to.match(
      /^0 of 1 pods running, pending: slow-1-0 on slow-\d \(not started by the kubelet yet\); the gang is placed again at \S+ unless all are running$/,
    );
    const second = await until("slow", "be placed anew", ({ status }) => status.attempt === 2);
    expect(second.status.nodes).to.not.deep.equal(first.status.nodes);
    const waiting = await until("slow", "avoid both nodes", ({ status }) =>
      /2 avoided after a failed start/.test(status.message ?? ""),
    );
    expect(waiting.status).to.include({ state: "Pending", reason: "NoMatchingNode", attempt: 2 });
    expect(await row("slow")).to.deep.equal({ status: "pending", attempt: 2, failures: 0 });
  });

  it("pods deleted by hand, and a node that is lost, do not count as failures", async () => {
    await makePool("lost", 2);
    await submit("unlucky", { pool: "lost", parallelism: 2, gpus: 2 });
    await stateOf("unlucky", "Running");
    const [pod] = await podsOfJob("unlucky");
    await installation.view.client.delete(podType, `team/${pod?.name ?? ""}`);
    const again = await until(
      "unlucky",
      "run again",
      ({ status }) => status.attempt === 2 && status.state === "Running",
    );
    await installation.view.client.delete(nodeType, again.status.nodes?.[0] ?? "");
    const elsewhere = await until(
      "unlucky",
      "run on the other node",
      ({ status }) => status.attempt === 3 && status.state === "Running",
    );
    expect(elsewhere.status.nodes).to.not.include(again.status.nodes?.[0]);
    expect(await row("unlucky")).to.deep.equal({ status: "running", attempt: 3, failures: 0 });
    const { rows } = await installation.database.pool.query(
      `SELECT DISTINCT reason FROM job_events WHERE name = 'unlucky' AND to_status = 'pending' AND from_status IS NOT NULL
       ORDER BY reason`,
    );
    expect(rows).to.deep.equal([{ reason: "NodeLost" }, { reason: "PodsLost" }]);
  });

  it("a node that is not ready gets no new pods; what the cluster takes from it runs again, and has not failed", async () => {
    const { view } = installation;
    await makePool("sick", 2);
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
      const { rows } = await installation.database.pool.query(
        "SELECT schedulable FROM nodes WHERE name = $1",
        [node],
      );
      return rows[0]?.schedulable === false;
    });
    expect((await view.job("team/sick")).status).to.include({ state: "Running", attempt: 1 });
    // The other node is full: there is no room but on the one that is not ready.
    const again = await until(
      "sick",
      "run on the other node",
      ({ status }) => status.attempt === 2 && status.state === "Running",
    );
    expect(again.status.nodes).to.not.include(node);
    await submit("next", { pool: "sick" });
    const waiting = await until(
      "next",
      "say why it waits",
      ({ status }) => status.queuePosition !== undefined,
    );
    expect(waiting.status.message).to.match(/the closest fit, sick-\d, has 0 free/);
    expect(waiting.status.message).to.include(again.status.nodes?.[0]);
    expect(await row("sick")).to.deep.equal({ status: "running", attempt: 2, failures: 0 });
    const { rows } = await installation.database.pool.query<{ reason: string }>(
      "SELECT reason FROM job_events WHERE name = 'sick' AND to_status = 'pending' AND from_status IS NOT NULL",
    );
    // The second when the pod is gone before it was seen on its way out.
    expect(rows).to.have.lengthOf(1);
    expect(rows[0]?.reason).to.be.oneOf(["PodDisrupted", "PodsLost"]);
    await makeReady("True");
    expect((await stateOf("next", "Running")).status.nodes).to.deep.equal([node]);
  });

  it("a pod stuck terminating is told with its node, and counts once until it is gone", async () => {
    await makePool("stuck", 1, 4);
    await submit("stuck", {
      pool: "stuck",
      gpus: 3,
      annotations: { "rota.dev/simulate-termination-seconds": "3600" },
    });
    await stateOf("stuck", "Running");
    const [pod] = await podsOfJob("stuck");
    await installation.view.client.delete(podType, `team/${pod?.name ?? ""}`, {
      gracePeriodSeconds: 1,
    });
    const told = await until("stuck", "be told", ({ status }) =>
      (status.conditions ?? []).some(({ type }) => type === "PodsStuck"),
    );
    const condition = told.status.conditions?.find(({ type }) => type === "PodsStuck");
    expect(condition?.message).to.match(/^pod stuck-1-0 on node stuck-\d/);
    const { rows } = await installation.database.pool.query(
      "SELECT gpus_committed FROM nodes WHERE pool = 'stuck'",
    );
    expect(rows, "its space is in use, once").to.deep.equal([{ gpus_committed: 3 }]);
    expect((await row("stuck"))?.attempt).to.equal(1);

    await installation.view.client.delete(podType, `team/${pod?.name ?? ""}`, {
      gracePeriodSeconds: 0,
    });
    const again = await until(
      "stuck",
      "run again",
      ({ status }) => status.attempt === 2 && status.state === "Running",
    );
    expect(again.status.conditions?.map(({ type }) => type)).to.deep.equal(["Ready"]);
  });

  it("suspend stops a running job, and resume starts it with its old place", async () => {
    await makePool("pause", 1);
    await submit("pause", { pool: "pause" });
    const before = await stateOf("pause", "Running");
    const suspend = (value: boolean) =>
      installation.view.client.patch(
        { ...podType, group: "rota.dev", version: "v1alpha1", plural: "jobs", kind: "Job" },
        "team/pause",
        { spec: { suspend: value } },
      );
    await suspend(true);
    await stateOf("pause", "Suspended");
    expect(await podsOfJob("pause")).to.deep.equal([]);
    await suspend(false);
    const after = await stateOf("pause", "Running");
    expect(after.status).to.include({ attempt: 2, queuedAt: before.status.queuedAt });
    expect((await row("pause"))?.failures).to.equal(0);
  });

  it("suspend gives back what is kept for a job whose victims are leaving", async () => {
    await makePool("regret", 1);
    await submit("regret-victim", {
      pool: "regret",
      gpus: 8,
      annotations: { "rota.dev/simulate-termination-seconds": "3" },
    });
    await stateOf("regret-victim", "Running");
    await submit("regret", { pool: "regret", gpus: 8, priorityClassName: "high" });
    await stateOf("regret", "Reserved");
    // One that was not asked to leave yet would run on.
    await installation.view.until("the victim to be terminating", async () =>
      (await podsOfJob("regret-victim")).some(({ deleting }) => deleting),
    );
    await installation.view.client.patch(
      { group: "rota.dev", version: "v1alpha1", plural: "jobs", kind: "Job", namespaced: true },
      "team/regret",
      { spec: { suspend: true } },
    );
    await stateOf("regret", "Suspended");
    const { rows } = await installation.database.pool.query("SELECT FROM reservations");
    expect(rows).to.deep.equal([]);
    const back = await until("regret-victim", "run again", ({ status }) => status.attempt === 2);
    expect(back.status.attempt).to.equal(2);
  });

  it("a failure starts the whole gang again, as often as backoffLimit says", async () => {
    await makePool("fails", 1);
    await submit("fails", {
      pool: "fails",
      parallelism: 2,
      spec: { backoffLimit: 1 },
      annotations: { "rota.dev/simulate-run-seconds": "0", "rota.dev/simulate-exit-code": "3" },
    });
    const backingOff = await until("fails", "back off", ({ status }) =>
      /tried again at/.test(status.message ?? ""),
    );
    expect(backingOff.status.message).to.match(/exited with code 3/);
    const ended = await stateOf("fails", "Failed");
    expect(ended.status).to.include({ attempt: 2, reason: "PodFailed" });
    expect(await row("fails")).to.deep.equal({ status: "failed", attempt: 2, failures: 2 });
  });

  it("maxRuntime ends an attempt that runs too long", async () => {
    await makePool("long", 1);
    await submit("long", { pool: "long", spec: { maxRuntime: "1s" } });
    const ended = await stateOf("long", "Failed");
    expect(ended.status.reason).to.equal("MaxRuntimeExceeded");
  });

  it("a pod of a gang that ended well counts once, though it is deleted while the others run", async () => {
    await makePool("parts", 1);
    await submit("parts", { pool: "parts", parallelism: 3 });
    await stateOf("parts", "Running");
    await annotate("parts-1-0", { "rota.dev/simulate-run-seconds": "0" });
    await until("parts", "count the first pod", ({ status }) => status.pods?.succeeded === 1);
    await installation.view.client.delete(podType, "team/parts-1-0");
    for (const name of ["parts-1-1", "parts-1-2"])
      await annotate(name, { "rota.dev/simulate-run-seconds": "0" });
    const ended = await stateOf("parts", "Succeeded");
    expect(ended.status).to.deep.include({ attempt: 1 });
    expect(ended.status.pods?.succeeded).to.equal(3);
  });

  it("ttlSecondsAfterFinished deletes the Job and its pods; its history stays", async () => {
    await makePool("ttl", 1);
    await submit("ttl", {
      pool: "ttl",
      spec: { ttlSecondsAfterFinished: 1 },
      annotations: { "rota.dev/simulate-run-seconds": "0" },
    });
    await installation.view.until("the Job to be gone", async () => {
      const all = await installation.view.jobs();
      return !all.some(({ name }) => name === "ttl") && (await row("ttl"))?.status === "succeeded";
    });
    const { rows } = await installation.database.pool.query(
      "SELECT to_status::text FROM job_events WHERE name = 'ttl' ORDER BY id",
    );
    const statuses = rows.map(({ to_status: status }) => status);
    expect(statuses.slice(0, 2)).to.deep.equal(["pending", "starting"]);
    expect(statuses.at(-1)).to.equal("succeeded");
  });

  it("says how far its deletion is, as long as another's finalizer keeps it", async () => {
    await makePool("deleted", 1);
    await submit("leaves", {
      pool: "deleted",
      annotations: { "rota.dev/simulate-termination-seconds": "3" },
    });
    await stateOf("leaves", "Running");
    const { client } = installation.view;
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
    const left = await until("leaves", "say that it was cancelled", (found) => {
      return isCurrent(found) && found.status.state === "Cancelled";
    });
    expect(left.status.reason).to.equal("Deleted");
    await keepFor([]);
    await installation.view.until("the Job to be gone", async () => {
      return !(await installation.view.jobs()).some(({ name }) => name === "leaves");
    });
  });

  it("what ends while no operator runs is counted once by the next", async () => {
    await makePool("away", 1);
    await submit("away", { pool: "away", parallelism: 2 });
    await submit("dies", { pool: "away" });
    await Promise.all([stateOf("away", "Running"), stateOf("dies", "Running")]);
    await installation.stopOperators();
    for (const name of ["away-1-0", "away-1-1"])
      await annotate(name, { "rota.dev/simulate-run-seconds": "0" });
    await annotate("dies-1-0", {
      "rota.dev/simulate-run-seconds": "0",
      "rota.dev/simulate-exit-code": "9",
    });
    await installation.view.until("the pods to end", async () => {
      const left = await installation.view.pods();
      return !left.some(({ jobKey }) => jobKey === "team/away" || jobKey === "team/dies");
    });
    await installation.operate(settings);
    await Promise.all([stateOf("away", "Succeeded"), stateOf("dies", "Failed")]);
    expect(await row("away")).to.deep.equal({ status: "succeeded", attempt: 1, failures: 0 });
    expect(await row("dies")).to.deep.equal({ status: "failed", attempt: 1, failures: 1 });
  });
});
