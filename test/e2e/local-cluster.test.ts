/** The launcher itself: everything else end to end stands on it. */
import { expect } from "chai";
import { execFile, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Cluster, startCluster } from "../../dev/local/cluster.ts";
import { startPostgres } from "../../dev/local/postgres.ts";
import { readProcesses } from "../../dev/local/process-file.ts";
import { identityOf, isRunning } from "../../dev/local/processes.ts";
import { waitFor } from "../../dev/local/wait.ts";

const run = promisify(execFile);
const timeoutMs = 30_000;

let folder: string;
let cluster: Cluster;
let neighbour: Cluster;

const kubectl = async (...args: string[]): Promise<string> =>
  (await run(cluster.kubectl, [`--kubeconfig=${cluster.kubeconfig}`, ...args])).stdout;

const apply = async (manifest: object): Promise<void> => {
  const file = join(folder, "manifest.json");
  writeFileSync(file, JSON.stringify(manifest));
  await kubectl("apply", "-f", file);
};

interface PodOptions {
  readonly annotations?: Readonly<Record<string, string>>;
  readonly labels?: Readonly<Record<string, string>>;
  readonly gpus?: number;
}

const pod = (name: string, { annotations = {}, labels = {}, gpus = 1 }: PodOptions = {}) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, annotations, labels },
  spec: {
    restartPolicy: "Never",
    containers: [
      { name: "main", image: "example", resources: { limits: { "nvidia.com/gpu": String(gpus) } } },
    ],
  },
});

const jsonPath = (path: string, ...args: string[]): Promise<string> =>
  kubectl("get", ...args, `-o=jsonpath=${path}`);

const untilPod = (name: string, path: string, expected: string): Promise<boolean> =>
  waitFor(async () => (await jsonPath(path, "pod", name)) === expected, {
    what: `${path} of pod ${name} to be "${expected}"`,
    timeoutMs,
  });

const evict = async (name: string): Promise<string> => {
  const body = join(folder, "eviction.json");
  const eviction = { apiVersion: "policy/v1", kind: "Eviction", metadata: { name } };
  writeFileSync(body, JSON.stringify(eviction));
  const path = `/api/v1/namespaces/default/pods/${name}/eviction`;
  return kubectl("create", "--raw", path, "-f", body);
};

const failureOf = async (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "no failure",
    (error: unknown) => String(error),
  );

const allGone = (pids: readonly number[]): Promise<boolean> =>
  waitFor(() => pids.every((pid) => identityOf(pid) === undefined), {
    what: `processes ${pids.join(", ")} to be gone`,
    timeoutMs,
  });

describe("the local cluster", () => {
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "rota-local-"));
    // PostgreSQL, which runs as another account when this is root, passes through.
    chmodSync(folder, 0o755);
    cluster = await startCluster({ directory: join(folder, "one"), nodes: 2, gpusPerNode: 4 });
    neighbour = await startCluster({ directory: join(folder, "two"), nodes: 1 });
  });

  after(async () => {
    const pids = [cluster, neighbour].flatMap((started) => Object.values(started?.pids ?? {}));
    await Promise.all([cluster?.stop(), neighbour?.stop()]);
    expect(pids.filter((pid) => identityOf(pid) !== undefined)).to.deep.equal([]);
    rmSync(folder, { recursive: true, force: true });
  });

  it("runs beside another one", async () => {
    const nodes = "{.items[*].metadata.name}";
    expect(await jsonPath(nodes, "nodes")).to.equal("node-1 node-2");
    const { stdout } = await run(neighbour.kubectl, [
      `--kubeconfig=${neighbour.kubeconfig}`,
      "get",
      "nodes",
      `-o=jsonpath=${nodes}`,
    ]);
    expect(stdout).to.equal("node-1");
    expect(neighbour.server).not.to.equal(cluster.server);
  });

  it("schedules a pod with a GPU limit", async () => {
    await apply(pod("gpu"));
    await untilPod("gpu", "{.status.phase}", "Running");
    expect(await jsonPath("{.spec.nodeName}", "pod", "gpu")).to.match(/^node-[12]$/);
    await kubectl("delete", "pod", "gpu", `--timeout=${timeoutMs}ms`);
  });

  it("leaves a pod pending that exceeds every node", async () => {
    await apply(pod("too-big", { gpus: 5 }));
    const reason = '{.status.conditions[?(@.type=="PodScheduled")].reason}';
    await untilPod("too-big", reason, "Unschedulable");
    await kubectl("delete", "pod", "too-big", "--wait=false");
  });

  for (const [exitCode, phase] of [
    ["0", "Succeeded"],
    ["3", "Failed"],
  ] as const) {
    it(`completes an annotated pod with exit code ${exitCode}`, async () => {
      const name = `exits-${exitCode}`;
      const annotations = {
        "rota.dev/simulate-run-seconds": "0",
        "rota.dev/simulate-exit-code": exitCode,
      };
      await apply(pod(name, { annotations }));
      await untilPod(name, "{.status.phase}", phase);
      const path = "{.status.containerStatuses[0].state.terminated.exitCode}";
      expect(await jsonPath(path, "pod", name)).to.equal(exitCode);
    });
  }

  it("ends a pod at its deadline", async () => {
    const late = pod("late");
    await apply({ ...late, spec: { ...late.spec, activeDeadlineSeconds: 1 } });
    await untilPod("late", "{.status.reason}", "DeadlineExceeded");
  });

  it("keeps a deleted pod for its annotation's time and code", async () => {
    const annotations = {
      "rota.dev/simulate-termination-seconds": "3600",
      "rota.dev/simulate-termination-exit-code": "143",
    };
    const slow = pod("slow", { annotations });
    // Keeps the object to look at when the simulated kubelet has let it go.
    await apply({ ...slow, metadata: { ...slow.metadata, finalizers: ["rota.dev/test"] } });
    await untilPod("slow", "{.status.phase}", "Running");
    await kubectl("delete", "pod", "slow", "--wait=false");
    expect(await jsonPath("{.status.phase}", "pod", "slow")).to.equal("Running");
    const now = "rota.dev/simulate-termination-seconds=1";
    await kubectl("annotate", "pod", "slow", now, "--overwrite");
    const exitCode = "{.status.containerStatuses[0].state.terminated.exitCode}";
    await untilPod("slow", exitCode, "143");
    expect(await jsonPath("{.status.phase}", "pod", "slow")).to.equal("Failed");
    await untilPod("slow", "{.metadata.deletionGracePeriodSeconds}", "0");
    await kubectl("patch", "pod", "slow", "--type=merge", '-p={"metadata":{"finalizers":null}}');
    await kubectl("wait", "pod", "slow", "--for=delete", `--timeout=${timeoutMs}ms`);
  });

  it("evicts a pod, but not one that a budget protects", async () => {
    const labels = { app: "guarded" };
    await apply(pod("guarded", { labels }));
    await apply(pod("free"));
    await untilPod("guarded", "{.status.phase}", "Running");
    await untilPod("free", "{.status.phase}", "Running");
    await apply({
      apiVersion: "policy/v1",
      kind: "PodDisruptionBudget",
      metadata: { name: "guard" },
      spec: { minAvailable: 1, selector: { matchLabels: labels } },
    });
    const healthy = (): Promise<string> => jsonPath("{.status.currentHealthy}", "pdb", "guard");
    await waitFor(async () => (await healthy()) === "1", { what: "the budget", timeoutMs });
    expect(await failureOf(evict("guarded"))).to.include("disruption budget");
    expect(JSON.parse(await evict("free"))).to.include({ kind: "Status", status: "Success" });
    await kubectl("wait", "pod", "free", "--for=delete", `--timeout=${timeoutMs}ms`);
    expect(await jsonPath("{.status.phase}", "pod", "guarded")).to.equal("Running");
  });

  it("makes a node fail and recover by an annotation", async () => {
    const ready = '{.status.conditions[?(@.type=="Ready")].status}';
    const until = (status: string): Promise<boolean> =>
      waitFor(async () => (await jsonPath(ready, "node", "node-2")) === status, {
        what: `node-2 to be ready: ${status}`,
        timeoutMs,
      });
    await kubectl("annotate", "node", "node-2", "rota.dev/simulate-ready=Unknown");
    await until("Unknown");
    await kubectl("annotate", "node", "node-2", "rota.dev/simulate-ready-");
    await until("True");
  });

  it("adds nodes of a pool", async () => {
    const names = await cluster.addNodes({
      count: 2,
      gpus: 0,
      cpus: 8,
      pool: "cpu",
      namePrefix: "c-",
    });
    expect(names).to.deep.equal(["c-1", "c-2"]);
    const listed = await jsonPath("{.items[*].metadata.name}", "nodes", "-l", "rota.dev/pool=cpu");
    expect(listed).to.equal("c-1 c-2");
  });

  it("knows other users, with their groups", async () => {
    const kubeconfig = await cluster.user("ada", ["team-a"]);
    const args = [`--kubeconfig=${kubeconfig}`, "auth", "whoami", "-o=json"];
    const { stdout } = await run(cluster.kubectl, args);
    const { userInfo } = JSON.parse(stdout).status;
    expect(userInfo.username).to.equal("ada");
    expect(userInfo.groups).to.include("team-a");
    const list = run(cluster.kubectl, [`--kubeconfig=${kubeconfig}`, "get", "pods"]);
    expect(await failureOf(list)).to.include("forbidden");
  });

  it("continues after its API server was killed", async () => {
    await apply(pod("survivor"));
    await untilPod("survivor", "{.status.phase}", "Running");
    const before = cluster.pids["kube-apiserver"];
    await cluster.kill("kube-apiserver", "SIGKILL");
    expect(await failureOf(kubectl("get", "nodes"))).to.include("refused");
    await cluster.restart("kube-apiserver");
    expect(cluster.pids["kube-apiserver"]).not.to.equal(before);
    expect(await jsonPath("{.status.phase}", "pod", "survivor")).to.equal("Running");
    await apply(pod("later"));
    await untilPod("later", "{.status.phase}", "Running");
  });

  it("refuses a second cluster in the same folder", async () => {
    const second = startCluster({ directory: cluster.directory });
    expect(await failureOf(second)).to.include("a cluster runs in");
  });

  it("leaves no process when its parent is killed", async () => {
    const directories = { cluster: join(folder, "orphan"), postgres: join(folder, "orphan-pg") };
    const script = `
      const { startCluster } = await import("${join(import.meta.dirname, "../../dev/local/cluster.ts")}");
      const { startPostgres } = await import("${join(import.meta.dirname, "../../dev/local/postgres.ts")}");
      await startCluster({ directory: "${directories.cluster}", nodes: 1 });
      await startPostgres({ directory: "${directories.postgres}" });
      console.log("up");
      setInterval(() => undefined, 1000);
    `;
    const parent = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await new Promise((resolve) => parent.stdout.once("data", resolve));
    const records = Object.values(directories).flatMap(readProcesses);
    expect(records.map(({ name }) => name)).to.have.members([
      "etcd",
      "kube-apiserver",
      "kube-controller-manager",
      "kube-scheduler",
      "kwok",
      "postgres",
    ]);
    expect(records.every(isRunning)).to.equal(true);
    parent.kill("SIGKILL");
    await allGone(records.map(({ pid }) => pid));
  });

  it("stops quickly and leaves no process", async () => {
    const started = await startCluster({ directory: join(folder, "short"), nodes: 0 });
    const postgres = await startPostgres({ directory: join(folder, "short-pg") });
    const pids = [...Object.values(started.pids), postgres.pid];
    expect(pids).to.have.lengthOf(6);
    await Promise.all([started.stop(), postgres.stop()]);
    expect(pids.filter((pid) => identityOf(pid) !== undefined)).to.deep.equal([]);
  });
});
