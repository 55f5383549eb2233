/** Plans whose windows close a minute ahead on the real clock: what evicts, what runs on, what waits. */
import { expect } from "chai";
import { closes, closingSoon, type ClosingWindow } from "../support/closing-window.ts";
import {
  type Installation,
  job,
  plan,
  priorityClass,
  project,
  startInstallation,
  teamIsReady,
  teamJobIs,
} from "../support/installation.ts";

/** What is set up before the close takes some seconds. */
const minMilliseconds = 40_000;

describe("windows on a real control plane", function () {
  let installation: Installation;
  let soon: ClosingWindow;

  before(async () => {
    installation = await startInstallation();
    const { view, cluster } = installation;
    for (const object of [
      priorityClass("low", 10),
      priorityClass("lower", 5),
      project("team", { owner: { kind: "User", name: "pat" } }),
    ]) {
      await view.apply(object);
    }
    await installation.operate({
      ROTA_WINDOW_WARNING_SECONDS: "7200",
      ROTA_WINDOW_GRACE_SECONDS: "4",
    });
    await teamIsReady(installation);
    const owner = { kind: "User", name: "pat" };
    soon = closingSoon(minMilliseconds);
    for (const [pool, onWindowClose] of [
      ["strict", "Evict"],
      ["lenient", "Finish"],
    ] as const) {
      await cluster.addNodes({ count: 1, gpus: 8, pool, namePrefix: `${pool}-` });
      await view.apply(
        plan(`plan-of-${pool}`, {
          owner,
          pool,
          quantity: 8,
          onWindowClose,
          timeWindows: soon.windows,
        }),
      );
    }
  });

  after(async () => {
    await installation?.stop();
  });

  const submit = (name: string, pool: string, gpus: number, options: object = {}) =>
    installation.view.apply(
      job("team", name, { pool, gpus, priorityClassName: "low", ...options }),
    );
  const stateOf = (name: string, ...states: string[]) => teamJobIs(installation, name, ...states);

  it("warn, evict after the grace period, and keep out what was evicted; Finish lets jobs run on", async () => {
    const { view, database } = installation;
    await submit("evicted", "strict", 2, { parallelism: 2 });
    await submit("finishing", "lenient", 4);
    await submit("too-long", "strict", 1, { spec: { maxRuntime: "3h" } });
    await submit("short", "strict", 1, {
      spec: { maxRuntime: "10s" },
      annotations: { "rota.dev/simulate-run-seconds": "5" },
    });
    await Promise.all([stateOf("evicted", "Running"), stateOf("finishing", "Running")]);
    await stateOf("short", "Running", "Succeeded");
    const rejected = await view.until("the long job to say why it waits", async () => {
      const found = await view.job("team/too-long");
      return found.status.reason === "WindowTooShort" && found;
    });
    expect(rejected.status.message).to.match(
      /maxRuntime \(3 h\) exceeds the time left before plan plan-of-strict closes/,
    );

    const warned = await view.until("the job to be warned", async () => {
      const found = await view.job("team/evicted");
      const condition = found.status.conditions?.find(({ type }) => type === "WindowClosing");
      return condition?.reason === "WindowClosesSoon" && condition;
    });
    expect(warned.message).to.match(/^plan plan-of-strict closes \w{3} \d\d:\d\d and evicts/);
    expect(Date.now(), "warned before the close").to.be.below(soon.closesAt);

    await closes(soon);
    const { status } = await stateOf("evicted", "Evicted");
    expect(Date.now(), "evicted after the grace period").to.be.at.least(soon.closesAt + 4000);
    expect(status.attempt).to.equal(1);
    const waiting = await view.until("the evicted job to say when its plan opens", async () => {
      const found = await view.job("team/evicted");
      return found.status.reason === "WindowClosed" && found;
    });
    expect(waiting.status.message).to.match(
      /^evicted: plan plan-of-strict closed .*; plan plan-of-strict opens (next )?\w{3} \d\d:\d\d/,
    );
    expect(waiting.status.conditions?.some(({ type }) => type === "WindowClosing")).to.equal(false);

    const finishing = await stateOf("finishing", "Running");
    expect(finishing.status).to.include({ borrowing: true, attempt: 1 });
    const { rows } = await database.pool.query(
      `SELECT preemptor_job_id, preemption.rule, victim, victim_attempt, victim.outcome, pods
       FROM preemptions AS preemption JOIN preemption_victims AS victim ON preemption_id = preemption.id`,
    );
    expect(rows).to.deep.equal([
      {
        preemptor_job_id: null,
        rule: "WindowClosed",
        victim: "team/evicted",
        victim_attempt: 1,
        outcome: "Evicted",
        pods: 2,
      },
    ]);
    const { rows: queue } = await database.pool.query(
      "SELECT created_at::text AS queued_at FROM jobs WHERE name = 'evicted'",
    );
    expect(
      Temporal.Instant.from(String(queue[0]?.queued_at).replace(" ", "T")).epochMilliseconds,
    ).to.equal(Date.parse(waiting.createdAt));
    const events = (await view.client.raw(
      "GET",
      "/apis/events.k8s.io/v1/namespaces/team/events",
    )) as { items: { reason: string; regarding: { name: string } }[] };
    const reasons = events.items
      .filter(({ regarding }) => regarding.name === "evicted")
      .map(({ reason }) => reason);
    expect(reasons).to.include.members(["WindowClosesSoon", "WindowClosed"]);
  });

  it("start a job as a borrower under a closed plan with Finish, but not under one with Evict", async () => {
    await closes(soon);
    await submit("borrows", "lenient", 1);
    const borrower = await stateOf("borrows", "Running");
    expect(borrower.status.borrowing).to.equal(true);
    await submit("shut-out", "strict", 1);
    const waiting = await installation.view.until("the job to say why it waits", async () => {
      const found = await installation.view.job("team/shut-out");
      return found.status.reason === "WindowClosed" && found;
    });
    expect(waiting.status.message).to.match(/^plan plan-of-strict opens /);
    expect(waiting.status.state).to.equal("Pending");
  });
});
