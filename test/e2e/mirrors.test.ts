import { expect } from "chai";
import { waitFor } from "../../dev/local/wait.ts";
import type { KubeObject } from "../../src/kube/resource.ts";
import { nodesOf, priorityClasses } from "../../src/resources/types.ts";
import type { Job } from "../../src/resources/types.ts";
import { job, owner, plan, priorityClass } from "../support/installation.ts";
import { podType, useTeam } from "../support/team.ts";

const nodeType = nodesOf("nvidia.com/gpu");
/** Where nobody else does, the controller manager collects pods of a node that is gone after 40 to 60 s. */
const collectionMs = 150_000;

interface NodeRow {
  readonly gpus_committed: number;
  readonly gpus_other: number;
  readonly cpu_millis_other: number;
  readonly memory_bytes_other: number;
  readonly pods_other: number;
  readonly present: boolean;
}

/** A pod that another scheduler, or a kubelet, has bound. */
const otherPod = (
  name: string,
  nodeName: string,
  spec: object = {},
  metadata: object = {},
): KubeObject => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, namespace: "default", ...metadata },
  spec: { nodeName, containers: [{ name: "main", image: "none.example/none:1" }], ...spec },
});
const asking = (requests: Readonly<Record<string, string>>) => ({
  name: "main",
  image: "none.example/none:1",
  resources: { requests, limits: requests },
});

describe("the mirror of the cluster", function () {
  const team = useTeam();
  const { submit, run, stateOf } = team;

  const waitingFor = (name: string, words: RegExp): Promise<Job> =>
    team.until(name, `wait with ${words}`, ({ status }) => {
      return status.state !== "Running" && words.test(status.message ?? "");
    });

  const patchNode = (name: string, patch: object, subresource = ""): Promise<unknown> =>
    team.view.client.raw("PATCH", `/api/v1/nodes/${name}${subresource}`, patch, {
      contentType: "application/merge-patch+json",
    });

  async function nodeRow(name: string): Promise<NodeRow | undefined> {
    const { rows } = await team.database.pool.query<NodeRow>(
      `SELECT gpus_committed, gpus_other, cpu_millis_other::float8, memory_bytes_other::float8,
        pods_other, present FROM nodes WHERE name = $1`,
      [name],
    );
    return rows[0];
  }

  const failuresOf = async (name: string): Promise<number | undefined> =>
    (await team.row(name))?.failures;

  describe("other pods", () => {
    it("count in all resources, by effective requests, until they end", async () => {
      const { view } = team;
      await team.pool("shared");
      const pod = otherPod("static", "shared-1", {
        containers: [asking({ cpu: "2", memory: "3Gi", "nvidia.com/gpu": "3" })],
        initContainers: [{ ...asking({ cpu: "6", memory: "1Gi" }), name: "first" }],
      });
      await view.client.create(podType, pod);
      await view.until(
        "the pod to be counted",
        async () => (await nodeRow("shared-1"))?.gpus_other === 3,
      );
      expect(await nodeRow("shared-1")).to.include({
        cpu_millis_other: 6000,
        memory_bytes_other: 3 * 2 ** 30,
        pods_other: 1,
      });
      await submit("beside", { gpus: 6, pool: "shared" });
      await waitingFor(
        "beside",
        /needs 6 GPUs on one node; the largest matching node, shared-1, has 5/,
      );
      await view.client.delete(podType, "default/static");
      await stateOf("beside", "Running");
      expect(await nodeRow("shared-1")).to.include({ pods_other: 0, cpu_millis_other: 0 });
    });

    it("count while they terminate, and not afterwards", async () => {
      const { view } = team;
      await team.pool("ending");
      const slow = { "rota.dev/simulate-termination-seconds": "3600" };
      const quick = { "rota.dev/simulate-run-seconds": "0" };
      const gpus = (count: string) => ({ containers: [asking({ "nvidia.com/gpu": count })] });
      await view.client.create(
        podType,
        otherPod("slow", "ending-1", gpus("2"), { annotations: slow }),
      );
      await view.client.create(
        podType,
        otherPod("quick", "ending-1", gpus("4"), { annotations: quick }),
      );
      await view.until(
        "one to end",
        async () => podType.project(await view.rawPod("default/quick")).phase === "Succeeded",
      );
      await view.until(
        "the other to be counted alone",
        async () => (await nodeRow("ending-1"))?.gpus_other === 2,
      );
      await view.client.delete(podType, "default/slow");
      const { deleting } = podType.project(await view.rawPod("default/slow"));
      expect(deleting).to.equal(true);
      await submit("ending", { gpus: 7, pool: "ending" });
      await waitingFor("ending", /has 6/);
      await view.client.delete(podType, "default/slow", { gracePeriodSeconds: 0 });
      await stateOf("ending", "Running");
    });

    it("count by their number, where a node takes few", async () => {
      const { view } = team;
      await team.pool("crowded", { pods: 3 });
      for (const name of ["first", "second"])
        await view.client.create(podType, otherPod(`crowd-${name}`, "crowded-1"));
      await view.until(
        "both to be counted",
        async () => (await nodeRow("crowded-1"))?.pods_other === 2,
      );
      await run("fits", { gpus: 1, pool: "crowded" });
      await submit("crowded", { gpus: 1, pool: "crowded" });
      await waitingFor("crowded", /1 pod slot.*crowded-1/);
    });

    it("count even with a job's labels", async () => {
      const { view } = team;
      await team.pool("forged");
      const labels = { "rota.dev/job": "beside", "rota.dev/job-uid": "u", "rota.dev/attempt": "1" };
      const spec = { containers: [asking({ "nvidia.com/gpu": "2" })] };
      await view.client.create(podType, otherPod("forged", "forged-1", spec, { labels }));
      await view.until(
        "the pod to be counted",
        async () => (await nodeRow("forged-1"))?.gpus_other === 2,
      );
    });
  });

  describe("a node", () => {
    it("that is cordoned keeps its jobs and takes no more", async () => {
      await team.pool("cordoned");
      const before = await run("stays", { gpus: 2, pool: "cordoned" });
      await patchNode("cordoned-1", { spec: { unschedulable: true } });
      await submit("shut-out", { gpus: 1, pool: "cordoned" });
      await waitingFor("shut-out", /1 cordoned or not ready/);
      const after = await team.job("stays");
      expect(after.status).to.include({ state: "Running", attempt: before.status.attempt });
      await patchNode("cordoned-1", { spec: { unschedulable: false } });
      await stateOf("shut-out", "Running");
    });

    it("that is not ready loses pods without failing the job", async () => {
      await team.pool("unready");
      const tolerations = [
        {
          key: "node.kubernetes.io/not-ready",
          operator: "Exists",
          effect: "NoExecute",
          tolerationSeconds: 1,
        },
      ];
      const { spec } = job("team", "moved", { gpus: 2, pool: "unready" }) as unknown as {
        spec: { template: { spec: object } };
      };
      const template = { spec: { ...spec.template.spec, tolerations } };
      await run("moved", { gpus: 2, pool: "unready", spec: { template } });
      await patchNode("unready-1", {
        metadata: { annotations: { "rota.dev/simulate-ready": "False" } },
      });
      await waitingFor("moved", /1 cordoned or not ready/);
      expect(await failuresOf("moved")).to.equal(0);
      expect((await nodeRow("unready-1"))?.gpus_committed).to.equal(0);
      await patchNode("unready-1", {
        metadata: { annotations: { "rota.dev/simulate-ready": "True" } },
      });
      expect((await stateOf("moved", "Running")).status.attempt).to.equal(2);
    });

    it("that shrinks below its commitments keeps jobs, takes none", async () => {
      await team.pool("shrunk");
      await run("large", { gpus: 6, pool: "shrunk" });
      const capacity = (gpus: string) => ({
        status: { capacity: { "nvidia.com/gpu": gpus }, allocatable: { "nvidia.com/gpu": gpus } },
      });
      await patchNode("shrunk-1", capacity("4"), "/status");
      await submit("late", { gpus: 1, pool: "shrunk" });
      await waitingFor("late", /the closest fit, shrunk-1, has 0 free/);
      expect((await nodeRow("shrunk-1"))?.gpus_committed).to.equal(6);
      expect((await team.job("large")).status).to.include({
        state: "Running",
        attempt: 1,
      });
      await patchNode("shrunk-1", capacity("7"), "/status");
      await stateOf("late", "Running");
      expect((await nodeRow("shrunk-1"))?.gpus_committed).to.equal(7);
    });

    it("that changes its pool takes its committed capacity along", async () => {
      await team.pool("from", { count: 2 });
      await team.view.apply(plan("all-of-to", { owner, pool: "to" }));
      const settled = await run("settled", { gpus: 5, pool: "from" });
      const [node = ""] = settled.status.nodes ?? [];
      await patchNode(node, { metadata: { labels: { "rota.dev/pool": "to" } } });
      await team.view.until("the node to be in its new pool", async () => {
        const { rows } = await team.database.pool.query("SELECT pool FROM nodes WHERE name = $1", [
          node,
        ]);
        return rows[0]?.pool === "to";
      });
      // The new pool has what the job leaves; the old one has its other node only.
      await submit("too-much", { gpus: 4, pool: "to" });
      await waitingFor("too-much", /needs 4 GPUs on one node; the closest fit, .*, has 3 free/);
      // A job that waits keeps its best node from those behind it.
      await team.cancel("too-much");
      expect((await run("newcomer", { gpus: 3, pool: "to" })).status.nodes).to.deep.equal([node]);
      expect((await run("left", { gpus: 8, pool: "from" })).status.nodes).not.to.deep.equal([node]);
      await submit("behind", { gpus: 1, pool: "from" });
      await waitingFor("behind", /has 0 free/);
      expect((await team.job("settled")).status).to.include({
        state: "Running",
        attempt: 1,
      });
      expect((await nodeRow(node))?.gpus_committed).to.equal(8);
    });

    it("that is gone returns its job without a failure", async () => {
      const { view, cluster } = team;
      await team.pool("gone");
      await run("survivor", { gpus: 8, pool: "gone", parallelism: 1 });
      await view.client.delete(nodeType, "gone-1");
      await cluster.addNodes({ count: 1, gpus: 8, pool: "gone", namePrefix: "spare-" });
      const moved = await waitFor(
        async () => {
          const found = await team.job("survivor");
          return found.status.state === "Running" && found.status.attempt === 2 && found;
        },
        { what: "the job to run elsewhere", timeoutMs: collectionMs },
      );
      expect(moved.status.nodes).to.deep.equal(["spare-1"]);
      expect(await failuresOf("survivor")).to.equal(0);
      const pods = await team.pods("survivor");
      expect(pods.map(({ nodeName }) => nodeName)).to.deep.equal(["spare-1"]);
      expect(await nodeRow("gone-1")).to.equal(undefined);
    });

    it("that is drained returns its job without a failure", async () => {
      const { view } = team;
      await team.pool("drained", { count: 2 });
      const annotations = { "rota.dev/simulate-termination-exit-code": "143" };
      const before = await run("drained", { gpus: 8, pool: "drained", annotations });
      await view.client.evict("team/drained-1-0");
      const moved = await team.runs("drained", 2);
      expect(before.status.attempt).to.equal(1);
      expect(moved.status.state).to.equal("Running");
      expect(await failuresOf("drained")).to.equal(0);
    });
  });

  describe("a pool label that flaps", () => {
    const operateWith = async (settings: Readonly<Record<string, string>>) => {
      await team.operator.stop();
      await team.operate(settings);
    };
    before(() => operateWith({ ROTA_POOL_CHANGE_SECONDS: "600" }));
    after(() => operateWith({}));

    it("loses nobody's promise", async () => {
      const { view, database } = team;
      await team.pool("flap");
      const high = { pool: "flap", gpus: 4, priorityClassName: "high" };
      await run("on-flap", high);
      await run("off-flap", {
        ...high,
        priorityClassName: "low",
        annotations: { "rota.dev/simulate-termination-seconds": "600" },
      });
      await submit("promised", high);
      await stateOf("promised", "Reserved");
      const relabel = async (pool: string | null) => {
        await patchNode("flap-1", { metadata: { labels: { "rota.dev/pool": pool } } });
        await view.until(`label ${pool} to be mirrored`, async () => {
          const { rows } = await database.pool.query<{ label: string | null }>(
            "SELECT labels ->> 'rota.dev/pool' AS label FROM nodes WHERE name = 'flap-1'",
          );
          return rows[0]?.label === pool;
        });
      };
      await relabel(null);
      // Its pool decides while the label is away.
      await submit("behind-flap", { pool: "flap", gpus: 1 });
      await team.waits("behind-flap");
      await team.letGo("off-flap");
      await stateOf("promised", "Running");
      await relabel("flap");
      for (const name of ["promised", "on-flap"])
        expect((await team.job(name)).status).to.include({ state: "Running", attempt: 1 });
      const { rows } = await database.pool.query(
        "SELECT outcome FROM preemptions WHERE preemptor = 'team/promised'",
      );
      expect(rows).to.deep.equal([{ outcome: "Started" }]);
    });
  });

  describe("a priority class", () => {
    const priorityOf = (name: string, priority: number): Promise<Job> =>
      team.until(name, `have priority ${priority}`, ({ status }) => status.priority === priority);
    const isDefault = (name: string, value: number): KubeObject => ({
      ...priorityClass(name, value),
      globalDefault: true,
    });

    before(async () => {
      await team.pool("ranked");
      await run("filler", { gpus: 8, pool: "ranked", priorityClassName: "high" });
    });

    it("that is recreated is followed by waiting jobs only", async () => {
      const { view } = team;
      await view.apply(priorityClass("shifting", 10));
      await team.pool("other");
      await run("runs", { gpus: 1, pool: "other", priorityClassName: "shifting" });
      await view.apply(priorityClass("steady", 100));
      await submit("first", { gpus: 1, pool: "ranked", priorityClassName: "steady" });
      await submit("second", { gpus: 1, pool: "ranked", priorityClassName: "shifting" });
      await view.until("the order of the queue", async () => {
        const positions = await Promise.all(["first", "second"].map(team.job));
        return positions.map(({ status }) => status.queuePosition).join() === "1,2";
      });

      await view.client.delete(priorityClasses, "shifting");
      await view.until("the class to be forgotten", async () => {
        const { rows } = await team.database.pool.query(
          "SELECT FROM priority_classes WHERE name = 'shifting'",
        );
        return rows.length === 0;
      });
      expect((await team.job("second")).status).to.include({ state: "Pending", priority: 10 });

      await view.apply(priorityClass("shifting", 500, "Never"));
      await priorityOf("second", 500);
      await view.until("the new order of the queue", async () => {
        const positions = await Promise.all(["first", "second"].map(team.job));
        return positions.map(({ status }) => status.queuePosition).join() === "2,1";
      });
      const { rows } = await team.database.pool.query(
        "SELECT name, priority, preempts FROM jobs WHERE name IN ('second', 'runs') ORDER BY name",
      );
      expect(rows).to.deep.equal([
        { name: "runs", priority: 10, preempts: true },
        { name: "second", priority: 500, preempts: false },
      ]);
    });

    it("that becomes the default is followed by jobs without one", async () => {
      const { view } = team;
      await view.apply(job("team", "unnamed", { gpus: 1, pool: "ranked" }));
      await priorityOf("unnamed", 0);
      await view.apply(isDefault("normal", 50));
      await priorityOf("unnamed", 50);
      await view.client.delete(priorityClasses, "normal");
      await priorityOf("unnamed", 0);
    });

    it("that changed without an operator is followed by the next", async () => {
      const { view } = team;
      await view.apply(priorityClass("sleeping", 20));
      await submit("sleeper", { gpus: 1, pool: "ranked", priorityClassName: "sleeping" });
      await priorityOf("sleeper", 20);
      await team.operator.stop();
      await view.client.delete(priorityClasses, "sleeping");
      await view.apply(priorityClass("sleeping", 30));
      await team.operate();
      await priorityOf("sleeper", 30);
    });
  });
});
