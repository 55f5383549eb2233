/** What one pod at a time has on a node, on real PostgreSQL. */
import { expect } from "chai";
import { admitJobs } from "../../src/db/jobs/admit.ts";
import { cancelJob } from "../../src/db/jobs/attempts.ts";
import { readNodes } from "../../src/db/scheduling/nodes.ts";
import { readClaimedJobs } from "../../src/db/scheduling/queue.ts";
import { podsThatFit } from "../../src/domain/scheduling/resources.ts";
import { NodeState } from "../../src/domain/scheduling/nodes.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { addJob, addNode, addProject, rejection, reserve } from "../support/fixtures.ts";

const port = "hostport:TCP:8080";
const perPod = { gpus: 1, cpuMillis: 1000, memoryBytes: 2 ** 30, byName: { [port]: 1 } };
const otherUsage = (count: number) => ({
  gpus: 0,
  cpuMillis: 0,
  memoryBytes: 0,
  pods: count,
  ...(count > 0 && { byName: { [port]: count } }),
});

describe("the exclusive resources of nodes", () => {
  let database: TestDatabase;
  let project: string;

  before(async () => {
    database = await createTestDatabase();
    project = await addProject(database.pool, "team");
  });
  after(() => database.drop());

  const db = () => database.pool;
  const add = (parallelism = 1) => addJob(db(), project, { perPod, parallelism });
  const start = (id: string, ...placements: { node: string; pods: number }[]) =>
    admitJobs(db(), [{ id, attempt: 0, borrowing: false, placements }]);
  const cancel = (id: string) => cancelJob(db(), { id, reason: "Deleted", message: "" });

  async function rows(node: string) {
    const found = await db().query(
      "SELECT resource, allocatable::int, other::int, committed::int FROM node_resources WHERE node_name = $1",
      [node],
    );
    return found.rows;
  }

  async function stateOf(node: string): Promise<NodeState> {
    const snapshots = await readNodes(db(), "default", [port]);
    const snapshot = snapshots.find(({ name }) => name === node);
    if (snapshot === undefined) throw new Error(`no node ${node}`);
    return new NodeState(snapshot);
  }

  const fits = async (node: string) => {
    const { free, future, startable } = await stateOf(node);
    const demand = { ...perPod, pods: 1 };
    return [free, future, startable].map((room) => podsThatFit(room, demand));
  };

  it("are given to one pod of a node, and leave no row behind", async () => {
    await addNode(db(), "one", 8);
    const [first, second, gang] = [await add(), await add(), await add(2)];
    expect(await rows("one")).to.deep.equal([]);
    expect(await fits("one")).to.deep.equal([1, 1, 1]);
    expect(await rejection(start(gang, { node: "one", pods: 2 }))).to.include({
      code: "NodeOvercommitted",
    });
    await start(first, { node: "one", pods: 1 });
    expect(await rows("one")).to.deep.equal([
      { resource: port, allocatable: 1, other: 0, committed: 1 },
    ]);
    expect(await fits("one")).to.deep.equal([0, 0, 0]);
    expect(await rejection(start(second, { node: "one", pods: 1 }))).to.include({
      code: "NodeOvercommitted",
    });
    await cancel(first);
    expect(await rows("one")).to.deep.equal([]);
    await start(second, { node: "one", pods: 1 });
    await Promise.all([cancel(second), cancel(gang)]);
    expect(await rows("one")).to.deep.equal([]);
  });

  it("are taken by pods that are not Rota's, until these have ended", async () => {
    await addNode(db(), "shared", 8, "default", { otherUsage: otherUsage(2) });
    const id = await add();
    expect(await fits("shared")).to.deep.equal([0, 0, 0]);
    expect(await rejection(start(id, { node: "shared", pods: 1 }))).to.include({
      code: "NodeOvercommitted",
    });
    await addNode(db(), "shared", 8, "default", { otherUsage: otherUsage(0) });
    expect(await rows("shared")).to.deep.equal([]);
    await start(id, { node: "shared", pods: 1 });
    // A pod that comes later is a fact. The job keeps the port.
    await addNode(db(), "shared", 8, "default", { otherUsage: otherUsage(1) });
    await addNode(db(), "shared", 8, "default", { otherUsage: otherUsage(0) });
    expect(await rows("shared")).to.deep.equal([
      { resource: port, allocatable: 1, other: 0, committed: 1 },
    ]);
    await cancel(id);
  });

  it("are reserved where nobody has them", async () => {
    await addNode(db(), "kept", 8);
    const id = await add();
    await reserve(db(), {
      id,
      attempt: 0,
      borrowing: false,
      placements: [{ node: "kept", pods: 1 }],
    });
    expect(await rows("kept")).to.deep.equal([]);
    expect(await fits("kept")).to.deep.equal([1, 0, 0]);
    await cancel(id);
    expect(await fits("kept")).to.deep.equal([1, 1, 1]);
  });

  it("go to one of two operators that decide at the same time", async () => {
    await addNode(db(), "raced", 8);
    const jobs = await Promise.all(Array.from({ length: 8 }, () => add()));
    const starts = await Promise.allSettled(
      jobs.map((id) => start(id, { node: "raced", pods: 1 })),
    );
    expect(starts.filter(({ status }) => status === "fulfilled")).to.have.length(1);
    await Promise.all(jobs.map(cancel));
    expect(await rows("raced")).to.deep.equal([]);
  });

  it("stand beside the pods of a gang that one node may have", async () => {
    const id = await addJob(db(), project, { parallelism: 4, maxPodsPerNode: 2 });
    const plain = await addJob(db(), project, { parallelism: 4 });
    const found = await readClaimedJobs(db(), { pool: "default", unmetered: [] }, [id, plain]);
    expect(found.find(({ job }) => job.id === id)?.job.maxPodsPerNode).to.equal(2);
    expect(found.find(({ job }) => job.id === plain)?.job).not.to.have.property("maxPodsPerNode");
    const signatures = await db().query(
      "SELECT DISTINCT scheduling_signature FROM jobs WHERE id = ANY ($1)",
      [[id, plain]],
    );
    expect(signatures.rows).to.have.length(2);
    const refused = addJob(db(), project, { maxPodsPerNode: 0 });
    expect(await rejection(refused)).to.include({ code: "InvalidValue" });
  });
});
