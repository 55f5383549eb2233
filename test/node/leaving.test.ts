/** Pods that are asked to leave: SIGTERM, grace, what they save, and what their jobs go on with. */
import { expect } from "chai";
import type { Job } from "../../src/resources/types.ts";
import { jobs } from "../../src/resources/types.ts";
import { closes, closingSoon } from "../support/closing-window.ts";
import { owner, plan, project, teamIsReady, teamJobIs } from "../support/installation.ts";
import { kubectl } from "../support/kubectl.ts";
import { type RealInstallation, startRealInstallation } from "./support/real-installation.ts";
import { describeOnRealNodes } from "./support/required.ts";
import { logsOf, podOf, runWork, untilLogged, workJob, type WorkOptions } from "./support/work.ts";

const storage = "data";
const wholeNode = 4;
const env = { ROTA_WINDOW_GRACE_SECONDS: "2" };

/** A folder of the node's disk, which stays when a pod goes. */
const volume = {
  apiVersion: "v1",
  kind: "PersistentVolume",
  metadata: { name: storage },
  spec: {
    capacity: { storage: "1Gi" },
    accessModes: ["ReadWriteMany"],
    storageClassName: "manual",
    hostPath: { path: "/var/data", type: "DirectoryOrCreate" },
  },
};

/** It saves for a second when it is asked to leave, exits with 0, and goes on from there on the same node. */
const saving = (name: string, node = "real-1"): WorkOptions => ({
  gpus: wholeNode,
  graceSeconds: 20,
  WORK_CHECKPOINT: `/data/${name}`,
  WORK_ON_TERM: "save",
  WORK_SAVE_MILLISECONDS: 1_000,
  pod: { nodeSelector: { "kubernetes.io/hostname": node } },
  spec: { storages: [{ name: storage, mountPath: "/data" }] },
});

describeOnRealNodes("a pod that is asked to leave a real node", () => {
  let installation: RealInstallation;

  before(async () => {
    installation = await startRealInstallation({ env });
    const { view } = installation;
    await view.client.raw("POST", "/api/v1/persistentvolumes", volume);
    const storages = [{ name: storage, size: "1Gi", storageClassName: "manual" }];
    await view.apply(project("team", { owner, storages }));
    await teamIsReady(installation);
  });

  after(async () => {
    await installation?.stop();
  });

  const stateOf = (name: string, ...states: string[]): Promise<Job> =>
    teamJobIs(installation, name, ...states);

  const attemptRuns = (name: string, attempt: number): Promise<Job> =>
    installation.view.until(`attempt ${attempt} of ${name} to run`, async () => {
      const found = await installation.view.job(`team/${name}`);
      const { state, finishedAt } = found.status;
      if (finishedAt !== undefined) throw new Error(`${state}: ${found.status.message}`);
      return state === "Running" && found.status.attempt === attempt && found;
    });

  const runSaving = async (name: string, more: WorkOptions = {}): Promise<void> => {
    const options = { ...saving(name), ...more };
    await runWork(installation, name, options, "Running", "Failed");
    await untilLogged(installation, (await podOf(installation, name)).metadata.name, "attempt 1");
  };

  const expectToResume = async (name: string): Promise<void> => {
    await attemptRuns(name, 2);
    await untilLogged(installation, `${name}-2-0`, "resumes at step");
  };

  const submitBoss = (name: string): Promise<void> => {
    const pod = { nodeSelector: { "kubernetes.io/hostname": "real-1" } };
    const options = { gpus: wholeNode, priorityClassName: "high", WORK_STEPS: 5, pod };
    return installation.view.apply(workJob(name, options));
  };

  const remove = (name: string): Promise<void> => installation.view.remove(workJob(name));

  it("saves, and its job resumes when the preemptor has ended", async () => {
    await runSaving("saved");
    await submitBoss("boss");
    const boss = await stateOf("boss", "Succeeded", "Failed");
    expect(boss.status).to.include({ state: "Succeeded", attempt: 1 });
    await expectToResume("saved");
    await remove("saved");
  });

  it("saves while its operator is killed, and its job resumes", async () => {
    await runSaving("orphaned", { WORK_SAVE_MILLISECONDS: 4_000 });
    await submitBoss("usurper");
    await stateOf("orphaned", "Evicting");
    await installation.operator.kill();
    await installation.operate(env);
    await stateOf("usurper", "Succeeded");
    await expectToResume("orphaned");
    await remove("orphaned");
  });

  it("saves when its job is suspended, and resumes with it", async () => {
    await runSaving("paused");
    const suspend = (value: boolean) =>
      installation.view.client.patch(jobs, "team/paused", { spec: { suspend: value } });
    await suspend(true);
    await stateOf("paused", "Suspended");
    await suspend(false);
    await expectToResume("paused");
    await remove("paused");
  });

  it("saves when deleted or drained, and resumes", async () => {
    await runSaving("drained");
    await kubectl(installation.cluster, "delete", "pod", "--namespace=team", "drained-1-0");
    await expectToResume("drained");
    const { cluster } = installation;
    await kubectl(cluster, "drain", "real-1", "--force", "--ignore-daemonsets", "--timeout=60s");
    await kubectl(cluster, "uncordon", "real-1");
    await attemptRuns("drained", 3);
    await remove("drained");
  });

  it("ends by SIGKILL after its grace period", async () => {
    const options = { WORK_ON_TERM: "ignore", graceSeconds: 2 };
    await runWork(installation, "stubborn", options, "Running");
    await remove("stubborn");
    await installation.view.until("its container to be gone", async () =>
      (await installation.view.pods()).every(({ jobKey }) => jobKey !== "team/stubborn"),
    );
  });

  it("fails its job at maxRuntime, whatever its exit code", async () => {
    const options = saving("late");
    const spec = { ...options.spec, maxRuntime: "3s" };
    const { status } = await runWork(installation, "late", { ...options, spec }, "Failed");
    expect(status.reason).to.equal("MaxRuntimeExceeded");
    expect(await logsOf(installation, "late-1-0").catch(() => "")).not.to.include("done after");
  });

  it("hands its devices on through 24 whole-node jobs", async () => {
    const names = Array.from({ length: 24 }, (_, index) => `row-${index}`);
    const options = { gpus: wholeNode, WORK_STEPS: 2, WORK_STEP_MILLISECONDS: 50 };
    for (const name of names) await installation.view.apply(workJob(name, options));
    for (const name of names) {
      const { status } = await stateOf(name, "Succeeded", "Failed");
      expect(status, name).to.include({ state: "Succeeded", attempt: 1 });
    }
  });

  it("saves when its plan's window closes, and its job waits", async () => {
    const soon = closingSoon(20_000);
    const spec = { owner, quantity: 8, onWindowClose: "Evict", timeWindows: soon.windows };
    await installation.view.remove(plan("all", {}));
    await installation.view.apply(plan("night", spec));
    await runSaving("night");
    await closes(soon);
    const { status } = await installation.view.untilJob("team/night", "leave", (found) => {
      return found.status.state !== "Running" && found.status.state !== "Evicting";
    });
    expect(status).to.include({ state: "Evicted", attempt: 1 });
  });
});
