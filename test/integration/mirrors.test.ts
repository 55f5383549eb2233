/** The mirrors of nodes and priority classes on real PostgreSQL. */
import { randomUUID } from "node:crypto";
import { expect } from "chai";
import { admitJobs } from "../../src/db/jobs/admit.ts";
import { cancelJob } from "../../src/db/jobs/attempts.ts";
import { upsertNode } from "../../src/db/mirrors/nodes.ts";
import { followPriorityClass } from "../../src/db/mirrors/priority-classes.ts";
import { upsertProject } from "../../src/db/tenants/projects.ts";
import { readClaimedJobs } from "../../src/db/scheduling/queue.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { addJob, addNode, addProject, rejection } from "../support/fixtures.ts";

const nothing = { gpus: 0, cpuMillis: 0, memoryBytes: 0, pods: 0 };

describe("the mirrors", () => {
  let database: TestDatabase;
  let project: string;

  before(async () => {
    database = await createTestDatabase();
    project = await addProject(database.pool, "team");
  });
  after(() => database.drop());

  const admit = (id: string, attempt: number, node: string) =>
    admitJobs(database.pool, [{ id, attempt, borrowing: false, placements: [{ node, pods: 1 }] }]);

  it("write a node only when it changed", async () => {
    const node = {
      name: "moving",
      uid: randomUUID(),
      pool: "a",
      schedulable: true,
      labels: {},
      taints: [],
      allocatable: { gpus: 8, cpuMillis: 1, memoryBytes: 1, pods: 1 },
      unhealthyGpus: 0,
      otherUsage: nothing,
    };
    expect(await upsertNode(database.pool, node)).to.deep.equal({ formerPool: undefined });
    expect(await upsertNode(database.pool, node)).to.equal(undefined);
    const used = { ...node, otherUsage: { ...nothing, gpus: 1 } };
    expect(await upsertNode(database.pool, used)).to.deep.equal({ formerPool: "a" });
    expect(await upsertNode(database.pool, { ...used, pool: "b" })).to.deep.equal({
      formerPool: "a",
    });
  });

  it("keep what a shrunk node has committed", async () => {
    await addNode(database.pool, "shrinking", 4);
    const ids = [await addJob(database.pool, project), await addJob(database.pool, project)];
    const [first = "", second = ""] = ids;
    await admit(first, 0, "shrinking");
    for (const [gpus, otherUsage] of [
      [0, nothing],
      [4, { ...nothing, gpus: 5 }],
    ] as const) {
      await addNode(database.pool, "shrinking", gpus, "default", { otherUsage });
      const { rows } = await database.pool.query(
        "SELECT gpus_committed FROM nodes WHERE name = 'shrinking'",
      );
      expect(rows).to.deep.equal([{ gpus_committed: 1 }]);
      expect((await rejection(admit(second, 0, "shrinking"))).code).to.equal("NodeOvercommitted");
    }
    await addNode(database.pool, "shrinking", 2);
    await admit(second, 0, "shrinking");
    for (const id of ids) await cancelJob(database.pool, { id, reason: "Deleted", message: "" });
  });

  it("apply a recreated class to the jobs that wait", async () => {
    await addNode(database.pool, "ranked", 4);
    const old = { priorityClass: "shifting", priority: 10, preempts: true };
    const waiting = await addJob(database.pool, project, { ...old, name: "waiting" });
    const running = await addJob(database.pool, project, { ...old, name: "running" });
    const other = await addJob(database.pool, project, { ...old, priorityClass: "steady" });
    await admit(running, 0, "ranked");
    const anew = { name: "shifting", value: 500, preemptionPolicy: "Never" } as const;
    expect(await followPriorityClass(database.pool, anew)).to.deep.equal(["team/waiting"]);
    expect(await followPriorityClass(database.pool, anew)).to.deep.equal([]);
    const { rows } = await database.pool.query(
      "SELECT id, priority, preempts FROM jobs WHERE id = ANY ($1) ORDER BY priority DESC, id = $2",
      [[waiting, running, other], running],
    );
    expect(rows).to.deep.equal([
      { id: waiting, priority: 500, preempts: false },
      { id: other, priority: 10, preempts: true },
      { id: running, priority: 10, preempts: true },
    ]);
    for (const id of [waiting, running, other])
      await cancelJob(database.pool, { id, reason: "Deleted", message: "" });
  });

  it("read a job with the nodes that reach its storages", async () => {
    const terms = (zone: string) => [
      { matchExpressions: [{ key: "zone", operator: "In", values: [zone] }] },
    ];
    const id = randomUUID();
    const keep = (zone: string) =>
      upsertProject(database.pool, {
        id,
        name: "stored",
        namespace: "stored",
        podSecurity: "restricted",
        members: [],
        storages: [
          {
            name: "data",
            sizeBytes: 1n,
            accessMode: "ReadWriteMany",
            affinity: { nodeSelectorTerms: terms(zone) },
          },
          { name: "home", sizeBytes: 1n, accessMode: "ReadWriteMany", affinity: {} },
        ],
      });
    await keep("a");
    const storages = [
      { name: "data", mountPath: "/data" },
      { name: "home", mountPath: "/home" },
    ];
    const mounting = await addJob(database.pool, id, { storages });
    const plain = await addJob(database.pool, id);
    const termsOf = async () =>
      (
        await readClaimedJobs(database.pool, { pool: "default", unmetered: [] }, [mounting, plain])
      ).map(({ job }) => [job.id, job.storageTerms]);
    expect(await termsOf()).to.have.deep.members([
      [mounting, [terms("a")]],
      [plain, undefined],
    ]);
    await keep("b");
    expect(await termsOf()).to.deep.include([mounting, [terms("b")]]);
  });
});
