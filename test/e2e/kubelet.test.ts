/** What a kubelet may do to a pod before its containers run, as KWOK plays it. */
import { expect } from "chai";
import type { Job } from "../../src/resources/types.ts";
import {
  applyTeam,
  type Installation,
  job,
  owner,
  plan,
  startInstallation,
  teamIsReady,
} from "../support/installation.ts";
import { podType } from "../support/team.ts";

describe("a pod on the way to its containers", function () {
  let installation: Installation;

  before(async () => {
    installation = await startInstallation({ cluster: { nodes: 2 } });
    await applyTeam(installation);
    await installation.view.apply(plan("all", { owner }));
    // Shorter than the slow init container.
    await installation.operate({
      ROTA_START_DEADLINE_SECONDS: "8",
      ROTA_START_PAUSE_SECONDS: "2",
      ROTA_MAX_FAILED_STARTS: "2",
    });
    await teamIsReady(installation);
  });

  after(async () => {
    await installation?.stop();
  });

  async function submit(
    name: string,
    annotations: Readonly<Record<string, string>>,
    more: Readonly<Record<string, string>> = {},
  ) {
    const image = "none.example/none:1";
    const limits = { "nvidia.com/gpu": 1 };
    const spec = {
      initContainers: [{ name: "fetch", image }],
      containers: [{ name: "main", image, resources: { limits } }],
    };
    const template = { metadata: { annotations }, spec };
    const options = {
      pool: "default",
      gpus: 1,
      priorityClassName: "low",
      spec: { template, ...more },
    };
    await installation.view.apply(job("team", name, options));
  }

  const until = (name: string, is: (job: Job) => boolean): Promise<Job> =>
    installation.view.untilJob(`team/${name}`, "come to what is expected", is);

  it("fails in an init container: the job names it", async () => {
    await submit("fetches-not", {
      "rota.dev/simulate-init-seconds": "0",
      "rota.dev/simulate-init-exit-code": "7",
    });
    const { status } = await until("fetches-not", (found) => found.status.finishedAt !== undefined);
    expect(status).to.include({ state: "Failed", reason: "PodFailed" });
    expect(status.message).to.equal("pod fetches-not-1-0: init container fetch exited with code 7");
  });

  it("runs a slow init container, which its job names", async () => {
    await submit("fetches", { "rota.dev/simulate-init-seconds": "15" });
    await until("fetches", ({ status }) =>
      /init container fetch is running/.test(status.message ?? ""),
    );
    await until("fetches", ({ status }) => status.state === "Running" && status.attempt === 1);
  });

  it("counts a slow init container as run time", async () => {
    await submit(
      "fetches-long",
      { "rota.dev/simulate-init-seconds": "3600" },
      { maxRuntime: "8s" },
    );
    const { status } = await until(
      "fetches-long",
      (found) => found.status.finishedAt !== undefined,
    );
    expect(status).to.include({ state: "Failed", reason: "MaxRuntimeExceeded" });
  });

  it("with a wrong image starts again after a pause, and fails at last", async () => {
    const { view, database } = installation;
    await submit("image", { "rota.dev/simulate-start-seconds": "3600" });
    const state = { waiting: { reason: "ImagePullBackOff", message: "no such image" } };
    const containerStatuses = [
      { name: "main", image: "", imageID: "", ready: false, restartCount: 0, state },
    ];
    const pullsInVain = async (attempt: number): Promise<void> => {
      const key = `team/image-${attempt}-0`;
      await view.until(`pod ${key} to have a status`, async () => {
        const status = { containerStatuses };
        await view.client.patch(podType, key, { status }, { subresource: "status" });
        return true;
      });
    };
    await pullsInVain(1);
    const paused = await until("image", ({ status }) => status.state === "Pending");
    expect(paused.status.reason).to.equal("StartDeadlineExceeded");
    expect(paused.status.message).to.match(
      /^not all pods were running within 8 s: container main: ImagePullBackOff: no such image \(pod image-1-0\); the next attempt starts at /,
    );
    const { rows } = await database.pool.query(
      "SELECT FROM avoided_nodes JOIN jobs ON jobs.id = job_id WHERE jobs.name = 'image'",
    );
    expect(rows, "no node is to blame").to.deep.equal([]);
    await pullsInVain(2);
    const { status } = await until("image", (found) => found.status.finishedAt !== undefined);
    expect(status).to.include({ state: "Failed", reason: "StartFailed" });
    expect(status.message).to.match(/^2 starts failed; the last: not all pods .*no such image/);
  });

  it("is rejected: no failure of the job's", async () => {
    await submit("rejected", { "rota.dev/simulate-rejection": "UnexpectedAdmissionError" });
    const { status } = await until(
      "rejected",
      (found) =>
        found.status.state !== "Starting" &&
        /UnexpectedAdmissionError/.test(found.status.message ?? ""),
    );
    expect(status.state).not.to.equal("Failed");
  });

  it("is deleted and silent: its job says it is leaving", async () => {
    await submit("silent", { "rota.dev/simulate-termination-seconds": "3600" });
    await until("silent", ({ status }) => status.state === "Running");
    const path = "/api/v1/namespaces/team/pods/silent-1-0";
    await installation.view.client.raw("DELETE", path);
    const { status } = await until("silent", (found) => found.status.reason === "PodsLost");
    expect(status.message).to.match(/the pods are stopping/);
    expect(status.conditions?.find(({ type }) => type === "Ready")?.status).to.equal("True");
    await installation.view.client.raw("DELETE", `${path}?gracePeriodSeconds=0`);
  });
});
