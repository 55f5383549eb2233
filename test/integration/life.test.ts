/** What the database remembers of a job's life, and what it forgets when. */
import { expect } from "chai";
import { admitJobs } from "../../src/db/jobs/admit.ts";
import { avoidNodes } from "../../src/db/jobs/avoided-nodes.ts";
import { releaseReservations } from "../../src/db/jobs/reservations.ts";
import { readJobView } from "../../src/db/jobs/read.ts";
import {
  beginEnding,
  endJob,
  endQuotaPauses,
  forgetJobs,
  markRunning,
  noteDeparture,
  recordCompletions,
  releaseNodes,
  retryJob,
} from "../../src/db/jobs/attempts.ts";
import { setSuspended } from "../../src/db/jobs/queue.ts";
import { pruneHistory } from "../../src/db/history/prune.ts";
import { secondsToNextWakeUp } from "../../src/db/scheduling/wakeups.ts";
import { readClaimedJobs } from "../../src/db/scheduling/queue.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { addJob, addNode, addProject, rejection, reserve } from "../support/fixtures.ts";

describe("a job's record", () => {
  let database: TestDatabase;
  let project: string;
  const db = () => database.pool;

  beforeEach(async () => {
    database = await createTestDatabase();
    project = await addProject(db(), "team");
    await addNode(db(), "n1", 8);
  });
  afterEach(() => database.drop());

  const start = async (id: string, attempt = 0) => {
    const placements = [{ node: "n1", pods: 1 }];
    await admitJobs(db(), [{ id, attempt, borrowing: false, placements }]);
  };
  const avoidedBy = async (id: string) =>
    (await readClaimedJobs(db(), { pool: "default", unmetered: [] }, [id]))[0]?.job.avoidNodes;

  it("avoids nodes after a failed start or expired reservation", async () => {
    const id = await addJob(db(), project);
    await avoidNodes(db(), id, ["n1"], 100);
    expect(await avoidedBy(id)).to.deep.equal(["n1"]);
    expect(await secondsToNextWakeUp(db(), "default", 0)).to.be.within(90, 101);
    await avoidNodes(db(), id, ["n1"], -1);
    expect(await avoidedBy(id)).to.deep.equal([]);
    expect(await secondsToNextWakeUp(db(), "default", 0)).to.equal(undefined);

    const placements = [{ node: "n1", pods: 1 }];
    await reserve(db(), { id, attempt: 0, borrowing: false, placements }, 1);
    const released = {
      id,
      attempt: 0,
      reason: "ReservationExpired",
      message: "",
      avoidNodes: ["n1"],
    };
    await releaseReservations(db(), [released], 60);
    expect(await avoidedBy(id)).to.deep.equal(["n1"]);
  });

  it("ends pauses that a ResourceQuota caused, soonest first", async () => {
    const words = 'pods "j" is forbidden: exceeded quota: q, requested: pods=1';
    const paused = async (seconds: number, message: string, inProject = project) => {
      const id = await addJob(db(), inProject);
      await start(id);
      await retryJob(db(), {
        id,
        attempt: 1,
        countsAsFailure: false,
        reason: "PodsRejected",
        message,
        notBeforeSeconds: seconds,
      });
      return id;
    };
    const isPaused = async (id: string) => (await readJobView(db(), id))?.notBefore !== undefined;
    const later = await paused(900, words);
    const soon = await paused(300, words);
    const next = await paused(600, words);
    const byWebhook = await paused(300, "failed calling webhook");
    const elsewhere = await paused(300, words, await addProject(db(), "other"));
    expect(await endQuotaPauses(db(), "team", 2)).to.deep.equal(["default", "default"]);
    const still = await Promise.all([soon, next, later, byWebhook, elsewhere].map(isPaused));
    expect(still).to.deep.equal([false, false, true, true, true]);
  });

  it("forgets its failed starts when it runs, or is resumed", async () => {
    const failedStarts = async (id: string) => (await readJobView(db(), id))?.failedStarts;
    const fail = (id: string, attempt: number) =>
      retryJob(db(), {
        id,
        attempt,
        countsAsFailure: false,
        reason: "StartDeadlineExceeded",
        message: "late",
        notBeforeSeconds: 600,
        failedStarts: 2,
        nodeFailures: 1,
      });
    const runs = await addJob(db(), project);
    await start(runs);
    await fail(runs, 1);
    expect(await failedStarts(runs)).to.equal(2);
    await db().query("UPDATE jobs SET not_before = NULL WHERE id = $1", [runs]);
    await start(runs, 1);
    expect(await failedStarts(runs)).to.equal(2);
    await markRunning(db(), { id: runs, attempt: 2 });
    expect(await failedStarts(runs)).to.equal(0);
    const resumed = await addJob(db(), project);
    await start(resumed);
    await fail(resumed, 1);
    for (const suspended of [true, false]) await setSuspended(db(), { id: resumed, suspended });
    const view = await readJobView(db(), resumed);
    expect(view).to.include({ failedStarts: 0, nodeFailures: 0, notBefore: undefined });
  });

  it("preempts nobody after three failed starts", async () => {
    const id = await addJob(db(), project, { preempts: true });
    const preempts = async () =>
      (await readClaimedJobs(db(), { pool: "default", unmetered: [] }, [id]))[0]?.job;
    expect(await preempts()).to.include({ preempts: true });
    await db().query("UPDATE jobs SET failed_starts = 3 WHERE id = $1", [id]);
    expect(await preempts()).to.include({ preempts: false, failedStarts: 3 });
    // They are not the reason where its class never preempts.
    await db().query("UPDATE jobs SET preempts = false WHERE id = $1", [id]);
    expect(await preempts()).to.not.have.property("failedStarts");
  });

  it("keeps the first cause of an attempt's end", async () => {
    const id = await addJob(db(), project);
    await start(id);
    const fence = { id, attempt: 1 };
    const end = { reason: "MaxRuntimeExceeded" as const, message: "too long", counts: true };
    await beginEnding(db(), fence, end, 300);
    await beginEnding(db(), fence, { reason: "PodsLost", message: "gone", counts: false }, 300);
    expect((await readJobView(db(), id))?.ending).to.deep.equal(end);
    await retryJob(db(), { ...fence, ...end, countsAsFailure: true, notBeforeSeconds: 30 });
    const view = await readJobView(db(), id);
    expect(view?.ending).to.equal(undefined);
    expect(view?.failures).to.equal(1);
    expect(await secondsToNextWakeUp(db(), "default", 0)).to.be.within(25, 31);
  });

  it("gives back nodes that a leaving gang has left, and no others", async () => {
    await addNode(db(), "n2", 8);
    const id = await addJob(db(), project, {
      parallelism: 3,
      perPod: { gpus: 2, cpuMillis: 1000, memoryBytes: 2 ** 30 },
    });
    const placements = [
      { node: "n1", pods: 2 },
      { node: "n2", pods: 1 },
    ];
    await admitJobs(db(), [{ id, attempt: 0, borrowing: false, placements }]);
    const fence = { id, attempt: 1 };
    const committed = async () =>
      (await db().query("SELECT gpus_committed::int AS gpus FROM nodes ORDER BY name")).rows.map(
        ({ gpus: count }: { gpus: number }) => count,
      );
    expect(await releaseNodes(db(), fence, ["n1"]), "it is not leaving").to.equal(false);
    await beginEnding(db(), fence, { reason: "PodsLost", message: "gone", counts: false }, 300);
    expect(await releaseNodes(db(), { id, attempt: 2 }, ["n1"])).to.equal(false);
    expect(await releaseNodes(db(), fence, ["n1"])).to.equal(true);
    expect(await committed()).to.deep.equal([0, 2]);
    expect((await readJobView(db(), id))?.placements).to.deep.equal([{ node: "n2", pods: 1 }]);
    for (const placement of ["[]", '[{"node": "n1", "pods": 2}]', '[{"node": "n2", "pods": 3}]'])
      expect(
        await rejection(
          db().query("UPDATE jobs SET placement = $2 WHERE id = $1", [id, placement]),
        ),
      ).to.include({ constraint: "jobs_agree_with_allocations" });
    const end = {
      countsAsFailure: false,
      reason: "PodsLost",
      message: "gone",
      notBeforeSeconds: 0,
    };
    await retryJob(db(), { ...fence, ...end });
    expect(await committed()).to.deep.equal([0, 0]);
  });

  it("notes when the pods of a leaving attempt are due, however long their grace period", async () => {
    const id = await addJob(db(), project);
    await start(id);
    const fence = { id, attempt: 1 };
    const noted = async () => (await readJobView(db(), id))?.askedGraceSeconds;
    await noteDeparture(db(), fence, 30, 60);
    expect(await noted(), "it is not leaving").to.equal(undefined);
    await beginEnding(db(), fence, { reason: "PodsLost", message: "gone", counts: false }, 300);
    // Anybody who may delete a pod chooses an int64 for its deletion.
    await noteDeparture(db(), fence, Number(2n ** 63n - 1n), 60);
    expect(await noted()).to.equal(2 ** 31 - 1);
    await noteDeparture(db(), fence, 30, 60);
    expect(await noted()).to.equal(30);
    expect(await secondsToNextWakeUp(db(), "default", 0)).to.be.within(85, 91);
    await noteDeparture(db(), fence, 40, 60);
    expect(await noted(), "a longer one changes nothing").to.equal(30);
  });

  it("counts a succeeded pod once per attempt", async () => {
    const id = await addJob(db(), project);
    await start(id);
    await recordCompletions(db(), { id, attempt: 1 }, [0]);
    await recordCompletions(db(), { id, attempt: 1 }, [0, 2]);
    await recordCompletions(db(), { id, attempt: 7 }, [5]);
    expect((await readJobView(db(), id))?.completed).to.have.members([0, 2]);
  });

  const ended = async (name: string) => {
    const id = await addJob(db(), project, { name });
    await start(id);
    await endJob(db(), { id, attempt: 1, outcome: "succeeded", reason: "Completed", message: "" });
    return id;
  };
  const eventsOf = async (id: string) =>
    (await db().query("SELECT FROM job_events WHERE job_id = $1", [id])).rowCount;
  const daysAgo = (days: number) => Temporal.Now.instant().subtract({ hours: 24 * days });
  /** As if it had happened long ago; only a superuser's session can do that to history. */
  const age = (id: string) =>
    db().query(`
      BEGIN; SET LOCAL session_replication_role = replica;
      UPDATE job_events SET at = at - interval '30 days' WHERE job_id = '${id}'; COMMIT`);

  it("prunes only old history of pruned jobs, and on request", async () => {
    const [old, kept, young] = [await ended("old"), await ended("kept"), await ended("young")];
    await age(old);
    await age(kept);
    await db().query("DELETE FROM jobs WHERE id = $1", [old]);
    expect(await pruneHistory(db(), daysAgo(10), 100)).to.equal(1);
    expect(await eventsOf(old)).to.equal(0);
    expect(await eventsOf(kept), "its row is still there").to.equal(3);
    expect(await eventsOf(young)).to.equal(3);
    const rejected = await rejection(pruneHistory(db(), daysAgo(1), 100));
    expect(rejected.code).to.equal("HistoryImmutable");
    const byHand = await rejection(db().query("DELETE FROM job_events WHERE job_id = $1", [young]));
    expect(byHand.message).to.match(/history/);
  });

  it("prunes rows of jobs that ended, not their history", async () => {
    const id = await ended("done");
    expect(await forgetJobs(db(), daysAgo(1), 100)).to.equal(0);
    expect(await forgetJobs(db(), daysAgo(-1), 100)).to.equal(1);
    expect(await readJobView(db(), id)).to.equal(undefined);
    expect(await eventsOf(id)).to.equal(3);
  });
});
