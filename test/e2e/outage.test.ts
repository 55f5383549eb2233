/** PostgreSQL, then the API server, is killed and away for a while; everything converges without help. */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import type { Operator } from "../../dev/local/operator.ts";
import { type Postgres, removePostgresData, startPostgres } from "../../dev/local/postgres.ts";
import { waitFor } from "../../dev/local/wait.ts";
import { createPool, type DatabasePool } from "../../src/db/pool.ts";
import { podsOf } from "../../src/resources/types.ts";
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

/** Local servers forget the last moments before a crash; this one stands for one that does not. */
const settings = ["synchronous_commit=on"];

const podType = podsOf("nvidia.com/gpu");

describe("an outage", function () {
  let installation: Installation;
  let operator: Operator;
  let postgres: Postgres;
  let db: DatabasePool;
  const directory = mkdtempSync(join(tmpdir(), "rota-outage-"));

  before(async () => {
    postgres = await startPostgres({ directory, settings });
    // An API server that has just started refuses what it has not read the roles for yet.
    installation = await startInstallation({ mayBeRefused: true });
    const { view, cluster } = installation;
    await cluster.addNodes({ count: 2, gpus: 8, namePrefix: "n-" });
    for (const object of [
      priorityClass("low", 10),
      priorityClass("high", 1000),
      project("team", { owner }),
      plan("all", { owner }),
    ]) {
      await view.apply(object);
    }
    operator = await installation.operate({ DATABASE_URL: postgres.url });
    // Connections are lost on purpose: the pool opens others.
    db = createPool(postgres.url, { onError: () => undefined });
    await teamIsReady(installation);
  });

  after(async () => {
    await db?.end();
    await installation?.stop();
    await postgres?.stop();
    removePostgresData(directory);
  });

  const submit = (name: string, gpus: number, options: Partial<JobOptions> = {}) =>
    installation.view.apply(
      job("team", name, { pool: "default", gpus, priorityClassName: "low", ...options }),
    );
  const stateOf = (name: string, ...states: string[]) => teamJobIs(installation, name, ...states);
  const complete = (pod: string) =>
    installation.view.client.patch(podType, `team/${pod}`, {
      metadata: { annotations: { "rota.dev/simulate-run-seconds": "0" } },
    });
  const attempts = async () => {
    const { rows } = await db.query<{ name: string; status: string; attempt: number }>(
      "SELECT name, status::text, attempt FROM jobs ORDER BY name",
    );
    return Object.fromEntries(
      rows.map(({ name, status, attempt }) => [name, `${status} ${attempt}`]),
    );
  };

  it("of PostgreSQL loses nothing of what happened meanwhile, and starts nothing twice", async () => {
    const { view } = installation;
    for (const name of ["ends", "loses", "stays", "goes"]) {
      await submit(name, 2);
      await stateOf(name, "Running");
    }
    process.kill(postgres.pid, "SIGKILL");
    await waitFor(
      async () => /database/.test(await (await fetch(`${operator.url}/readyz`)).text()),
      {
        what: "the operator to name the database",
        timeoutMs: 60_000,
      },
    );
    await complete("ends-1-0");
    await view.client.delete(podType, "team/loses-1-0");
    await view.client.delete(
      { group: "rota.dev", version: "v1alpha1", plural: "jobs", kind: "Job", namespaced: true },
      "team/goes",
    );
    await submit("arrives", 2);
    await view.until("the pods to be gone", async () => {
      const pods = await view.pods();
      return !pods.some(({ name }) => name === "loses-1-0" || name === "ends-1-0");
    });
    expect(operator.pid, "it waits rather than ends").to.satisfy((pid: number) =>
      process.kill(pid, 0),
    );

    postgres = await startPostgres({ directory, settings });
    await Promise.all([stateOf("ends", "Succeeded"), stateOf("arrives", "Running")]);
    await view.until("the job that lost its pod to run again", async () => {
      const { status } = await view.job("team/loses");
      return status.attempt === 2 && status.state === "Running";
    });
    await view.until("the deleted job to be cancelled", async () => {
      return (await attempts())["goes"] === "cancelled 1";
    });
    expect(await attempts()).to.deep.equal({
      arrives: "running 1",
      ends: "succeeded 1",
      goes: "cancelled 1",
      loses: "running 2",
      stays: "running 1",
    });
    await checkInvariants(view, db);
  });

  it("of the API server in the midst of a preemption is waited for, and the preemption finished", async () => {
    const { view, cluster } = installation;
    await cluster.addNodes({ count: 1, gpus: 8, pool: "edge", namePrefix: "edge-" });
    await view.apply(plan("all-of-edge", { owner, pool: "edge" }));
    await submit("victim", 8, {
      pool: "edge",
      annotations: { "rota.dev/simulate-termination-seconds": "3" },
    });
    await stateOf("victim", "Running");
    await submit("urgent", 8, { pool: "edge", priorityClassName: "high" });
    await stateOf("urgent", "Held");
    await cluster.kill("kube-apiserver", "SIGKILL");
    await waitFor(
      () =>
        view.jobs().then(
          () => false,
          () => true,
        ),
      { what: "the API server to be away", timeoutMs: 30_000 },
    );
    await cluster.restart("kube-apiserver");
    await stateOf("urgent", "Running");
    const victims = await db.query(
      "SELECT victim, outcome::text FROM preemption_victims ORDER BY victim",
    );
    expect(victims.rows).to.deep.equal([{ victim: "team/victim", outcome: "Evicted" }]);
    await submit("after", 1, { annotations: { "rota.dev/simulate-run-seconds": "0" } });
    await stateOf("after", "Succeeded");
    await checkInvariants(view, db);
    expect((await attempts())["urgent"]).to.equal("running 1");
  });
});
