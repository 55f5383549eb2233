/** The questions of the HTTP API against rows that were put there, and against brute force. */
import { randomUUID } from "node:crypto";
import { expect } from "chai";
import { evictionText } from "../../src/controllers/job/status.ts";
import { admitJobs } from "../../src/db/jobs/admit.ts";
import { replacePlan } from "../../src/db/tenants/plans.ts";
import { preempt } from "../../src/db/jobs/preempt.ts";
import { readJobView } from "../../src/db/jobs/read.ts";
import { planPage, type PlanKey, type PlanRow } from "../../src/db/reports/plan-page.ts";
import { preemptionPage } from "../../src/db/reports/preemption-page.ts";
import { ownersAbove, projectPage } from "../../src/db/reports/project-page.ts";
import {
  queuePage,
  queuePosition,
  type QueueKey,
  type QueueRow,
} from "../../src/db/reports/queue-page.ts";
import { nodePage, poolPage, type NodeRow, type PoolRow } from "../../src/db/reports/usage-page.ts";
import { noNamespaceQuotas } from "../support/namespace-quotas.ts";
import type { AccessPort, ApiContext, ApiRequest } from "../../src/http/endpoints/types.ts";
import { preemptions } from "../../src/http/endpoints/preemptions.ts";
import { why } from "../../src/http/endpoints/why.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import { withTransaction } from "../../src/db/client/connection-pool.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { addJob, addNode, addProject, monday, rejection } from "../support/fixtures.ts";
import { allPages } from "../support/paging.ts";

/** What a caller may see: jobs of these namespaces; null: of all, and nodes. */
const access = (visible: readonly string[] | null): AccessPort => ({
  may: (_caller, { resource }) => Promise.resolve(visible === null || resource !== "nodes"),
  require: () => Promise.resolve(),
  visibleNamespaces: () => Promise.resolve(visible),
  visibleAround: () => Promise.resolve(visible),
  namespacesFor: () => Promise.resolve(visible),
});

describe("database reports", () => {
  let database: TestDatabase;
  const owner = { kind: "User", name: "pat" } as const;
  let team = "";
  let other = "";
  const idOf = new Map<string, string>();

  const queued = async (
    project: string,
    namespace: string,
    name: string,
    input: Parameters<typeof addJob>[2] = {},
  ): Promise<string> => {
    const id = await addJob(database.pool, project, { namespace, name, ...input });
    idOf.set(name, id);
    return id;
  };
  const admit = (id: string, node: string, pods: number, borrowing = false) =>
    admitJobs(database.pool, [{ id, attempt: 0, borrowing, placements: [{ node, pods }] }]);

  before(async () => {
    database = await createTestDatabase();
    const { pool } = database;
    const lab = await addProject(pool, "lab");
    team = await addProject(pool, "team", { parent: "lab", owner });
    other = await addProject(pool, "other", { parent: "lab" });
    await addProject(pool, "team-sub", { parent: "team" });
    expect(lab).to.not.equal(team);
    for (const name of ["node-1", "node-2"]) await addNode(pool, name, 8);
    await addNode(pool, "red-1", 4, "red");
    await replacePlan(pool, {
      uid: randomUUID(),
      name: "pat-days",
      owner,
      resourceType: "GPU",
      pool: "default",
      quantity: 100,
      windows: [
        { days: ["Mon", "Tue"], start: "08:00", end: "18:00" },
        { days: ["Sat"], start: "20:00", end: "02:00" },
      ],
      onWindowClose: "Finish",
      generation: 1,
    });
    const eight = { perPod: { gpus: 4, cpuMillis: 1000, memoryBytes: 1024 }, parallelism: 2 };
    await admit(await queued(team, "team", "runs-1", eight), "node-1", 2);
    await admit(await queued(other, "other", "runs-2", eight), "node-2", 2, true);
    for (let index = 0; index < 10; index += 1) {
      const isTeams = index % 3 !== 0;
      await queued(isTeams ? team : other, isTeams ? "team" : "other", `waits-${index}`, {
        priority: index % 2,
        preempts: true,
        queuedAt: monday.add({ seconds: 10 - index, microseconds: index }),
        perPod: { gpus: 8, cpuMillis: 1000, memoryBytes: 1024 },
      });
    }
    await queued(team, "team", "suspended", { suspended: true });
    await queued(team, "team", "red-waits", { pool: "red" });
  });
  after(() => database.drop());

  it("give stable queue positions, page by page", async () => {
    const { pool } = database;
    const all = await allPages<QueueRow, QueueKey>((request) =>
      queuePage(pool, { ...request, namespaces: null }),
    );
    const expected = Array.from({ length: 10 }, (_, index) => index)
      .sort((a, b) => (b % 2) - (a % 2) || b - a)
      .map((index) => `waits-${index}`);
    expect(all.map(({ name }) => name)).to.deep.equal([...expected, "red-waits"]);
    expect(all.map(({ position }) => position)).to.deep.equal([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1]);

    const own = await allPages<QueueRow, QueueKey>((request) =>
      queuePage(pool, { ...request, namespaces: ["other"], pool: "default" }),
    );
    const theirs = all.filter(({ namespace }) => namespace === "other");
    expect(own).to.deep.equal(theirs);
    expect(own).to.have.lengthOf(4);
    for (const { id, position } of all) {
      expect(await queuePosition(pool, id)).to.equal(position);
    }
    expect(await queuePosition(pool, idOf.get("suspended") ?? "")).to.equal(undefined);
    expect(await queuePosition(pool, idOf.get("runs-1") ?? "")).to.equal(undefined);
  });

  it("read the queue by its index, without a sort", async () => {
    const client = await database.pool.connect();
    try {
      await client.query(
        "BEGIN; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off",
      );
      const { rows } = await client.query<{ "QUERY PLAN": string }>(`
        EXPLAIN SELECT * FROM (
          SELECT job.*, row_number() OVER (PARTITION BY pool ORDER BY priority DESC, created_at, arrival) AS position
          FROM jobs AS job
          WHERE status IN ('pending', 'evicted') AND NOT suspended
        ) AS queue ORDER BY pool, position LIMIT 100`);
      const plan = rows.map((row) => row["QUERY PLAN"]).join("\n");
      expect(plan).to.contain("jobs_queue_idx");
      expect(plan).to.not.match(/ {2}Sort {2}/);
    } finally {
      await client.query("ROLLBACK");
      client.release();
    }
  });

  it("sum a tree's subtrees, page by page", async () => {
    const read = (namespaces: string[] | null, root?: string) =>
      allPages<Awaited<ReturnType<typeof projectPage>>["rows"][number], string>(
        (request) =>
          projectPage(database.pool, { ...request, namespaces, root, secondOfWeek: 9 * 3600 }),
        2,
      );
    const tree = await read(null);
    expect(
      tree.map(({ path, depth, parent, gpusRunning, gpusPending, gpusBorrowed, gpusPlanned }) => [
        path,
        depth,
        parent,
        gpusRunning,
        gpusPending,
        gpusBorrowed,
        gpusPlanned,
      ]),
    ).to.deep.equal([
      ["lab", 0, null, 16, 82, 8, null],
      ["lab.other", 1, "lab", 8, 32, 8, null],
      ["lab.team", 1, "lab", 8, 50, 0, 100],
      ["lab.team.team_sub", 2, "team", 0, 0, 0, 100],
    ]);
    expect((await read(null, "team")).map(({ name }) => name)).to.deep.equal(["team", "team-sub"]);
    expect((await read(["other"])).map(({ name }) => name)).to.deep.equal(["other"]);
    expect(await ownersAbove(database.pool, ["team-sub"])).to.deep.equal([owner]);
  });

  it("list windows of plans, page by page", async () => {
    const rows = await allPages<PlanRow, PlanKey>(
      (request) => planPage(database.pool, { ...request, owners: [owner] }),
      1,
    );
    const day = 86_400;
    expect(rows.map(({ start, end }) => [start, end])).to.deep.equal([
      [8 * 3600, 18 * 3600],
      [day + 8 * 3600, day + 18 * 3600],
      [5 * day + 20 * 3600, 6 * day + 2 * 3600],
    ]);
    const nobody = { kind: "Group", name: "pat" } as const;
    expect((await planPage(database.pool, { limit: 5, owners: [nobody] })).rows).to.deep.equal([]);
    expect((await planPage(database.pool, { limit: 5, owners: null })).rows).to.have.lengthOf(3);
  });

  it("sum pools and nodes", async () => {
    const pools = await allPages<PoolRow, string>((request) => poolPage(database.pool, request), 1);
    expect(
      pools.map(({ pool, nodes, jobsRunning, jobsPending, gpusBorrowed, usage }) => [
        pool,
        nodes,
        jobsRunning,
        jobsPending,
        gpusBorrowed,
        usage.allocatable.gpus,
        usage.committed.gpus,
        usage.committed.pods,
      ]),
    ).to.deep.equal([
      ["default", 2, 2, 11, 8, 16, 16, 4],
      ["red", 1, 0, 1, 0, 4, 0, 0],
    ]);
    const nodes = await allPages<NodeRow, string>((request) => nodePage(database.pool, request), 2);
    expect(nodes.map(({ node, jobs, usage }) => [node, jobs, usage.committed.gpus])).to.deep.equal([
      ["node-1", 1, 8],
      ["node-2", 1, 8],
      ["red-1", 0, 0],
    ]);
    const red = await nodePage(database.pool, { limit: 5, pool: "red" });
    expect(red.rows.map(({ node }) => node)).to.deep.equal(["red-1"]);
  });

  describe("the explanation of a waiting job", () => {
    const ask = (namespace: string, name: string, visible: readonly string[] | null = null) => {
      const context: ApiContext = {
        db: database.pool,
        access: access(visible),
        clock: { ...systemClock, now: () => monday.add({ hours: 9 }) },
        namespaceQuotas: noNamespaceQuotas,
        settings: { timeZone: "UTC", unmeteredResources: ["rdma/*"], claimLimit: 500 },
      };
      const question = {
        parameters: { namespace, name },
        query: {},
        caller: { user: "pat", groups: [], by: "token" },
      } satisfies ApiRequest<"why">;
      return why(context)(question);
    };

    it("shows the next decision's eviction, and makes none", async () => {
      const history = async () =>
        (await database.pool.query("SELECT count(*)::int AS count FROM job_events")).rows;
      const before = await history();
      const answer = await ask("team", "waits-5");
      expect(answer.state).to.equal("Pending");
      expect(answer.position).to.equal(3);
      expect(answer.quotas).to.have.lengthOf(1);
      expect(answer.quotas[0]).to.include({
        quantity: 100,
        usage: 8,
        demand: 8,
        exceeded: false,
      });
      const [first] = (await queuePage(database.pool, { limit: 1, namespaces: null })).rows;
      const head = await ask(first?.namespace ?? "", first?.name ?? "");
      const team = await ask("team", "waits-7");
      expect(team.verdict?.kind).to.equal("preempt");
      expect(team.candidates.items.filter(({ chosen }) => chosen)).to.have.lengthOf(1);
      expect(team.candidates.items[0]).to.include({
        job: "other/runs-2",
        borrowing: true,
        rule: "BorrowerReclaimed",
        chosen: true,
      });
      expect(head.position).to.equal(1);
      expect(await history()).to.deep.equal(before);
    });

    it("runs in transactions that can write nothing", async () => {
      const error = await rejection(
        withTransaction(database.pool, (client) => client.query("UPDATE jobs SET message = 'x'"), {
          isolation: "REPEATABLE READ",
          readOnly: true,
        }),
      );
      expect(error.message).to.contain("read-only transaction");
    });

    it("names no job that the caller may not see", async () => {
      const answer = await ask("team", "waits-7", ["team"]);
      expect(answer.candidates.items.map(({ job }) => job)).to.include(null);
      expect(answer.verdict?.message).to.match(/1 job: a job of another project \(borrowing/);
      expect(JSON.stringify(answer)).to.not.contain("other/");
      expect(answer.candidates.items.map(({ nodes }) => nodes)).to.deep.include([]);
      expect(answer.nodes).to.include({ total: 2, accepting: 2 });
      expect(answer.nodes.items).to.deep.equal([]);
      const whole = await ask("team", "waits-7");
      expect(whole.candidates.items[0]?.nodes).to.deep.equal(["node-2"]);
      expect(whole.nodes.items).to.have.lengthOf(2);
      expect(whole.verdict?.message).to.contain("1 job: other/runs-2 (borrowing");
    });

    it("examines a job that is beyond a cycle's limit", async () => {
      const context: ApiContext = {
        db: database.pool,
        access: access(null),
        clock: { ...systemClock, now: () => monday.add({ hours: 9 }) },
        namespaceQuotas: noNamespaceQuotas,
        settings: { timeZone: "UTC", unmeteredResources: ["rdma/*"], claimLimit: 1 },
      };
      const caller = { user: "pat", groups: [], by: "token" } as const;
      const last = { parameters: { namespace: "other", name: "waits-0" }, query: {}, caller };
      const answer = await why(context)(last);
      expect(answer.isBeyondClaim).to.equal(true);
      expect(answer.verdict?.kind).to.equal("wait");
    });
  });

  describe("the preemption log", () => {
    it("lists evictions to those who have a part in them", async () => {
      const { pool } = database;
      const preemptor = {
        id: idOf.get("waits-7") ?? "",
        attempt: 0,
        borrowing: false,
        placements: [{ node: "node-2", pods: 1 }],
        reservationSeconds: 60,
      };
      const done = await preempt(pool, {
        id: randomUUID(),
        pool: "default",
        preemptor,
        rule: "BorrowerReclaimed",
        reason: "team/waits-7 (priority 1) needs 8 GPUs; it evicts other/runs-2 (priority 0).",
        alternatives: [{ description: "others", pods: 4 }],
        victims: [{ id: idOf.get("runs-2") ?? "", attempt: 1, rule: "BorrowerReclaimed" }],
      });
      expect(done).to.equal(true);
      for (const namespaces of [null, ["team"], ["other"]]) {
        const { rows } = await preemptionPage(pool, { limit: 5, namespaces });
        expect(rows.map(({ preemptor: by, victims }) => [by, victims[0]?.job])).to.deep.equal([
          ["team/waits-7", "other/runs-2"],
        ]);
      }
      expect((await preemptionPage(pool, { limit: 5, namespaces: ["lab"] })).rows).to.deep.equal(
        [],
      );
      const told = async (namespaces: readonly string[] | null) => {
        const context = {
          db: database.pool,
          access: access(namespaces),
          clock: systemClock,
          namespaceQuotas: noNamespaceQuotas,
          settings: { timeZone: "UTC", unmeteredResources: ["rdma/*"], claimLimit: 100 },
        } as const;
        const caller = { user: "pat", groups: [], by: "token" } as const;
        const { items } = await preemptions(context)({
          parameters: {},
          query: { limit: 5 },
          caller,
        });
        return items.map(({ preemptor: by, reason, victims: [victim] }) => [
          by,
          reason,
          victim?.job,
          victim?.nodes.join(),
        ]);
      };
      const [hidden, guest] = ["a job of another project", "other/runs-2"];
      const words = (by: string, victim: string) =>
        `${by} (priority 1) needs 8 GPUs; it evicts ${victim} (priority 0).`;
      expect(await told(null)).to.deep.equal([
        ["team/waits-7", words("team/waits-7", guest), guest, "node-2"],
      ]);
      expect(await told(["team"])).to.deep.equal([
        ["team/waits-7", words("team/waits-7", hidden), null, ""],
      ]);
      expect(await told(["other"])).to.deep.equal([[null, words(hidden, guest), guest, "node-2"]]);
      const victim = await readJobView(pool, idOf.get("runs-2") ?? "");
      expect(victim && evictionText(victim)).to.equal(
        `${words(hidden, guest)}; rule BorrowerReclaimed`,
      );
      expect(victim?.message).to.equal(undefined);
      const later = Temporal.Now.instant().add({ hours: 1 }).toString();
      const none = await preemptionPage(pool, { limit: 5, namespaces: null, since: later });
      expect(none.rows).to.deep.equal([]);
    });
  });
});
