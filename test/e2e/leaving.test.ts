/** A pod that ends after it was asked to leave has not finished, whatever its exit code: its job runs again. */
import { expect } from "chai";
import type { Job } from "../../src/resources/types.ts";
import { closes, closingSoon } from "../support/closing-window.ts";
import {
  applyTeam,
  type Installation,
  job,
  owner,
  plan,
  startInstallation,
  teamIsReady,
  teamJobIs,
} from "../support/installation.ts";
import { podType } from "../support/team.ts";

/** The end of its pods is to be seen for a while before they are gone. */
const isSeen = { "rota.dev/simulate-removal-seconds": "2" };
/** As a training framework that saves on SIGTERM. */
const savesAndExitsWell = {
  ...isSeen,
  "rota.dev/simulate-termination-seconds": "1",
  "rota.dev/simulate-termination-exit-code": "0",
};
/** Its end is written by the test. */
const leavesLate = {
  ...isSeen,
  "rota.dev/simulate-termination-seconds": "3600",
};

describe("a pod that exits with 0 after it was asked to leave", function () {
  let installation: Installation;

  before(async () => {
    installation = await startInstallation();
    await applyTeam(installation);
    await installation.operate({ ROTA_WINDOW_GRACE_SECONDS: "2" });
    await teamIsReady(installation);
  });

  after(async () => {
    await installation?.stop();
  });

  /** A pool of its own for each test: one node of 8 GPUs, and a plan that grants all of it. */
  async function makePool(pool: string, spec: Readonly<Record<string, unknown>> = {}) {
    await installation.cluster.addNodes({
      count: 1,
      gpus: 8,
      pool,
      namePrefix: `${pool}-`,
    });
    await installation.view.apply(plan(`all-of-${pool}`, { owner, pool, ...spec }));
  }

  const stateOf = (name: string, ...states: string[]): Promise<Job> =>
    teamJobIs(installation, name, ...states);

  interface Victim {
    readonly pool: string;
    readonly parallelism?: number;
    readonly annotations: Readonly<Record<string, string>>;
  }

  /** It fills its pool's node. */
  async function runVictim(name: string, { pool, parallelism = 1, annotations }: Victim) {
    const gpus = 8 / parallelism;
    const options = {
      pool,
      gpus,
      parallelism,
      annotations,
      priorityClassName: "low",
    };
    await installation.view.apply(job("team", name, options));
    await stateOf(name, "Running");
  }

  const submitBoss = (pool: string, name = `${pool}-boss`): Promise<void> =>
    installation.view.apply(job("team", name, { pool, gpus: 8, priorityClassName: "high" }));

  const podsAskedToLeave = (name: string, count: number): Promise<unknown> =>
    installation.view.until(`${count} pods of ${name} to be asked to leave`, async () => {
      const pods = (await installation.view.client.list(podType, { namespace: "team" })).filter(
        ({ metadata }) => metadata.labels?.["rota.dev/job"] === name,
      );
      return pods.filter(({ metadata }) => metadata.deletionTimestamp).length === count;
    });

  const outcomesOf = async (name: string): Promise<unknown[]> =>
    (
      await installation.database.pool.query(
        "SELECT victim_attempt AS attempt, outcome FROM preemption_victims WHERE victim = $1 ORDER BY 1",
        [`team/${name}`],
      )
    ).rows;

  /** As its kubelet does when its containers have ended: the node's clock may be another one. */
  async function endPod(name: string, exitCode: number, clockSkewSeconds = 0): Promise<void> {
    const at = Temporal.Now.instant().add({ seconds: clockSkewSeconds }).round("second").toString();
    const terminated = {
      exitCode,
      reason: exitCode === 0 ? "Completed" : "Error",
      finishedAt: at,
    };
    const main = {
      name: "main",
      image: "",
      imageID: "",
      ready: false,
      restartCount: 0,
    };
    const path = `/api/v1/namespaces/team/pods/${name}`;
    await installation.view.client.raw(
      "PATCH",
      `${path}/status`,
      {
        status: {
          phase: exitCode === 0 ? "Succeeded" : "Failed",
          containerStatuses: [{ ...main, state: { running: null, terminated } }],
        },
      },
      { contentType: "application/strategic-merge-patch+json" },
    );
  }

  /** It was not done: it waits, and runs again when the room is there. */
  async function expectToRunAgain(name: string, pool: string, boss = `${pool}-boss`) {
    const { status } = await stateOf(name, "Evicted", "Succeeded", "Failed");
    expect(status).to.include({ state: "Evicted", attempt: 1 });
    expect(await outcomesOf(name)).to.deep.equal([{ attempt: 1, outcome: "Evicted" }]);
    await stateOf(boss, "Running");
    await installation.view.remove(job("team", boss, { pool, gpus: 8 }));
    expect((await stateOf(name, "Running", "Succeeded", "Failed")).status).to.include({
      state: "Running",
      attempt: 2,
    });
  }

  it("was preempted: its job runs again", async () => {
    await makePool("preempted");
    const victim = { pool: "preempted", annotations: savesAndExitsWell };
    await runVictim("preempted", victim);
    await submitBoss("preempted");
    await expectToRunAgain("preempted", "preempted");
  });

  it("is of a gang whose others fail, which restarts", async () => {
    const pool = "mixed";
    await makePool(pool);
    await runVictim("mixed", { pool, parallelism: 2, annotations: leavesLate });
    await submitBoss(pool);
    await podsAskedToLeave("mixed", 2);
    await endPod("mixed-1-0", 0);
    await endPod("mixed-1-1", 143);
    await expectToRunAgain("mixed", pool);
  });

  it("ran on a node with a slow clock: its job restarts", async () => {
    const pool = "behind";
    await makePool(pool);
    await runVictim("behind", { pool, annotations: leavesLate });
    await submitBoss(pool);
    await podsAskedToLeave("behind", 1);
    await endPod("behind-1-0", 0, -300);
    await expectToRunAgain("behind", pool);
  });

  it("ends while there is no operator: its job runs again", async () => {
    const pool = "killed";
    await makePool(pool);
    await runVictim("killed", { pool, annotations: leavesLate });
    await submitBoss(pool);
    await podsAskedToLeave("killed", 1);
    await installation.stopOperators();
    await endPod("killed-1-0", 0);
    await installation.operate({ ROTA_WINDOW_GRACE_SECONDS: "2" });
    await expectToRunAgain("killed", pool);
  });

  it("was deleted by hand: its job runs again", async () => {
    const pool = "by-hand";
    await makePool(pool);
    await runVictim("by-hand", { pool, annotations: savesAndExitsWell });
    await installation.view.client.delete(podType, "team/by-hand-1-0");
    const again = await installation.view.untilJob("team/by-hand", "run again", ({ status }) => {
      return status.attempt === 2 || status.finishedAt !== undefined;
    });
    expect(again.status.finishedAt).to.equal(undefined);
  });

  it("had finished before its job became a victim", async () => {
    const pool = "finished";
    await makePool(pool);
    const annotations = leavesLate;
    await runVictim("finished", { pool, parallelism: 2, annotations });
    await endPod("finished-1-0", 0);
    await installation.view.untilJob("team/finished", "count its first pod", ({ status }) => {
      return status.pods?.succeeded === 1;
    });
    await endPod("finished-1-1", 0, -300);
    expect((await stateOf("finished", "Succeeded")).status.attempt).to.equal(1);
  });

  it("left at its window's close: its job waits", async () => {
    const pool = "night";
    const soon = closingSoon(20_000);
    await makePool(pool, { onWindowClose: "Evict", timeWindows: soon.windows });
    await runVictim("night", { pool, annotations: savesAndExitsWell });
    await closes(soon);
    const { status } = await stateOf("night", "Evicted", "Succeeded", "Failed");
    expect(status).to.include({ state: "Evicted", attempt: 1 });
    expect(await outcomesOf("night")).to.deep.equal([{ attempt: 1, outcome: "Evicted" }]);
  });
});
