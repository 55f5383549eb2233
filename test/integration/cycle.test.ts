/** Cycles on a real database, with an API server that answers dry runs as the test says. */
import { randomUUID } from "node:crypto";
import { expect } from "chai";
import { admitJobs } from "../../src/db/jobs/admit.ts";
import { beginEnding } from "../../src/db/jobs/attempts.ts";
import { type PlanInput, replacePlan } from "../../src/db/tenants/plans.ts";
import { type Clock, systemClock } from "../../src/runtime/clock.ts";
import { silentLogger } from "../../src/runtime/logger.ts";
import { type CycleDependencies, runCycle } from "../../src/scheduler/cycle.ts";
import {
  EvictionProbe,
  type ProbeGang,
  rejectedForSeconds,
} from "../../src/scheduler/eviction-probe.ts";
import { noNamespaceQuotas } from "../support/namespace-quotas.ts";
import { mayAllGo } from "../support/gang-answers.ts";
import { PositionPace } from "../../src/scheduler/wait-reasons/position-pace.ts";
import { SearchTurns } from "../../src/scheduler/search-turns.ts";
import { WindowNotices } from "../../src/scheduler/windows/notices.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { addJob, addNode, addProject, reserve } from "../support/fixtures.ts";

const owner = { kind: "Group", name: "vision" } as const;
const gpus = (count: number) => ({ gpus: count, cpuMillis: 1000, memoryBytes: 2 ** 30 });

describe("a scheduling cycle", () => {
  let database: TestDatabase;

  beforeEach(async () => {
    database = await createTestDatabase();
  });
  afterEach(() => database.drop());

  const dependencies = (probe: ProbeGang, clock: Clock = systemClock): CycleDependencies => ({
    db: database.pool,
    clock,
    logger: silentLogger,
    timeZone: "UTC",
    unmeteredResources: ["rdma/*"],
    namespaceQuotas: noNamespaceQuotas,
    claimLimit: 100,
    reservationSeconds: 300,
    avoidNodeSeconds: 600,
    windowWarningSeconds: 900,
    windowGraceSeconds: 300,
    notices: new WindowNotices(),
    probe: new EvictionProbe(probe, clock),
    explain: () => {},
    positions: new PositionPace(systemClock),
    turns: new SearchTurns(),
    onChanged: () => {},
    observe: () => {},
    checkpoint: () => {},
  });

  const statuses = async (): Promise<Record<string, string>> => {
    const { rows } = await database.pool.query<{ name: string; status: string }>(
      "SELECT name, status FROM jobs",
    );
    return Object.fromEntries(rows.map(({ name, status }) => [name, status]));
  };

  const addPlan = async (quantity: number, close: Partial<PlanInput> = {}): Promise<void> => {
    await replacePlan(database.pool, {
      uid: "00000000-0000-4000-8000-000000000001",
      name: "vision",
      owner,
      resourceType: "GPU",
      pool: "default",
      quantity,
      onWindowClose: "Finish",
      generation: 1,
      ...close,
    });
  };

  /** Lets so many pods go that are all under it, whichever they are. */
  const letsGo =
    (allowed: number): ProbeGang =>
    () =>
      Promise.resolve({ rejectedBy: undefined, uses: [{ budget: "vision/b", pods: 1, allowed }] });

  /** A plan of four GPUs, all of them used; the first in the queue may evict for one, and one of no rank waits behind. */
  const aFullPlan = async (): Promise<void> => {
    const { pool } = database;
    const project = await addProject(pool, "vision", { owner });
    await addNode(pool, "n1", 8);
    await addPlan(4);
    const runner = await addJob(pool, project, { name: "runner", perPod: gpus(4) });
    const placements = [{ node: "n1", pods: 1 }];
    await admitJobs(pool, [{ id: runner, attempt: 0, borrowing: false, placements }]);
    const strict = { perPod: gpus(1), allowsBorrowing: false };
    await addJob(pool, project, { name: "first", priority: 100, preempts: true, ...strict });
    await addJob(pool, project, { name: "behind", ...strict });
  };

  it("starts nobody on evictions that the API server refuses", async () => {
    await aFullPlan();
    const deps = dependencies(() => Promise.resolve({ rejectedBy: "vision/guard", uses: [] }));
    const first = await runCycle(deps, "default", AbortSignal.timeout(10_000));
    const second = await runCycle(deps, "default", AbortSignal.timeout(10_000));
    expect([first.isUnfinished, second.isUnfinished]).to.deep.equal([true, false]);
    // The API server's answer is good for so long: then it is asked again.
    expect(second.nextInstantSeconds).to.be.at.most(rejectedForSeconds);
    expect(await statuses()).to.deep.equal({
      runner: "starting",
      first: "pending",
      behind: "pending",
    });
  });

  it("starts others though the question about an eviction fails", async () => {
    await aFullPlan();
    const project = await addProject(database.pool, "speech");
    await addJob(database.pool, project, { name: "other", perPod: gpus(1) });
    const deps = dependencies(() => Promise.reject(new Error("failed calling webhook")));
    for (let count = 0; count < 2; count += 1)
      await runCycle(deps, "default", AbortSignal.timeout(10_000));
    expect(await statuses()).to.include({
      runner: "starting",
      first: "pending",
      other: "starting",
    });
  });

  it("searches victims for a job behind many others that none can help", async () => {
    const { pool } = database;
    const full = await addProject(pool, "full", { owner });
    await addPlan(100);
    const other = { kind: "Group", name: "speech" } as const;
    const speech = await addProject(pool, "speech", { owner: other });
    await addPlan(8, { uid: randomUUID(), name: "speech", owner: other });
    const guest = await addProject(pool, "guest");
    for (const [project, node, priority] of [
      [full, "n1", 1000],
      [guest, "n2", 0],
    ] as const) {
      await addNode(pool, node, 8, "default", { labels: { node } });
      const id = await addJob(pool, project, { name: `on-${node}`, priority, perPod: gpus(8) });
      await admitJobs(pool, [
        { id, attempt: 0, borrowing: project === guest, placements: [{ node, pods: 1 }] },
      ]);
    }
    for (let count = 0; count < 40; count += 1) {
      const perPod = { ...gpus(8), cpuMillis: 1000 + count };
      await addJob(pool, full, {
        name: `crowd-${count}`,
        priority: 10,
        preempts: true,
        perPod,
        nodeSelector: { node: "n1" },
      });
    }
    await addJob(pool, speech, {
      name: "reclaims",
      priority: 5,
      preempts: true,
      perPod: gpus(8),
      nodeSelector: { node: "n2" },
    });
    const deps = dependencies(() => Promise.resolve(mayAllGo));
    for (let count = 0; count < 12; count += 1)
      await runCycle(deps, "default", AbortSignal.timeout(10_000));
    expect(await statuses()).to.include({ reclaims: "reserved", "on-n2": "evicting" });
  });

  it("reports quota at once when a reservation is released", async () => {
    const { pool } = database;
    const project = await addProject(pool, "vision", { owner });
    await addPlan(8);
    await addNode(pool, "n1", 8);
    await addNode(pool, "n2", 8, "default", {
      otherUsage: { gpus: 8, cpuMillis: 0, memoryBytes: 0, pods: 1 },
    });
    const waiting = await addJob(pool, project, {
      name: "reserved",
      priority: 200,
      perPod: gpus(8),
    });
    const reservation = { id: waiting, attempt: 0, borrowing: false };
    await reserve(pool, { ...reservation, placements: [{ node: "n2", pods: 1 }] }, -1);
    const runner = await addJob(pool, project, { name: "runner", perPod: gpus(1) });
    const start = { id: runner, attempt: 0, borrowing: true };
    await admitJobs(pool, [{ ...start, placements: [{ node: "n1", pods: 1 }] }]);
    const deps = dependencies(() => Promise.resolve(mayAllGo));
    await runCycle(deps, "default", AbortSignal.timeout(10_000));
    const { rows } = await pool.query("SELECT name, status, borrowing FROM jobs ORDER BY name");
    expect(rows).to.deep.equal([
      { name: "reserved", status: "pending", borrowing: false },
      { name: "runner", status: "starting", borrowing: false },
    ]);
  });

  it("evicts no more of a budget's pods than it allows", async () => {
    const { pool } = database;
    const project = await addProject(pool, "vision", { owner });
    await addPlan(8);
    await addNode(pool, "n1", 8);
    for (const name of ["one", "other"]) {
      const id = await addJob(pool, project, { name, perPod: gpus(4) });
      const placements = [{ node: "n1", pods: 1 }];
      await admitJobs(pool, [{ id, attempt: 0, borrowing: false, placements }]);
    }
    await addJob(pool, project, { name: "large", priority: 100, preempts: true, perPod: gpus(8) });
    const deps = dependencies(letsGo(1));
    const cycle = () => runCycle(deps, "default", AbortSignal.timeout(10_000));
    for (let count = 0; count < 3; count += 1) await cycle();
    const before = { one: "starting", other: "starting", large: "pending" };
    expect(await statuses()).to.deep.equal(before);

    const patient = dependencies(letsGo(2));
    for (let count = 0; count < 2; count += 1)
      await runCycle(patient, "default", AbortSignal.timeout(10_000));
    expect(await statuses()).to.deep.equal({
      one: "evicting",
      other: "evicting",
      large: "reserved",
    });
  });

  it("awaits the quota of a job that ends, until its pods are overdue, and evicts another one then", async () => {
    const { pool } = database;
    const project = await addProject(pool, "vision", { owner });
    await addPlan(8);
    await addNode(pool, "n1", 16);
    for (const name of ["runs", "ends"]) {
      const id = await addJob(pool, project, { name, perPod: gpus(4) });
      const placements = [{ node: "n1", pods: 1 }];
      await admitJobs(pool, [{ id, attempt: 0, borrowing: false, placements }]);
      const end = { reason: "PodsLost" as const, message: "gone", counts: false };
      if (name === "ends") await beginEnding(pool, { id, attempt: 1 }, end, 300);
    }
    await addJob(pool, project, {
      name: "high",
      priority: 100,
      preempts: true,
      allowsBorrowing: false,
      perPod: gpus(4),
    });
    const deps = dependencies(letsGo(2));
    const cycles = async () => {
      for (let count = 0; count < 3; count += 1)
        await runCycle(deps, "default", AbortSignal.timeout(10_000));
    };
    await cycles();
    expect(await statuses()).to.include({ ends: "starting", runs: "starting", high: "pending" });
    await pool.query("UPDATE jobs SET leaves_by = now() WHERE leaves_by IS NOT NULL");
    await cycles();
    expect(await statuses()).to.include({ ends: "starting", runs: "evicting" });
  });

  it("evicts at a close no more than a budget allows", async () => {
    const { pool } = database;
    const project = await addProject(pool, "vision", { owner });
    await addPlan(8, {
      windows: [{ days: ["Mon"], start: "08:00", end: "10:00" }],
      onWindowClose: "Evict",
    });
    await addNode(pool, "n1", 8);
    for (const [name, priority] of [
      ["dear", 10],
      ["cheap", 5],
    ] as const) {
      const id = await addJob(pool, project, { name, priority, perPod: gpus(4) });
      const placements = [{ node: "n1", pods: 1 }];
      await admitJobs(pool, [{ id, attempt: 0, borrowing: false, placements }]);
    }
    // A Monday after the admission, whenever this is run.
    let now = Temporal.Instant.from("2040-01-02T10:00:01Z");
    const clock: Clock = {
      ...systemClock,
      now: () => now,
      monotonicSeconds: () => now.epochMilliseconds / 1000,
    };
    const deps = dependencies(letsGo(1), clock);
    const cycle = () => runCycle(deps, "default", AbortSignal.timeout(10_000));
    const notices = async () => {
      const { rows } = await pool.query<{ id: string; name: string }>("SELECT id, name FROM jobs");
      return Object.fromEntries(
        rows.map(({ id, name }) => [name, deps.notices.get("default", id)?.message]),
      );
    };
    await cycle();
    expect((await notices())["dear"]).to.match(/is evicted after a grace period of 5 min$/);
    now = now.add({ seconds: deps.windowGraceSeconds });
    expect((await cycle()).isUnfinished).to.equal(true);
    expect(await statuses()).to.deep.equal({ dear: "starting", cheap: "starting" });

    const { nextInstantSeconds } = await cycle();
    expect(await statuses()).to.deep.equal({ dear: "starting", cheap: "evicting" });
    expect((await notices())["dear"]).to.match(
      /; the eviction is blocked by PodDisruptionBudget vision\/b$/,
    );
    expect(nextInstantSeconds).to.be.at.most(rejectedForSeconds);

    now = now.add({ seconds: rejectedForSeconds });
    await cycle();
    await cycle();
    expect(await statuses()).to.deep.equal({ dear: "evicting", cheap: "evicting" });
  });

  it("warns of a close the jobs that it will evict, whatever unmetered they ask for", async () => {
    const { pool } = database;
    const project = await addProject(pool, "vision", { owner });
    const day = {
      onWindowClose: "Evict",
      windows: [{ days: ["Mon"], start: "08:00", end: "10:00" }],
    } as const;
    const after = [{ days: ["Mon"], start: "10:00", end: "12:00" }] as const;
    await addPlan(8, day);
    await addPlan(4, { uid: randomUUID(), name: "less", windows: after });
    const allocatable = {
      gpus: 8,
      cpuMillis: 64_000,
      memoryBytes: 2 ** 38,
      pods: 110,
      byName: { "rdma/hca": 8 },
    };
    await addNode(pool, "n1", 8, "default", { allocatable });
    for (const [name, priority, perPod] of [
      ["dear", 10, { ...gpus(4), byName: { "rdma/hca": 1 } }],
      ["cheap", 5, gpus(4)],
    ] as const) {
      const id = await addJob(pool, project, { name, priority, perPod });
      const placements = [{ node: "n1", pods: 1 }];
      await admitJobs(pool, [{ id, attempt: 0, borrowing: false, placements }]);
    }
    // A Monday after the admission, whenever this is run.
    const clock: Clock = {
      ...systemClock,
      now: () => Temporal.Instant.from("2040-01-02T09:50:00Z"),
    };
    const deps = dependencies(() => Promise.resolve(mayAllGo), clock);
    await runCycle(deps, "default", AbortSignal.timeout(10_000));
    const { rows } = await pool.query<{ id: string; name: string }>("SELECT id, name FROM jobs");
    const warned = rows.filter(
      ({ id }) => deps.notices.get("default", id)?.reason === "WindowClosesSoon",
    );
    expect(warned.map(({ name }) => name)).to.deep.equal(["cheap"]);
  });

  it("leaves alone at a close what ends already, and evicts the others", async () => {
    const { pool } = database;
    const project = await addProject(pool, "vision", { owner });
    const windows = [{ days: ["Mon"], start: "08:00", end: "10:00" }] as const;
    await addPlan(8, { windows, onWindowClose: "Evict" });
    await addNode(pool, "n1", 8);
    for (const name of ["fails", "runs"]) {
      const id = await addJob(pool, project, { name, perPod: gpus(4) });
      const placements = [{ node: "n1", pods: 1 }];
      await admitJobs(pool, [{ id, attempt: 0, borrowing: false, placements }]);
      const end = { reason: "PodFailed", message: "", counts: true } as const;
      if (name === "fails") await beginEnding(pool, { id, attempt: 1 }, end, 300);
    }
    // A Monday after the admission, whenever this is run.
    let now = Temporal.Instant.from("2040-01-02T10:00:01Z");
    const clock: Clock = {
      ...systemClock,
      now: () => now,
      monotonicSeconds: () => now.epochMilliseconds / 1000,
    };
    const deps = dependencies(() => Promise.resolve(mayAllGo), clock);
    for (let count = 0; count < 3; count += 1) {
      await runCycle(deps, "default", AbortSignal.timeout(10_000));
      if (count === 0) now = now.add({ seconds: deps.windowGraceSeconds });
    }
    expect(await statuses()).to.deep.equal({ fails: "starting", runs: "evicting" });
  });

  it("starts no reserved job beyond a plan that has shrunk", async () => {
    await aFullPlan();
    const deps = dependencies(() => Promise.resolve(mayAllGo));
    for (let count = 0; count < 2; count += 1)
      await runCycle(deps, "default", AbortSignal.timeout(10_000));
    expect(await statuses()).to.include({ runner: "evicting", first: "reserved" });
    await addPlan(0);
    await runCycle(deps, "default", AbortSignal.timeout(10_000));
    const { rows } = await database.pool.query(
      "SELECT status, reason FROM jobs WHERE name = 'first'",
    );
    expect(rows).to.deep.equal([{ status: "pending", reason: "QuotaExceeded" }]);
  });

  it("waits for an ending attempt's capacity, and evicts nobody", async () => {
    const { pool } = database;
    const project = await addProject(pool, "vision", { owner });
    await addPlan(24);
    for (const [node, name] of [
      ["n1", "ends"],
      ["n2", "runs"],
    ] as const) {
      await addNode(pool, node, 8);
      const id = await addJob(pool, project, { name, perPod: gpus(8) });
      await admitJobs(pool, [
        { id, attempt: 0, borrowing: false, placements: [{ node, pods: 1 }] },
      ]);
    }
    const { rows } = await pool.query<{ id: string }>("SELECT id FROM jobs WHERE name = 'ends'");
    const end = { reason: "Suspended", message: "", counts: false } as const;
    await beginEnding(pool, { id: rows[0]?.id ?? "", attempt: 1 }, end, 300);
    const urgent = { name: "urgent", priority: 100, preempts: true, perPod: gpus(8) };
    await addJob(pool, project, urgent);
    const told: string[] = [];
    const deps: CycleDependencies = {
      ...dependencies(() => Promise.resolve(mayAllGo)),
      explain: (_, { explained }) => told.push(...explained.map(({ reason }) => reason)),
    };
    const cycles = async (): Promise<void> => {
      for (let count = 0; count < 2; count += 1)
        await runCycle(deps, "default", AbortSignal.timeout(10_000));
    };
    await cycles();
    expect(await statuses()).to.include({ runs: "starting", urgent: "pending" });
    expect(new Set(told)).to.deep.equal(new Set(["AwaitingRelease"]));
    // Its mark changes: still it is no victim.
    await pool.query("UPDATE jobs SET borrowing = true WHERE name = 'ends'");
    await cycles();
    expect(await statuses()).to.include({ ends: "starting", urgent: "pending" });

    await pool.query("ALTER TABLE allocations DISABLE TRIGGER allocations_not_changed");
    await pool.query("UPDATE allocations SET leaves_by = now() WHERE leaves_by IS NOT NULL");
    await cycles();
    expect(await statuses()).to.deep.equal({
      ends: "starting",
      runs: "evicting",
      urgent: "reserved",
    });
  });

  it("reports no preemption that it has not written", async () => {
    await aFullPlan();
    const [project] = (await database.pool.query<{ id: string }>("SELECT id FROM projects")).rows;
    if (!project) throw new Error("no project");
    const told: string[] = [];
    const logger = { ...silentLogger, info: (message: string) => told.push(message) };
    const deps = { ...dependencies(() => Promise.resolve(mayAllGo)), logger };
    const cores = { uid: randomUUID(), name: "cores", resourceType: "CPU" };
    await addPlan(8, cores);
    const perPod = { gpus: 0, cpuMillis: 1000, memoryBytes: 1 };
    const early = { name: "early", priority: 200, perPod };
    await addJob(database.pool, project.id, early);
    await runCycle(deps, "default", AbortSignal.timeout(10_000));
    expect(await statuses()).to.include({ early: "starting", first: "pending" });
    expect(told).to.deep.equal(["jobs changed"]);
    await runCycle(deps, "default", AbortSignal.timeout(10_000));
    expect(await statuses()).to.include({ first: "reserved" });
    expect(told).to.include("preemption decided");
  });

  it("runs again at once when it releases a reservation", async () => {
    await aFullPlan();
    const deps = dependencies(() => Promise.resolve(mayAllGo));
    await runCycle(deps, "default", AbortSignal.timeout(10_000));
    await runCycle(deps, "default", AbortSignal.timeout(10_000));
    await database.pool.query("UPDATE nodes SET pool = 'elsewhere' WHERE name = 'n1'");
    const release = await runCycle(deps, "default", AbortSignal.timeout(10_000));
    expect((await statuses())["first"]).to.equal("pending");
    expect(release.isUnfinished).to.equal(true);
    expect((await runCycle(deps, "default", AbortSignal.timeout(10_000))).isUnfinished).to.equal(
      false,
    );
  });

  it("evicts where the API server allows, and waits for the pods", async () => {
    await aFullPlan();
    const deps = dependencies(() => Promise.resolve(mayAllGo));
    await runCycle(deps, "default", AbortSignal.timeout(10_000));
    await runCycle(deps, "default", AbortSignal.timeout(10_000));
    // The runner's pods use up the plan until they are gone.
    expect(await statuses()).to.deep.equal({
      runner: "evicting",
      first: "reserved",
      behind: "pending",
    });
  });
});
