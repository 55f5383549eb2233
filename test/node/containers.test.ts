/** What a job's containers do on a real node, and what the job says of it. */
import { expect } from "chai";
import { teamJobIs } from "../support/installation.ts";
import { type RealInstallation, startRealInstallation } from "./support/real-installation.ts";
import { describeOnRealNodes } from "./support/required.ts";
import { execIn, logsOf, podOf, runWork, stateOf } from "./support/work.ts";

describeOnRealNodes("a job's containers on real nodes", () => {
  let installation: RealInstallation;

  before(async () => {
    installation = await startRealInstallation();
  });

  after(async () => {
    await installation?.stop();
  });

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

  it("are killed at their memory limit", async () => {
    const options = { memory: "32Mi", WORK_ALLOCATE_MIB: 200, gpus: 0 };
    await runWork(installation, "hungry", options, "Failed");
    const { terminated } = stateOf(await podOf(installation, "hungry")) ?? {};
    expect(terminated).to.include({ exitCode: 137, reason: "OOMKilled" });
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
});
