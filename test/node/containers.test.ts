/** What a job's containers do on a real node, and what the job says of it. */
import { expect } from "chai";
import { workImage } from "../../dev/local/real-nodes/programs.ts";
import { teamJobIs } from "../support/installation.ts";
import { type RealInstallation, startRealInstallation } from "./support/real-installation.ts";
import { describeOnRealNodes } from "./support/required.ts";
import {
  execIn,
  logsOf,
  podOf,
  runWork,
  stateOf,
  workJob,
  type WorkOptions,
} from "./support/work.ts";

const initContainer = (...args: string[]) => ({
  name: "first",
  image: workImage,
  args,
  resources: { limits: { cpu: "50m", memory: "32Mi" } },
});

/** Asks a container that runs whether it has a file that it never has. */
const failingProbe = {
  exec: { command: ["/bin/work", "cat", "/absent"] },
  periodSeconds: 1,
  failureThreshold: 1,
};

describeOnRealNodes("a job's containers on real nodes", () => {
  let installation: RealInstallation;

  before(async () => {
    installation = await startRealInstallation();
  });

  after(async () => {
    await installation?.stop();
  });

  const said = (name: string, what: RegExp): Promise<unknown> =>
    installation.view.until(`${name} to say ${what}`, async () =>
      what.test((await installation.view.job(`team/${name}`)).status.message ?? ""),
    );

  it("run to completion", async () => {
    const done = await runWork(installation, "completes", { WORK_STEPS: 3 }, "Succeeded", "Failed");
    expect(done.status).to.include({ state: "Succeeded", reason: "Completed", attempt: 1 });
    const pod = await podOf(installation, "completes");
    expect(stateOf(pod)?.terminated).to.include({ exitCode: 0, reason: "Completed" });
    expect(await logsOf(installation, pod.metadata.name)).to.include("done after 3 steps");
  });

  it("fail with the exit code that they give", async () => {
    const options = { WORK_STEPS: 1, WORK_EXIT: 3 };
    const failed = await runWork(installation, "fails", options, "Succeeded", "Failed");
    expect(failed.status).to.include({ state: "Failed", reason: "PodFailed" });
    expect(failed.status.message).to.include("exited with code 3");
  });

  it("run again after a failure, up to backoffLimit", async () => {
    const options = { WORK_STEPS: 1, WORK_EXIT: 3, spec: { backoffLimit: 1 } };
    const failed = await runWork(installation, "again", options, "Failed");
    expect(failed.status.attempt).to.equal(2);
  });

  it("have logs, devices and variables, and can be entered", async () => {
    await runWork(installation, "open", { gpus: 2 }, "Running");
    const pod = (await podOf(installation, "open")).metadata.name;
    const { stdout } = await execIn(installation, pod, "env");
    expect(stdout).to.match(/^NVIDIA_VISIBLE_DEVICES=gpu-\d,gpu-\d$/m);
    expect(stdout).to.match(/^ROTA_JOB_NAME=open$/m);
    expect(await logsOf(installation, pod)).to.include("attempt 1, pod 0 of 1");
    await execIn(installation, pod, "write", "/tmp/mark", "was here");
    expect((await execIn(installation, pod, "cat", "/tmp/mark")).stdout).to.equal("was here");
    expect((await teamJobIs(installation, "open", "Running")).status.attempt).to.equal(1);
  });

  const silent = { gpus: 0, WORK_STEPS: 1 };
  const failures: readonly (readonly [string, WorkOptions, RegExp])[] = [
    [
      "oom",
      { memory: "32Mi", WORK_ALLOCATE_MIB: 200, gpus: 0 },
      /container main exited with code 137: OOMKilled$/,
    ],
    [
      "deadline",
      { gpus: 0, pod: { activeDeadlineSeconds: 2 } },
      /DeadlineExceeded: Pod was active on the node longer than the specified deadline/,
    ],
    [
      "absent",
      { ...silent, container: { command: ["/bin/absent"] } },
      /exited with code 128: StartError: .*\/bin\/absent: no such file or directory/,
    ],
    [
      "init",
      { ...silent, pod: { initContainers: [initContainer("exit", "7")] } },
      /init container first exited with code 7$/,
    ],
    [
      "unhealthy",
      { gpus: 0, graceSeconds: 1, container: { livenessProbe: failingProbe } },
      /container main exited with code 143/,
    ],
  ];
  for (const [name, options, message] of failures) {
    it(`fail in the cluster's words: ${name}`, async () => {
      const { status } = await runWork(installation, name, options, "Failed");
      expect(status.message).to.match(message);
    });
  }

  it("fail when they outgrow their scratch space", async () => {
    const options = {
      gpus: 0,
      container: { volumeMounts: [{ name: "scratch", mountPath: "/scratch" }] },
      pod: { volumes: [{ name: "scratch", emptyDir: { sizeLimit: "16Ki" } }] },
    };
    await runWork(installation, "scratch", options, "Running");
    const pod = (await podOf(installation, "scratch")).metadata.name;
    await execIn(installation, pod, "write", "/scratch/file", "x".repeat(100_000));
    const { status } = await teamJobIs(installation, "scratch", "Failed");
    expect(status.message).to.match(
      /Evicted: Usage of EmptyDir volume "scratch" exceeds the limit "16Ki"/,
    );
  });

  it("are waited for with the cause of a failed pull", async () => {
    const container = { image: "127.0.0.1:1/typo:1" };
    await installation.view.apply(workJob("typo", { gpus: 0, container }));
    await said("typo", /container main: (ErrImagePull|ImagePullBackOff).*connection refused/);
    await installation.view.remove(workJob("typo"));
  });

  it("are waited for: a slow init container is named", async () => {
    const pod = { initContainers: [initContainer("sleep", "15")] };
    await installation.view.apply(workJob("slow", { ...silent, pod }));
    await said("slow", /init container first is running/);
    await teamJobIs(installation, "slow", "Succeeded");
  });
});
