/** Nodes that hang or lose devices, kubelets that start again or reject pods, and what jobs make of it. */
import { expect } from "chai";
import type { Job } from "../../src/resources/types.ts";
import { teamJobIs } from "../support/installation.ts";
import { kubectl } from "../support/kubectl.ts";
import {
  gpusPerNode,
  type RealInstallation,
  startRealInstallation,
} from "./support/real-installation.ts";
import { describeOnRealNodes } from "./support/required.ts";
import { podOf, runWork, stateOf, workJob, type WorkOptions } from "./support/work.ts";

const on = (node: string): WorkOptions => ({
  pod: { nodeSelector: { "kubernetes.io/hostname": node } },
});

describeOnRealNodes("a job on a real node that fails it", () => {
  let installation: RealInstallation;

  before(async () => {
    installation = await startRealInstallation();
  });

  after(async () => {
    await installation?.stop();
  });

  const jobSays = (name: string, what: RegExp): Promise<Job> =>
    installation.view.untilJob(`team/${name}`, `say ${what}`, ({ status }) =>
      what.test(`${status.reason}: ${status.message}`),
    );

  const remove = (name: string): Promise<void> => installation.view.remove(workJob(name));

  it("runs on while kubelet and containerd start again", async () => {
    await runWork(installation, "steady", on("real-1"), "Running");
    const { metadata } = await podOf(installation, "steady");
    for (const part of ["kubelet", "containerd"] as const) await installation.first.restart(part);
    await installation.first.untilReady();
    // A kubelet that cannot ask containerd for a moment does not say that the container runs.
    const { view } = installation;
    await view.until("the kubelet to see the container", async () => {
      const pod = await podOf(installation, "steady");
      expect(pod.metadata.uid).to.equal(metadata.uid);
      return stateOf(pod)?.running !== undefined;
    });
    const { status } = await podOf(installation, "steady");
    expect(status.containerStatuses?.map(({ restartCount }) => restartCount)).to.deep.equal([0]);
    expect((await teamJobIs(installation, "steady", "Running")).status.attempt).to.equal(1);
    await remove("steady");
  });

  it("runs on when devices fail; others wait", async () => {
    const { first } = installation;
    await runWork(installation, "keeps", { gpus: 2, ...on("real-1") }, "Running");
    first.setHealthyGpus(0);
    await first.untilReady(0);
    await installation.view.apply(workJob("wants", { gpus: 2, WORK_STEPS: 1, ...on("real-1") }));
    const waiting = await jobSays("wants", /real-1 with 0 of 4 GPUs healthy/);
    expect(waiting.status).to.include({ state: "Pending", reason: "AwaitingNodes" });
    first.setHealthyGpus(gpusPerNode);
    await teamJobIs(installation, "wants", "Succeeded");
    expect((await teamJobIs(installation, "keeps", "Running")).status.attempt).to.equal(1);
    await remove("keeps");
  });

  it("avoids the node whose kubelet rejects its pod", async () => {
    const { first, view } = installation;
    first.refuseGpus("the driver does not answer");
    try {
      await view.apply(workJob("rejected", { gpus: gpusPerNode, ...on("real-1") }));
      const told = await jobSays("rejected", /RejectedByKubelet.*the driver does not answer/);
      expect(told.status.state).to.equal("Pending");
      const { status } = await jobSays("rejected", /avoided for now after a failed start: real-1/);
      expect(status).to.include({ state: "Pending", reason: "AwaitingNodes", attempt: 1 });
    } finally {
      first.refuseGpus(undefined);
      await remove("rejected");
    }
  });

  it("says why the kubelet rejected its pod", async () => {
    const { first } = installation;
    first.refuseGpus("the driver does not answer");
    await installation.view.apply(workJob("told", { gpus: gpusPerNode, ...on("real-1") }));
    await jobSays("told", /UnexpectedAdmissionError.*the driver does not answer/);
    first.refuseGpus(undefined);
    await remove("told");
  });

  it("does not fail when its kubelet rejects its running pod", async () => {
    const { cluster, first } = installation;
    await kubectl(cluster, "label", "node", "real-1", "disk=ssd");
    try {
      const options = { pod: { nodeSelector: { disk: "ssd" } } };
      await runWork(installation, "moved", options, "Running");
      await kubectl(cluster, "label", "node", "real-1", "disk-");
      await first.restart("kubelet");
      const { status } = await jobSays("moved", /NodeAffinity|exited with/);
      expect(status.state).not.to.equal("Failed");
    } finally {
      await first.untilReady();
      await remove("moved");
    }
  });

  it("names its unready node and leaves while the kubelet hangs", async () => {
    const { first, cluster } = installation;
    await runWork(installation, "silent", { graceSeconds: 1, ...on("real-1") }, "Running");
    await first.signal("kubelet", "SIGSTOP");
    try {
      await jobSays("silent", /node real-1 is not ready/);
      await kubectl(cluster, "delete", "pod", "--namespace=team", "--wait=false", "silent-1-0");
      await jobSays("silent", /PodsLost.*are stopping|PodDisrupted/);
    } finally {
      await first.signal("kubelet", "SIGCONT");
    }
    await first.untilReady();
    await installation.view.untilJob("team/silent", "run in attempt 2", ({ status }) => {
      return status.state === "Running" && status.attempt === 2;
    });
    await remove("silent");
  });

  it("keeps its room when deleted while its kubelet hangs", async () => {
    const { first, view, database } = installation;
    await runWork(installation, "kept", { gpus: 2, graceSeconds: 1, ...on("real-1") }, "Running");
    const committed = async (): Promise<number> => {
      const text = "SELECT gpus_committed::int AS gpus FROM nodes WHERE name = 'real-1'";
      return (await database.pool.query<{ gpus: number }>(text)).rows[0]?.gpus ?? 0;
    };
    await view.until("former jobs' room to be given back", async () => (await committed()) === 2);
    await first.signal("kubelet", "SIGSTOP");
    try {
      await kubectl(installation.cluster, "delete", "rj", "--namespace=team", "kept");
      await view.until("the row to know", async () => {
        const text = "SELECT FROM jobs WHERE name = 'kept' AND ending IS NOT NULL";
        return (await database.pool.query(text)).rowCount === 1;
      });
      expect(await committed()).to.equal(2);
    } finally {
      await first.signal("kubelet", "SIGCONT");
    }
    await view.until("the room to be given back", async () => (await committed()) === 0);
    await first.untilReady();
  });

  it("gives the room on healthy nodes back when one of its nodes is lost", async () => {
    const { second, view } = installation;
    await runWork(installation, "torn", { gpus: 3, pods: 2, graceSeconds: 1 }, "Running");
    await second.signal("kubelet", "SIGSTOP");
    try {
      await jobSays("torn", /PodDisrupted|PodsLost/);
      await view.apply(workJob("other", { gpus: 2, WORK_STEPS: 1, ...on("real-1") }));
      await teamJobIs(installation, "other", "Succeeded");
      expect((await view.job("team/torn")).status.nodes).to.deep.equal(["real-2"]);
    } finally {
      await second.signal("kubelet", "SIGCONT");
      await second.untilReady();
      await remove("torn");
    }
  });
});
