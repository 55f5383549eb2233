/** What becomes of jobs whose kubelet ends their pods to save the node. */
import { expect } from "chai";
import type { Job } from "../../src/resources/types.ts";
import { teamJobIs } from "../support/installation.ts";
import { kubectl } from "../support/kubectl.ts";
import { workImage } from "../../dev/local/real-nodes/programs.ts";
import { type RealInstallation, startRealInstallation } from "./support/real-installation.ts";
import { describeOnRealNodes } from "./support/required.ts";
import { runWork, workJob } from "./support/work.ts";

const onFirst = { pod: { nodeSelector: { "kubernetes.io/hostname": "real-1" } } };

describeOnRealNodes("a job whose node saves itself", () => {
  let installation: RealInstallation;

  before(async () => {
    installation = await startRealInstallation();
  });

  after(async () => {
    await installation?.stop();
  });

  const untilJob = (name: string, what: string, is: (job: Job) => boolean): Promise<Job> =>
    installation.view.untilJob(`team/${name}`, what, is);

  /** The pod ended through no fault of the job's: the job runs again once the node is itself again. */
  async function runsAgain(name: string): Promise<void> {
    const { status } = await untilJob(name, "run again", (job) => job.status.attempt === 2);
    expect(status.state).not.to.equal("Failed");
    await teamJobIs(installation, name, "Running");
    await installation.view.remove(workJob(name));
  }

  it("gives way to a critical static pod", async () => {
    const { first, cluster } = installation;
    await runWork(installation, "yields", onFirst, "Running");
    const path = "-o=jsonpath={.status.allocatable.cpu}";
    const cpu = (await kubectl(cluster, "get", "node", "real-1", path)).stdout;
    first.addStaticPod("critical", {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "critical", namespace: "kube-system" },
      spec: {
        priorityClassName: "system-node-critical",
        priority: 2_000_001_000,
        containers: [{ name: "main", image: workImage, resources: { requests: { cpu } } }],
      },
    });
    try {
      await untilJob("yields", "wait for the node", ({ status }) => status.state === "Pending");
    } finally {
      first.removeStaticPod("critical");
    }
    await runsAgain("yields");
  });

  it("waits while its node is short of memory", async () => {
    const { first } = installation;
    await runWork(installation, "pressed", onFirst, "Running");
    const pressed = { "memory.available": "99%" };
    first.configureKubelet({ evictionHard: pressed, evictionPressureTransitionPeriod: "1s" });
    await first.restart("kubelet");
    try {
      const waiting = await untilJob("pressed", "name the pressure", ({ status }) =>
        /node.kubernetes.io\/memory-pressure/.test(status.message ?? ""),
      );
      expect(waiting.status).to.include({ state: "Pending", reason: "AwaitingNodes" });
    } finally {
      first.configureKubelet({});
      await first.restart("kubelet");
    }
    await runsAgain("pressed");
  });
});
