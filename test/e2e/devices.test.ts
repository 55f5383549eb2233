/** Resources besides GPUs, CPU and memory: where they are, how many there are, and who has them. */
import { expect } from "chai";
import type { KubeObject } from "../../src/kube/resource.ts";
import { podType, useTeam } from "../support/team.ts";

const fpga = "example.com/fpga";

describe("resources without a plan type", () => {
  const team = useTeam();

  /** Pool NAME: two nodes with GPUs only, then NAME-with-1, which has the resources, too. */
  async function pool(name: string, resources: Readonly<Record<string, string>>): Promise<void> {
    await team.cluster.addNodes({ count: 2, pool: name, namePrefix: `${name}-` });
    await team.pool(name, { namePrefix: `${name}-with-`, resources });
  }

  const offer = (node: string, count: string): Promise<unknown> =>
    team.view.client.raw(
      "PATCH",
      `/api/v1/nodes/${node}/status`,
      { status: { capacity: { [fpga]: count }, allocatable: { [fpga]: count } } },
      { contentType: "application/merge-patch+json" },
    );

  const asking = (
    requests: Readonly<Record<string, string | number>>,
    more: Readonly<Record<string, unknown>> = {},
  ): Readonly<Record<string, unknown>> => ({
    template: {
      spec: {
        containers: [
          {
            name: "main",
            image: "none.example/none:1",
            resources: { limits: { "nvidia.com/gpu": 1, ...requests } },
          },
        ],
        ...more,
      },
    },
  });

  it("decide where a job starts, at its first attempt", async () => {
    await pool("place", { [fpga]: "2", "hugepages-2Mi": "1Gi", "ephemeral-storage": "100Gi" });
    for (const [name, requests] of Object.entries({
      device: { [fpga]: 1 },
      huge: { "hugepages-2Mi": "512Mi", memory: "1Gi" },
      scratch: { "ephemeral-storage": "50Gi" },
    })) {
      await team.submit(name, { pool: "place", spec: asking(requests) });
      const { status } = await team.stateOf(name, "Running");
      expect(status.attempt, name).to.equal(1);
      expect(status.nodes, name).to.deep.equal(["place-with-1"]);
    }
    const initial = {
      name: "first",
      image: "none.example/none:1",
      resources: { limits: { [fpga]: 1 } },
    };
    await team.submit("initial", {
      pool: "place",
      spec: asking({}, { initContainers: [initial] }),
    });
    expect((await team.stateOf("initial", "Running")).status.nodes).to.deep.equal(["place-with-1"]);
    await team.submit("waits", { pool: "place", spec: asking({ [fpga]: 1 }) });
    const { status } = await team.reasonOf("waits", "InsufficientCapacity");
    expect(status.message).to.include(
      "the closest fit, place-with-1, has 4 GPUs and 0 example.com/fpga free",
    );
  });

  it("are told of where no node has as much", async () => {
    await pool("small", { [fpga]: "1", "ephemeral-storage": "10Gi" });
    await team.submit("two", { pool: "small", spec: asking({ [fpga]: 2 }) });
    const two = await team.reasonOf("two", "TooLargeForPool");
    expect(two.status.message).to.include("needs 1 GPU and 2 example.com/fpga on one node");
    expect(two.status.attempt ?? 0).to.equal(0);
    await team.submit("wide", { pool: "small", spec: asking({ "ephemeral-storage": "1Ti" }) });
    const wide = await team.reasonOf("wide", "TooLargeForPool");
    expect(wide.status.message).to.include("1024 GiB of ephemeral-storage");
    await team.submit("none", { pool: "small", spec: asking({ "nobody.example/x": 1 }) });
    await team.reasonOf("none", "TooLargeForPool");
  });

  it("are preempted from those who have them, and from nobody else", async () => {
    await pool("evict", { [fpga]: "2" });
    const spec = asking({ [fpga]: 1 });
    for (const name of ["one", "other"]) await team.run(name, { pool: "evict", spec });
    await team.run("beside", { pool: "evict", gpus: 6 });
    await team.submit("urgent", { pool: "evict", priorityClassName: "high", spec });
    await team.stateOf("urgent", "Running");
    const states = await Promise.all(
      ["one", "other", "beside"].map(async (name) => (await team.job(name)).status.state),
    );
    expect(states.filter((state) => state === "Running")).to.have.length(2);
    expect(states[2], "the job without FPGAs").to.equal("Running");
    await team.checkInvariants();
  });

  it("count where other pods have them, and when a node gains or loses them", async () => {
    await pool("shared", { [fpga]: "1" });
    const foreign: KubeObject = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "foreign", namespace: "default" },
      spec: {
        nodeName: "shared-with-1",
        containers: [
          { name: "main", image: "none.example/none:1", resources: { limits: { [fpga]: 1 } } },
        ],
      },
    };
    await team.view.client.create(podType, foreign);
    await team.submit("patient", { pool: "shared", spec: asking({ [fpga]: 1 }) });
    await team.reasonOf("patient", "TooLargeForPool");
    await offer("shared-with-1", "2");
    await team.stateOf("patient", "Running");
    await team.submit("next", { pool: "shared", spec: asking({ [fpga]: 1 }) });
    await team.reasonOf("next", "InsufficientCapacity");
    await offer("shared-with-1", "1");
    await team.reasonOf("next", "TooLargeForPool");
    expect((await team.job("patient")).status.state).to.equal("Running");
  });

  it("are awaited where a device plugin reports them as unhealthy", async () => {
    await pool("ailing", { [fpga]: "1" });
    const offered = (allocatable: string) =>
      team.view.client.raw(
        "PATCH",
        "/api/v1/nodes/ailing-with-1/status",
        { status: { capacity: { [fpga]: "1" }, allocatable: { [fpga]: allocatable } } },
        { contentType: "application/merge-patch+json" },
      );
    await offered("0");
    await team.view.until("the loss to be known", async () => {
      const { rows } = await team.database.pool.query<{ unhealthy: number }>(
        "SELECT unhealthy FROM node_resources WHERE node_name = 'ailing-with-1' AND resource = $1",
        [fpga],
      );
      return Number(rows[0]?.unhealthy) === 1;
    });
    await team.submit("hopes", { pool: "ailing", spec: asking({ [fpga]: 1 }) });
    const { status } = await team.reasonOf("hopes", "AwaitingNodes");
    expect(status.message).to.include(`ailing-with-1 with 0 of 1 ${fpga} healthy`);
    await offered("1");
    await team.stateOf("hopes", "Running");
  });
});
