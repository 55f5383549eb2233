/** Rows brought up to what the cluster knows, after the database was brought back to an earlier state. */
import { randomUUID } from "node:crypto";
import { expect } from "chai";
import { cancelJob, endJob } from "../../src/db/jobs/attempts.ts";
import { readJobView } from "../../src/db/jobs/read.ts";
import { setSuspended } from "../../src/db/jobs/queue.ts";
import { laggingJobs, restoreJob, type KnownJob } from "../../src/db/jobs/recover.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { addJob, addNode, addProject, monday, rejection } from "../support/fixtures.ts";

describe("a job that the database knows as it was before", () => {
  let database: TestDatabase;
  let project: string;
  const pool = () => database.pool;
  const ended = { outcome: "succeeded", reason: "Completed", message: "" } as const;

  async function committed(node: string): Promise<number> {
    const { rows } = await pool().query("SELECT gpus_committed FROM nodes WHERE name = $1", [node]);
    return rows[0]?.gpus_committed;
  }

  const placements = [{ node: "restored", pods: 2 }];
  const since = monday.add({ hours: 2 });
  const eventsOf = async (id: string) => {
    const { rows } = await pool().query<{ at: Temporal.Instant; to: string; attempt: number }>(
      "SELECT at, to_status::text AS to, attempt FROM job_events WHERE job_id = $1 ORDER BY id",
      [id],
    );
    return rows.map(({ at, to, attempt }) => `${to} ${attempt} ${at.toString()}`);
  };
  const running = { status: "running", attempt: 4, placements, startedAt: since, since } as const;
  const pending = { status: "pending", attempt: 4, placements: [], since } as const;
  let id: string;

  before(async () => {
    database = await createTestDatabase();
    project = await addProject(database.pool, "team");
    await addNode(pool(), "restored", 8);
  });
  after(() => database.drop());
  beforeEach(async () => {
    id = await addJob(pool(), project, { parallelism: 2 });
  });
  afterEach(() => cancelJob(pool(), { id, reason: "Deleted", message: "" }));
  const waiting = () => ({ id, status: "pending", attempt: 0 });

  it("is adopted in its attempt, with allocations and times", async () => {
    expect(await restoreJob(pool(), waiting(), running)).to.equal(true);
    expect(await committed("restored")).to.equal(2);
    expect((await eventsOf(id)).at(-1)).to.equal(`running 4 ${since.toString()}`);
    expect(await readJobView(pool(), id)).to.deep.include({
      status: "running",
      attempt: 4,
      placements,
    });
    expect(await endJob(pool(), { ...ended, id, attempt: 4 })).to.equal(true);
    expect(await committed("restored")).to.equal(0);
  });

  it("writes nothing when the row has moved on meanwhile", async () => {
    await setSuspended(pool(), { id, suspended: true });
    for (const known of [
      { ...waiting(), attempt: 1 },
      { ...waiting(), status: "evicted" },
    ]) {
      expect(await restoreJob(pool(), known, running)).to.equal(false);
    }
    expect((await eventsOf(id)).length).to.equal(1);
  });

  it("advances without a start, and ends with its own time", async () => {
    await restoreJob(pool(), waiting(), pending);
    const finished = { ...pending, status: "succeeded", finishedAt: since } as const;
    await restoreJob(pool(), { id, status: "pending", attempt: 4 }, finished);
    const view = await readJobView(pool(), id);
    expect(view).to.deep.include({ status: "succeeded", attempt: 4, finishedAt: since });
    expect((await eventsOf(id)).at(-1)).to.equal(`succeeded 4 ${since.toString()}`);
  });

  it("cannot go back, return from its end, or run twice", async () => {
    await restoreJob(pool(), waiting(), running);
    const live = { id, status: "running", attempt: 4 };
    const rejected = [
      restoreJob(pool(), live, { ...pending, attempt: 3 }),
      restoreJob(pool(), live, { ...running, attempt: 5 }),
    ];
    for (const one of rejected)
      expect((await rejection(one)).code).to.equal("JobTransitionRejected");
    await endJob(pool(), { ...ended, id, attempt: 4 });
    const requeueAfter = restoreJob(
      pool(),
      { ...live, status: "succeeded" },
      { ...pending, attempt: 5 },
    );
    expect((await rejection(requeueAfter)).code).to.equal("JobTransitionRejected");
    // The permission ends with the call.
    const other = await addJob(pool(), project);
    const by = pool().query("UPDATE jobs SET attempt = 7 WHERE id = $1", [other]);
    expect((await rejection(by)).message).to.match(/cannot go from pending \(attempt 0\)/);
    await cancelJob(pool(), { id: other, reason: "Deleted", message: "" });
  });

  it("is found by comparing rows with the cluster", async () => {
    const lags = async (attempt: number, stage: KnownJob["stage"]): Promise<boolean> =>
      (await laggingJobs(pool(), [{ id, attempt, stage }])).length === 1;
    expect(await lags(0, "waiting"), "as it is").to.equal(false);
    expect(await lags(1, "live"), "started since").to.equal(true);
    expect(await lags(0, "ended"), "ended since").to.equal(true);
    await restoreJob(pool(), waiting(), running);
    expect(await lags(3, "live"), "an older status").to.equal(false);
    expect(await lags(4, "live"), "as it is").to.equal(false);
    expect(await lags(4, "waiting"), "stopped since").to.equal(true);
    const stranger = randomUUID();
    const strangers = [
      { id: stranger, attempt: 0, stage: "waiting" },
      { id: randomUUID(), attempt: 1, stage: "ended" },
    ] as const;
    expect(await laggingJobs(pool(), strangers)).to.deep.equal([stranger]);
  });
});
