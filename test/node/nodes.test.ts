/** Real nodes themselves: the rest of this folder stands on them. */
import { expect } from "chai";
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Cluster, type RealNode, startCluster } from "../../dev/local/cluster.ts";
import { waitFor } from "../../dev/local/wait.ts";
import { workImage } from "../../dev/local/real-nodes/programs.ts";
import { kubectl } from "../support/kubectl.ts";
import { describeOnRealNodes } from "./support/required.ts";
import {
  alive,
  cgroupFolders,
  cgroupOf,
  mountsBelow,
  networkInterfaces,
  processesIn,
} from "./support/traces.ts";

const timeoutMs = 60_000;
const clusterModule = join(import.meta.dirname, "../../dev/local/cluster.ts");
/** What the kubelet would set for the whole machine. */
const kernelSettings = ["vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops"];
/** Where kubelet, containerd and CNI keep their things on a machine of their own. */
const usualFolders = ["/var/lib/kubelet", "/var/lib/containerd", "/var/lib/cni", "/run/containerd"];

const pod = (name: string, spec: object = {}) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name },
  spec: {
    restartPolicy: "Never",
    containers: [{ name: "main", image: workImage, resources: { limits: { cpu: "50m" } } }],
    terminationGracePeriodSeconds: 1,
    ...spec,
  },
});

describeOnRealNodes("real nodes", () => {
  let folder: string;
  let cluster: Cluster;
  let first: RealNode;
  const parents: ChildProcess[] = [];

  const read = (file: string): string => readFileSync(`/proc/sys/${file}`, "utf8");
  const machineBefore = {
    interfaces: networkInterfaces(),
    kernel: kernelSettings.map(read),
    folders: usualFolders.filter((name) => existsSync(name)),
  };
  const machineNow = () => ({
    interfaces: networkInterfaces(),
    kernel: kernelSettings.map(read),
    folders: usualFolders.filter((name) => existsSync(name)),
  });

  const get = async (path: string, ...args: string[]): Promise<string> =>
    (await kubectl(cluster, "get", ...args, `-o=jsonpath=${path}`)).stdout;

  const apply = async (manifest: object): Promise<void> => {
    const file = join(folder, "manifest.json");
    writeFileSync(file, JSON.stringify(manifest));
    await kubectl(cluster, "apply", "-f", file);
  };

  const until = (what: string, probe: () => Promise<boolean>): Promise<boolean> =>
    waitFor(probe, { what, timeoutMs });

  const runs = (name: string): Promise<boolean> =>
    until(
      `pod ${name} to run`,
      async () => (await get("{.status.phase}", "pod", name)) === "Running",
    );

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "rota-node-"));
    const nodeMonitoring = { gracePeriodSeconds: 20, periodSeconds: 2, tolerationSeconds: 300 };
    const realNodes = { count: 1, gpusPerNode: 4, pool: "real" };
    cluster = await startCluster({
      directory: join(folder, "one"),
      nodes: 1,
      realNodes,
      nodeMonitoring,
    });
    const [node] = cluster.realNodes;
    if (!node) throw new Error("no real node");
    first = node;
  });

  after(async () => {
    for (const parent of parents) parent.kill("SIGKILL");
    const pids = cluster ? [...processesIn(first), ...Object.values(cluster.pids)] : [];
    const cgroup = cluster ? cgroupOf(first) : "none";
    await cluster?.stop();
    expect(alive(pids), "processes").to.deep.equal([]);
    expect(cgroupFolders(cgroup), "cgroups").to.deep.equal([]);
    expect(mountsBelow(folder), "mounts").to.deep.equal([]);
    rmSync(folder, { recursive: true, force: true });
  });

  it("join beside simulated ones, which go on sending heartbeats", async () => {
    const ready =
      '{range .items[*]}{.metadata.name}={.status.conditions[?(@.type=="Ready")].status} {end}';
    expect((await get(ready, "nodes")).trim()).to.equal("node-1=True real-1=True");
    expect(await get("{.status.nodeInfo.containerRuntimeVersion}", "node", "real-1")).to.match(
      /^containerd:/,
    );
    expect(await get("{.metadata.labels.rota\\.dev/pool}", "node", "real-1")).to.equal("real");
    const renewed = (): Promise<string> =>
      get("{.spec.renewTime}", "lease", "node-1", "--namespace=kube-node-lease");
    const before = await renewed();
    await until(
      "the simulated node's lease to be renewed",
      async () => (await renewed()) !== before,
    );
  });

  it("leave the machine as it is", () => {
    expect(machineNow()).to.deep.equal(machineBefore);
  });

  it("may change no other node", async () => {
    const kubeconfig = join(first.root, "etc/kubernetes/kubelet.kubeconfig");
    const config = readFileSync(kubeconfig, "utf8").replace("https://10.0.0.1:443", cluster.server);
    const outside = join(folder, "kubelet.kubeconfig");
    writeFileSync(outside, config);
    const label = ["label", "node", "node-1", "rota.dev/pool=mine", `--kubeconfig=${outside}`];
    const refusal = await kubectl(cluster, ...label).catch((error: Error) => error.message);
    expect(refusal).to.include("only its own Node object");
    const own = ["label", "node", "real-1", "node-restriction.kubernetes.io/secret=yes"];
    const second = await kubectl(cluster, ...own, `--kubeconfig=${outside}`).catch(
      (error: Error) => error.message,
    );
    expect(second).to.include("is not allowed to modify labels");
  });

  it("run static pods", async () => {
    first.addStaticPod("beacon", { ...pod("beacon"), metadata: { name: "beacon" } });
    await runs("beacon-real-1");
    const containers = await first.containers();
    expect(
      containers
        .filter(({ pod }) => pod === "beacon-real-1")
        .map(({ name }) => name)
        .sort(),
    ).to.deep.equal(["", "main"]);
    first.removeStaticPod("beacon");
    await until("the static pod to end", async () =>
      (await first.containers()).every((container) => container.pod !== "beacon-real-1"),
    );
  });

  it("let pods reach the API server only", async () => {
    await apply(pod("caller", { nodeName: "real-1" }));
    await runs("caller");
    const dial = (address: string): Promise<unknown> =>
      kubectl(cluster, "exec", "caller", "--", "/bin/work", "dial", address);
    await dial("kubernetes.default.svc:443");
    const refusal = await dial("192.0.2.1:80").catch((error: Error) => error.message);
    expect(refusal).to.include("network is unreachable");
  });

  it("keep containers running while kubelet and containerd are killed", async () => {
    await apply(pod("survivor", { nodeName: "real-1" }));
    await runs("survivor");
    const pidBefore = (await first.containers()).find(
      ({ pod, name }) => pod === "survivor" && name === "main",
    )?.pid;
    for (const part of ["kubelet", "containerd"] as const) {
      const former = first.pid(part);
      await first.restart(part);
      expect(first.pid(part)).not.to.equal(former);
    }
    await first.untilReady();
    const after = (await first.containers()).find(
      ({ pod, name }) => pod === "survivor" && name === "main",
    );
    expect(after).to.include({ pid: pidBefore, status: "running" });
  });

  it("follow unhealthy and withdrawn GPUs", async () => {
    first.setHealthyGpus(1);
    await first.untilReady(1);
    first.setHealthyGpus("none");
    await first.untilReady(0);
    first.setHealthyGpus(4);
    await first.untilReady(4);
  });

  it("refuse pods whose GPUs cannot be had", async () => {
    first.refuseGpus("the driver does not answer");
    const limits = { cpu: "50m", "nvidia.com/gpu": "1" };
    const containers = [{ name: "main", image: workImage, resources: { limits } }];
    await apply(pod("refused", { nodeName: "real-1", containers }));
    const reason = (): Promise<string> => get("{.status.reason}", "pod", "refused");
    await until(
      "the pod to be refused",
      async () => (await reason()) === "UnexpectedAdmissionError",
    );
    expect(await get("{.status.message}", "pod", "refused")).to.include("driver does not answer");
    first.refuseGpus(undefined);
  });

  for (const [name, limits] of Object.entries({
    OutOfcpu: { cpu: "1000" },
    // Devices are allocated before the kubelet compares requests with its node.
    UnexpectedAdmissionError: { cpu: "50m", "nvidia.com/gpu": "5" },
  })) {
    it(`refuse pods that they have no room for: ${name}`, async () => {
      const containers = [{ name: "main", image: workImage, resources: { limits } }];
      const large = name.toLowerCase();
      await apply(pod(large, { nodeName: "real-1", containers }));
      const reason = (): Promise<string> => get("{.status.reason}", "pod", large);
      await until("the pod to be refused", async () => (await reason()) === name);
    });
  }

  it("are not ready while kubelet or network fails", async () => {
    const ready = (): Promise<string> =>
      get('{.status.conditions[?(@.type=="Ready")].status}', "node", "real-1");
    await first.signal("kubelet", "SIGSTOP");
    await until("the node to be lost", async () => (await ready()) === "Unknown");
    await first.signal("kubelet", "SIGCONT");
    await first.untilReady();
    await first.setConnected(false);
    await until("the node to be lost", async () => (await ready()) === "Unknown");
    await first.setConnected(true);
    await first.untilReady();
  });

  it("come back after a power cut, with their disk", async () => {
    writeFileSync(join(first.root, "var/lib/mark"), "kept");
    const pids = processesIn(first);
    await first.cutPower();
    await until("all processes to be gone", async () => alive(pids).length === 0);
    await first.powerOn();
    await first.untilReady();
    expect(await first.run("cat", "/var/lib/mark")).to.equal("kept");
  });

  it("leave nothing when their starter is killed", async () => {
    const directory = join(folder, "orphan");
    const script = `
      const { startCluster } = await import(${JSON.stringify(clusterModule)});
      const cluster = await startCluster({ directory: ${JSON.stringify(directory)}, nodes: 0, realNodes: { count: 2 } });
      console.log(JSON.stringify(cluster.realNodes.map((node) => ({ ...node, kubelet: node.pid("kubelet") }))));
      setInterval(() => undefined, 1000);
    `;
    const parent = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const line: Buffer = await new Promise((resolve) => parent.stdout.once("data", resolve));
    parents.push(parent);
    const seen: { root: string; kubelet: number }[] = JSON.parse(line.toString());
    const nodes = seen.map(({ root, kubelet }) => ({ ...first, root, pid: () => kubelet }));
    const pids = nodes.flatMap((node) => processesIn(node));
    const cgroups = nodes.map(cgroupOf);
    // Of each node the first process, containerd, kubelet and the device plugin.
    expect(pids.length).to.be.at.least(2 * 4);
    parent.kill("SIGKILL");
    await until("all processes to be gone", async () => alive(pids).length === 0);
    await until("all cgroups to be gone", async () => cgroups.flatMap(cgroupFolders).length === 0);
    expect(mountsBelow(directory)).to.deep.equal([]);
    expect(machineNow()).to.deep.equal(machineBefore);
    expect(readdirSync(join(directory, "real-nodes")).sort()).to.deep.equal([
      "real-1",
      "real-2",
      "segment",
    ]);
  });
});
