/** The queue on real PostgreSQL: transitions, capacity, history, parallel workers, killed workers. */
import { randomUUID } from "node:crypto";
import { expect } from "chai";
import { Client } from "pg";
import { admitJobs } from "../../src/db/jobs/admit.ts";
import { activateReservations, releaseReservations } from "../../src/db/jobs/reservations.ts";
import {
  cancelJob,
  endJob,
  endJobs,
  forgetJobs,
  markRunning,
  retryJob,
} from "../../src/db/jobs/attempts.ts";
import { deleteNode } from "../../src/db/mirrors/nodes.ts";
import { withTransaction } from "../../src/db/client/connection-pool.ts";
import { readJobView } from "../../src/db/jobs/read.ts";
import { markEvicted, preempt, cancelEviction } from "../../src/db/jobs/preempt.ts";
import {
  adoptJob,
  fetchNextJobs,
  insertJob,
  setPriority,
  setSuspended,
  type NewJob,
} from "../../src/db/jobs/queue.ts";
import { queuePosition } from "../../src/db/reports/queue-page.ts";
import { readPositions } from "../../src/db/scheduling/positions.ts";
import { readClaimedJobs } from "../../src/db/scheduling/queue.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import {
  addJob,
  addNode,
  addProject,
  monday,
  newJob,
  rejection,
  reserve,
} from "../support/fixtures.ts";

const claim = { pool: "default", limit: 100, now: monday.add({ hours: 24 }) };

/** Kills the client's own backend, as a crash of the worker would. */
async function terminate(client: { query(text: string): Promise<unknown> }): Promise<void> {
  await client.query("SELECT pg_terminate_backend(pg_backend_pid())");
}

describe("the queue", () => {
  let database: TestDatabase;
  let project: string;

  before(async () => {
    database = await createTestDatabase();
    project = await addProject(database.pool, "team");
  });
  after(() => database.drop());

  const pool = () => database.pool;

  const start = (id: string, attempt: number, node: string, pods = 1) =>
    admitJobs(pool(), [{ id, attempt, borrowing: false, placements: [{ node, pods }] }]);

  async function row(id: string) {
    const { rows } = await pool().query("SELECT * FROM jobs WHERE id = $1", [id]);
    return rows[0];
  }

  async function committed(node: string): Promise<number> {
    const { rows } = await pool().query("SELECT gpus_committed FROM nodes WHERE name = $1", [node]);
    return rows[0]?.gpus_committed;
  }

  async function history(id: string): Promise<string[]> {
    const { rows } = await pool().query(
      "SELECT from_status, to_status, attempt FROM job_events WHERE job_id = $1 ORDER BY id",
      [id],
    );
    return rows.map((event) => `${event.from_status ?? ""}>${event.to_status}#${event.attempt}`);
  }

  it("keeps the order of arrival among jobs of one second, in every question about it", async () => {
    const inOrder: string[] = [];
    for (let count = 0; count < 12; count += 1)
      inOrder.push(await addJob(pool(), project, { pool: "order", queuedAt: monday }));
    const now = monday.add({ hours: 24 });
    const claimed = { pool: "order", limit: 100, now, readOnly: true };
    const ids = (jobs: readonly { readonly id: string }[]) => jobs.map(({ id }) => id);
    expect(ids(await fetchNextJobs(pool(), claimed))).to.deep.equal(inOrder);
    expect(ids(await fetchNextJobs(pool(), { ...claimed, perSignature: 100 }))).to.deep.equal(
      inOrder,
    );
    expect(ids(await readPositions(pool(), "order", 100))).to.deep.equal(inOrder);
    const positions = await Promise.all(inOrder.map((id) => queuePosition(pool(), id)));
    expect(positions).to.deep.equal(inOrder.map((_, index) => index + 1));
    const read = await readClaimedJobs(pool(), { pool: "order", unmetered: [] }, inOrder);
    expect(read.map(({ job }) => job.id)).to.deep.equal(inOrder);
  });

  it("refuses constraints of more than 16 KiB", async () => {
    const nodeSelector = (bytes: number) => ({ label: "x".repeat(bytes) });
    await addJob(pool(), project, { pool: "bounded", nodeSelector: nodeSelector(16_000) });
    const refused = addJob(pool(), project, { nodeSelector: nodeSelector(16_384) });
    expect(await rejection(refused)).to.include({ code: "InvalidValue" });
  });

  it("takes a job from the queue to its end", async () => {
    await addNode(pool(), "life", 8);
    const id = await addJob(pool(), project, {
      parallelism: 2,
      perPod: { gpus: 2, cpuMillis: 500, memoryBytes: 1 },
    });
    expect(await start(id, 0, "life", 2)).to.deep.equal([{ id, attempt: 1 }]);
    expect(await committed("life")).to.equal(4);
    expect(await markRunning(pool(), { id, attempt: 1 })).to.equal(true);
    expect(
      await endJob(pool(), {
        id,
        attempt: 1,
        outcome: "succeeded",
        reason: "Completed",
        message: "",
      }),
    ).to.equal(true);
    expect(await committed("life")).to.equal(0);
    expect(await history(id)).to.deep.equal([
      ">pending#0",
      "pending>starting#1",
      "starting>running#1",
      "running>succeeded#1",
    ]);
  });

  it("queues a job once, whatever became of it", async () => {
    const job = newJob(project);
    expect(await insertJob(pool(), job)).to.equal(true);
    await cancelJob(pool(), { id: job.id, reason: "Deleted", message: "" });
    expect(await insertJob(pool(), job)).to.equal(false);
    expect((await row(job.id)).status).to.equal("cancelled");
  });

  it("does nothing for a fence that is behind", async () => {
    await addNode(pool(), "fence", 8);
    const id = await addJob(pool(), project);
    await start(id, 0, "fence");
    expect(await start(id, 0, "fence")).to.deep.equal([]);
    expect(await markRunning(pool(), { id, attempt: 2 })).to.equal(false);
    expect(
      await retryJob(pool(), {
        id,
        attempt: 1,
        countsAsFailure: true,
        reason: "r",
        message: "",
        notBeforeSeconds: 60,
      }),
    ).to.equal(true);
    expect(
      await endJobs(pool(), [{ id, attempt: 1, outcome: "failed", reason: "r", message: "" }]),
    ).to.deep.equal([]);
    const { status, failures, attempt } = await row(id);
    expect({ status, failures, attempt }).to.deep.equal({
      status: "pending",
      failures: 1,
      attempt: 1,
    });
    await cancelJob(pool(), { id, reason: "Deleted", message: "" });
  });

  it("refuses every transition that is not in the table", async () => {
    const id = await addJob(pool(), project);
    const rejected = async (assignment: string) => {
      const error = await rejection(
        pool().query(`UPDATE jobs SET ${assignment} WHERE id = $1`, [id]),
      );
      expect(error)
        .to.have.property("constraint")
        .that.matches(/^jobs_/);
    };
    await rejected("status = 'running', attempt = 1");
    await rejected("status = 'evicted'");
    await rejected("status = 'starting', attempt = 2");
    await rejected("status = 'starting', attempt = 1"); // no allocation
    await rejected("attempt = 1");
    await rejected("status = 'reserved'"); // no hold
    await rejected("parallelism = 2");
    await rejected("status = 'cancelled'"); // no time of its end
    await cancelJob(pool(), { id, reason: "Deleted", message: "" });
    await rejected("status = 'pending', finished_at = NULL");
    expect(
      (await rejection(pool().query("DELETE FROM job_events WHERE job_id = $1", [id]))).message,
    ).to.match(/history/);
    expect((await rejection(pool().query("UPDATE job_events SET reason = ''"))).message).to.match(
      /history/,
    );
  });

  it("refuses allocations without a live job", async () => {
    await addNode(pool(), "bare", 8);
    const id = await addJob(pool(), project);
    const insert = "INSERT INTO allocations VALUES ($1, $2, 'bare', 1, 1, 1000, 1073741824)";
    expect(await rejection(pool().query(insert, [id, 0]))).to.have.property(
      "constraint",
      "allocations_of_live_jobs",
    );
    await start(id, 0, "bare");
    const remove = pool().query("DELETE FROM allocations WHERE job_id = $1", [id]);
    expect(await rejection(remove)).to.have.property("constraint", "allocations_of_live_jobs");
    expect(await rejection(pool().query("DELETE FROM nodes WHERE name = 'bare'"))).to.have.property(
      "constraint",
      "allocations_node_exists",
    );
    expect(
      await rejection(pool().query("UPDATE nodes SET gpus_committed = 0 WHERE name = 'bare'")),
    ).to.have.property("constraint", "nodes_committed_is_derived");
    await cancelJob(pool(), { id, reason: "Deleted", message: "" });
    expect(await committed("bare")).to.equal(0);
  });

  it("refuses a start that does not place the whole gang", async () => {
    await addNode(pool(), "left", 8);
    await addNode(pool(), "right", 8);
    const id = await addJob(pool(), project, { parallelism: 3 });
    const startOn = (...placements: { readonly node: string; readonly pods: number }[]) =>
      admitJobs(pool(), [{ id, attempt: 0, borrowing: false, placements }]);
    const disagrees = ["constraint", "jobs_agree_with_allocations"] as const;
    const left = { node: "left", pods: 2 };
    for (const placements of [[], [left], [left, { node: "right", pods: 2 }]]) {
      expect((await rejection(startOn(...placements))).cause).to.have.property(...disagrees);
    }
    expect((await rejection(startOn(left, { node: "nowhere", pods: 1 }))).code).to.equal(
      "NodeNotFound",
    );
    expect((await rejection(startOn(left, left))).code).to.equal("AllocationInvalid");
    await startOn(left, { node: "right", pods: 1 });
    expect([await committed("left"), await committed("right")]).to.deep.equal([2, 1]);
    const byHand = async (sql: string) => rejection(pool().query(sql, [id]));
    expect(
      await byHand(
        "UPDATE jobs SET placement = jsonb_build_array(jsonb_build_object('node', 'left', 'pods', 3)) WHERE id = $1",
      ),
    ).to.have.property(...disagrees);
    expect(
      await byHand("INSERT INTO allocations VALUES ($1, 1, 'bare', 1, 1, 1000, 1073741824)"),
    ).to.have.property("constraint", "allocations_of_live_jobs");
    expect(
      await byHand("UPDATE allocations SET node_name = 'left' WHERE job_id = $1"),
    ).to.have.property("constraint", "allocations_not_changed");
    await cancelJob(pool(), { id, reason: "Deleted", message: "" });
    expect([await committed("left"), await committed("right")]).to.deep.equal([0, 0]);
  });

  it("allocates and frees per job of a statement", async () => {
    await addNode(pool(), "shared", 8);
    const large = await addJob(pool(), project, {
      parallelism: 2,
      perPod: { gpus: 2, cpuMillis: 1, memoryBytes: 1 },
    });
    const small = await addJob(pool(), project);
    const on = (id: string, pods: number) => ({
      id,
      attempt: 0,
      borrowing: false,
      placements: [{ node: "shared", pods }],
    });
    // As many pods in all as the jobs have, yet not each job's own number.
    expect((await rejection(admitJobs(pool(), [on(large, 1), on(small, 2)]))).code).to.equal(
      "AllocationInvalid",
    );
    await admitJobs(pool(), [on(large, 2), on(small, 1)]);
    expect(await committed("shared")).to.equal(5);
    await pool().query(
      `UPDATE jobs SET status = CASE WHEN id = $1 THEN 'running' ELSE 'succeeded' END::job_status,
         finished_at = CASE WHEN id = $1 THEN NULL ELSE now() END
       WHERE id IN ($1, $2)`,
      [large, small],
    );
    expect(await committed("shared")).to.equal(4);
    await cancelJob(pool(), { id: large, reason: "Deleted", message: "" });
  });

  it("keeps a job's identity and demand immutable", async () => {
    const id = await addJob(pool(), project);
    for (const assignment of [
      "id = gen_random_uuid()",
      "project_id = gen_random_uuid()",
      "created_at = now()",
      "parallelism = 2",
      "pod_gpus = 2",
      "pod_cpu_millis = 2",
      "pod_memory_bytes = 2",
    ]) {
      const change = pool().query(`UPDATE jobs SET ${assignment} WHERE id = $1`, [id]);
      const constraint = Reflect.get(await rejection(change), "constraint");
      expect(constraint, assignment).to.be.oneOf([
        "jobs_identity_is_fixed",
        "jobs_active_project_fkey",
        "job_specs_job_fkey",
      ]);
    }
    // Without the foreign key of its spec in the way.
    await pool().query("DELETE FROM job_specs WHERE job_id = $1", [id]);
    const other = pool().query("UPDATE jobs SET id = gen_random_uuid() WHERE id = $1", [id]);
    expect(await rejection(other)).to.have.property("constraint", "jobs_identity_is_fixed");
    await cancelJob(pool(), { id, reason: "Deleted", message: "" });
  });

  it("commits no more than a node has of any resource", async () => {
    const perPod = { gpus: 1, cpuMillis: 1000, memoryBytes: 2 ** 30 };
    const wants: readonly Partial<NewJob>[] = [
      { perPod: { ...perPod, gpus: 9 } },
      { perPod: { ...perPod, cpuMillis: 64_001 } },
      { perPod: { ...perPod, memoryBytes: 256 * 2 ** 30 + 1 } },
      { perPod: { gpus: 0, cpuMillis: 0, memoryBytes: 0 }, parallelism: 111 },
    ];
    await addNode(pool(), "bounded", 8);
    for (const want of wants) {
      const id = await addJob(pool(), project, want);
      const { parallelism = 1 } = want;
      expect((await rejection(start(id, 0, "bounded", parallelism))).code).to.equal(
        "NodeOvercommitted",
      );
      await cancelJob(pool(), { id, reason: "Deleted", message: "" });
    }
    // A node that is over-committed by facts still takes what asks for none of the scarce resource.
    const otherUsage = { gpus: 9, cpuMillis: 0, memoryBytes: 0, pods: 1 };
    await addNode(pool(), "bounded", 8, "default", { otherUsage });
    const free = await addJob(pool(), project, { perPod: { ...perPod, gpus: 0 } });
    expect(await start(free, 0, "bounded")).to.have.length(1);
    await cancelJob(pool(), { id: free, reason: "Deleted", message: "" });
  });

  it("protects commitments and reservations from changes by hand", async () => {
    await addNode(pool(), "derived", 8);
    for (const column of ["gpus", "cpu_millis", "memory_bytes", "pods"]) {
      const change = pool().query(
        `UPDATE nodes SET ${column}_committed = 1 WHERE name = 'derived'`,
      );
      expect(await rejection(change)).to.have.property("constraint", "nodes_committed_is_derived");
    }
    const id = await addJob(pool(), project);
    const placements = [{ node: "derived", pods: 1 }];
    await reserve(pool(), { id, attempt: 0, borrowing: false, placements });
    for (const assignment of ["pods = 2", "job_id = gen_random_uuid()"]) {
      const change = pool().query(`UPDATE reservations SET ${assignment} WHERE job_id = $1`, [id]);
      expect(await rejection(change)).to.have.property(
        "constraint",
        "jobs_agree_with_reservations",
      );
    }
    for (const sql of [
      "DELETE FROM reservations WHERE job_id = $1",
      "INSERT INTO reservations SELECT job_id, 'left', 1, 1, 1, 1, now() FROM reservations WHERE job_id = $1",
      "UPDATE jobs SET status = 'pending' WHERE id = $1",
    ]) {
      expect(await rejection(pool().query(sql, [id])), sql).to.have.property(
        "constraint",
        "jobs_agree_with_reservations",
      );
    }
    await cancelJob(pool(), { id, reason: "Deleted", message: "" });
  });

  it("commits no more than a node has, under concurrency", async () => {
    const otherUsage = { gpus: 3, cpuMillis: 0, memoryBytes: 0, pods: 1 };
    await addNode(pool(), "small", 8, "default", { otherUsage });
    const ids = await Promise.all(Array.from({ length: 12 }, () => addJob(pool(), project)));
    const outcomes = await Promise.allSettled(ids.map((id) => start(id, 0, "small")));
    const rejections = outcomes.filter((outcome) => outcome.status === "rejected");
    expect(rejections.length).to.equal(7);
    for (const { reason } of rejections)
      expect(reason).to.have.property("code", "NodeOvercommitted");
    expect(await committed("small")).to.equal(5);
    await addNode(pool(), "small", 2); // a node that shrinks is a fact
    expect(await committed("small")).to.equal(5);
    for (const id of ids) await cancelJob(pool(), { id, reason: "Deleted", message: "" });
  });

  it("admits all jobs of one statement or none", async () => {
    await addNode(pool(), "pair", 1);
    const ids = [await addJob(pool(), project), await addJob(pool(), project)];
    const both = ids.map((id) => ({
      id,
      attempt: 0,
      borrowing: false,
      placements: [{ node: "pair", pods: 1 }],
    }));
    expect((await rejection(admitJobs(pool(), both))).code).to.equal("NodeOvercommitted");
    expect((await row(ids[0] ?? "")).status).to.equal("pending");
    for (const id of ids) await cancelJob(pool(), { id, reason: "Deleted", message: "" });
  });

  it("spares a victim whose capacity is not needed", async () => {
    await addNode(pool(), "wanted", 1);
    const victim = await addJob(pool(), project);
    const preemptor = await addJob(pool(), project, { priority: 10, preempts: true });
    await start(victim, 0, "wanted");
    const fence = { id: victim, attempt: 1 };
    const evict = (): Promise<boolean> =>
      preempt(pool(), {
        id: randomUUID(),
        pool: "default",
        preemptor: {
          id: preemptor,
          attempt: 0,
          borrowing: false,
          placements: [{ node: "wanted", pods: 1 }],
          reservationSeconds: 60,
        },
        rule: "LowerPriority",
        reason: "job needs 1 GPU",
        alternatives: [],
        victims: [{ ...fence, rule: "LowerPriority" }],
      });
    const observed = async () => {
      const { rows } = await pool().query(
        `SELECT job.status, job.attempt, own.evictable FROM jobs AS job
         JOIN allocations AS own ON own.job_id = job.id WHERE job.id = $1`,
        [victim],
      );
      return rows[0] as object;
    };
    const giveBack = () =>
      releaseReservations(pool(), [
        { id: preemptor, attempt: 0, reason: "ReservationExpired", message: "" },
      ]);

    expect(await evict()).to.equal(true);
    expect(await cancelEviction(pool(), fence), "while its room is kept").to.equal(false);
    expect((await readJobView(pool(), victim))?.eviction?.isSettled).to.equal(false);
    await giveBack();
    expect((await readJobView(pool(), victim))?.eviction?.isSettled).to.equal(true);
    expect(await observed()).to.deep.equal({ status: "evicting", attempt: 1, evictable: false });
    const other = { id: await addJob(pool(), project), attempt: 0 };
    const placements = [{ node: "wanted", pods: 1 }];
    await reserve(pool(), { ...other, borrowing: false, placements });
    expect(await cancelEviction(pool(), fence), "while another counts on it").to.equal(false);
    await cancelJob(pool(), { id: other.id, reason: "Deleted", message: "" });
    expect(await cancelEviction(pool(), fence)).to.equal(true);
    expect(await observed()).to.deep.equal({ status: "running", attempt: 1, evictable: true });
    expect(await cancelEviction(pool(), fence), "twice").to.equal(false);

    expect(await evict()).to.equal(true);
    expect((await readJobView(pool(), victim))?.eviction?.isSettled).to.equal(false);
    await giveBack();
    expect(await markEvicted(pool(), fence)).to.equal(true);
    const { rows } = await pool().query(
      "SELECT outcome FROM preemption_victims WHERE victim_job_id = $1 ORDER BY evicted_at",
      [victim],
    );
    expect(rows).to.deep.equal([{ outcome: "EvictionCancelled" }, { outcome: "Evicted" }]);
    for (const id of [victim, preemptor])
      await cancelJob(pool(), { id, reason: "Deleted", message: "" });
  });

  it("spares a victim of a close that nobody needs", async () => {
    await addNode(pool(), "closing", 1);
    const victim = await addJob(pool(), project);
    await start(victim, 0, "closing");
    const fence = { id: victim, attempt: 1 };
    const closed = { id: randomUUID(), pool: "default", rule: "WindowClosed" as const };
    const victims = [{ ...fence, rule: closed.rule }];
    await preempt(pool(), { ...closed, reason: "plan p closed", alternatives: [], victims });
    const { eviction } = (await readJobView(pool(), victim)) ?? {};
    expect(eviction).to.include({ isSettled: false, isForWindow: true });
    expect(await cancelEviction(pool(), fence)).to.equal(true);
    expect((await row(victim)).status).to.equal("running");
    await cancelJob(pool(), { id: victim, reason: "Deleted", message: "" });
  });

  it("evicts, reserves and logs together, or not at all", async () => {
    await addNode(pool(), "busy", 1);
    const victim = await addJob(pool(), project);
    const preemptor = await addJob(pool(), project, { priority: 10, preempts: true });
    await start(victim, 0, "busy");
    const decision = (attempt: number) => ({
      id: randomUUID(),
      pool: "default",
      preemptor: {
        id: preemptor,
        attempt: 0,
        borrowing: false,
        placements: [{ node: "busy", pods: 1 }],
        reservationSeconds: 60,
      },
      rule: "LowerPriority" as const,
      reason: "job needs 1 GPU",
      alternatives: [],
      victims: [{ id: victim, attempt, rule: "LowerPriority" as const }],
    });
    expect(await preempt(pool(), decision(7))).to.equal(false);
    expect((await row(preemptor)).status).to.equal("pending");
    const valid = decision(1);
    expect(await preempt(pool(), valid)).to.equal(true);
    expect([(await row(preemptor)).status, (await row(victim)).status]).to.deep.equal([
      "reserved",
      "evicting",
    ]);
    const reservation = { id: preemptor, attempt: 0, borrowing: false };
    expect((await rejection(activateReservations(pool(), [reservation]))).code).to.equal(
      "NodeOvercommitted",
    );
    expect(await markEvicted(pool(), { id: victim, attempt: 1 })).to.equal(true);
    expect(await activateReservations(pool(), [reservation])).to.deep.equal([
      { id: preemptor, attempt: 1 },
    ]);
    const { rows } = await pool().query(
      `SELECT preemptions.outcome, victims.outcome AS victim_outcome, victims.nodes
       FROM preemptions JOIN preemption_victims AS victims ON preemption_id = id WHERE id = $1`,
      [valid.id],
    );
    expect(rows).to.deep.equal([
      { outcome: "Started", victim_outcome: "Evicted", nodes: ["busy"] },
    ]);
    const rewrite = pool().query("UPDATE preemptions SET reason = 'other' WHERE id = $1", [
      valid.id,
    ]);
    expect(await rejection(rewrite)).to.have.property("constraint", "preemptions_written_once");
    expect((await row(victim)).created_at.toString()).to.equal(monday.toString());
    for (const id of [victim, preemptor])
      await cancelJob(pool(), { id, reason: "Deleted", message: "" });
  });

  it("releases a reservation, also when its node leaves", async () => {
    await addNode(pool(), "kept", 4);
    const id = await addJob(pool(), project);
    const reservation = {
      id,
      attempt: 0,
      borrowing: true,
      placements: [{ node: "kept", pods: 1 }],
    };
    expect(await reserve(pool(), reservation)).to.equal(true);
    expect(
      await releaseReservations(pool(), [
        { id, attempt: 0, reason: "ReservationExpired", message: "" },
      ]),
    ).to.have.length(1);
    expect((await row(id)).status).to.equal("pending");
    await reserve(pool(), reservation);
    expect(await deleteNode(pool(), "kept")).to.equal(true);
    expect((await row(id)).status).to.equal("pending");
    await cancelJob(pool(), { id, reason: "Deleted", message: "" });
  });

  it("forgets a node that left with its last allocation", async () => {
    await addNode(pool(), "leaving", 4);
    const id = await addJob(pool(), project);
    await start(id, 0, "leaving");
    expect(await deleteNode(pool(), "leaving")).to.equal(false);
    expect(await committed("leaving")).to.equal(1);
    await retryJob(pool(), {
      id,
      attempt: 1,
      countsAsFailure: false,
      reason: "NodeLost",
      message: "",
      notBeforeSeconds: 0,
    });
    expect(await committed("leaving")).to.equal(undefined);
    await cancelJob(pool(), { id, reason: "Deleted", message: "" });
  });

  it("adopts running and ended jobs after the content was lost", async () => {
    await addNode(pool(), "found", 8);
    const running = newJob(project, { parallelism: 2 });
    const placements = [{ node: "found", pods: 2 }];
    expect(
      await adoptJob(pool(), running, {
        status: "running",
        attempt: 3,
        failures: 1,
        placements,
        startedAt: monday,
      }),
    ).to.equal(true);
    expect(await committed("found")).to.equal(2);
    const ended = newJob(project);
    await adoptJob(pool(), ended, {
      status: "succeeded",
      attempt: 1,
      failures: 0,
      placements: [],
      finishedAt: monday,
    });
    expect(await forgetJobs(pool(), monday.add({ hours: 1 }), 10)).to.equal(1);
    const partial = adoptJob(pool(), newJob(project, { parallelism: 2 }), {
      status: "running",
      attempt: 1,
      failures: 0,
      placements: [{ node: "found", pods: 1 }],
    });
    expect((await rejection(partial)).code).to.equal("AllocationInvalid");
    await cancelJob(pool(), { id: running.id, reason: "Deleted", message: "" });
  });

  it("claims in order, without suspended and backing-off jobs", async () => {
    const late = await addJob(pool(), project, { queuedAt: monday.add({ seconds: 1 }) });
    const early = await addJob(pool(), project);
    const urgent = await addJob(pool(), project, {
      priority: 5,
      queuedAt: monday.add({ hours: 1 }),
    });
    const suspended = await addJob(pool(), project, { priority: 9 });
    const elsewhere = await addJob(pool(), project, { pool: "other" });
    await setSuspended(pool(), { id: suspended, suspended: true });
    await pool().query("UPDATE jobs SET not_before = $2 WHERE id = $1", [
      late,
      claim.now.add({ seconds: 1 }).toString(),
    ]);
    const ids = (await fetchNextJobs(pool(), claim)).map(({ id }) => id);
    expect(ids).to.deep.equal([urgent, early]);
    const afterwards = await fetchNextJobs(pool(), {
      ...claim,
      now: claim.now.add({ seconds: 2 }),
    });
    expect(afterwards.map(({ id }) => id)).to.deep.equal([urgent, early, late]);
    await setPriority(pool(), { id: early, priority: 7, priorityClass: "high", preempts: true });
    expect((await fetchNextJobs(pool(), { ...claim, limit: 1 }))[0]?.id).to.equal(early);
    for (const id of [late, early, urgent, suspended, elsewhere])
      await cancelJob(pool(), { id, reason: "Deleted", message: "" });
  });

  it("shows other projects' jobs behind any number of one's", async () => {
    const other = await addProject(database.pool, "other-team");
    const blocked = await Promise.all(
      Array.from({ length: 40 }, () => addJob(pool(), project, { priority: 9 })),
    );
    const behind = await addJob(pool(), other);
    const ids = (await fetchNextJobs(pool(), { ...claim, limit: 10, perSignature: 4 })).map(
      ({ id }) => id,
    );
    expect(ids).to.have.length(5).and.to.include(behind);
    expect(ids.at(-1)).to.equal(behind);
    for (const id of [...blocked, behind])
      await cancelJob(pool(), { id, reason: "Deleted", message: "" });
  });

  it("shows the first of every signature, and where more wait", async () => {
    const cpuOnly = { gpus: 0, cpuMillis: 500, memoryBytes: 1 };
    const blocked = await Promise.all(
      Array.from({ length: 120 }, () => addJob(pool(), project, { priority: 9 })),
    );
    const others = await Promise.all(
      Array.from({ length: 12 }, (_, index) =>
        addJob(pool(), project, { perPod: { ...cpuOnly, cpuMillis: 500 + index } }),
      ),
    );
    const selected = await addJob(pool(), project, {
      perPod: cpuOnly,
      nodeSelector: { disk: "fast" },
    });
    const found = await fetchNextJobs(pool(), { ...claim, limit: 10, perSignature: 4 });
    expect(found.map(({ id }) => id)).to.include.members([...others, selected]);
    // Half of the claim in the order of the queue, at most perKind of them.
    expect(found.filter(({ id }) => blocked.includes(id))).to.have.length(4);
    expect(
      found.filter(({ hasMore }) => hasMore).map(({ id }) => blocked.includes(id)),
    ).to.deep.equal([true]);
    const wide = await fetchNextJobs(pool(), { ...claim, limit: 100, perSignature: 4 });
    expect(wide.filter(({ id }) => blocked.includes(id))).to.have.length(4);
    expect(wide.map(({ hasMore }) => hasMore).indexOf(true), "the last of its kind").to.equal(3);
    for (const id of [...blocked, ...others, selected])
      await cancelJob(pool(), { id, reason: "Deleted", message: "" });
  });

  it("lets parallel workers take every job once", async () => {
    await addNode(pool(), "mill", 1_000_000, "mill");
    await pool().query(
      "UPDATE nodes SET pods_allocatable = 100000, cpu_millis_allocatable = 1e12, memory_bytes_allocatable = 1e15 WHERE name = 'mill'",
    );
    const count = 600;
    const ids = await Promise.all(
      Array.from({ length: count }, () => addJob(pool(), project, { pool: "mill" })),
    );
    const taken: string[] = [];
    let turns = 0;

    async function turn(): Promise<number> {
      turns += 1;
      const kill = turns % 5 === 0;
      const claimed = await withTransaction(database.pool, async (client) => {
        const jobs = await fetchNextJobs(client, { ...claim, pool: "mill", limit: 7 });
        await admitJobs(
          client,
          jobs.map(({ id, attempt }) => ({
            id,
            attempt,
            borrowing: false,
            placements: [{ node: "mill", pods: 1 }],
          })),
        );
        if (kill) await terminate(client);
        return jobs;
      }).catch((error: unknown) => {
        expect(error).to.have.property("code", "DatabaseUnavailable");
        return undefined;
      });
      if (claimed === undefined) return 1;
      taken.push(...claimed.map(({ id }) => id));
      await endJobs(
        pool(),
        claimed.map(({ id, attempt }) => ({
          id,
          attempt: attempt + 1,
          outcome: "succeeded",
          reason: "Completed",
          message: "",
        })),
      );
      return claimed.length;
    }

    async function work(): Promise<void> {
      while ((await turn()) > 0);
    }

    await Promise.all(Array.from({ length: 8 }, work));
    expect(taken.toSorted()).to.deep.equal(ids.toSorted());
    const { rows } = await pool().query(
      "SELECT count(*)::int AS ended FROM jobs WHERE pool = 'mill' AND status = 'succeeded' AND attempt = 1",
    );
    expect(rows[0].ended).to.equal(count);
    expect(await committed("mill")).to.equal(0);
  });

  it("does nothing half when the connection dies in a trigger", async () => {
    await addNode(pool(), "awaited", 8);
    const id = await addJob(pool(), project);
    const before = await history(id);
    const holder = new Client({ connectionString: database.url });
    await holder.connect();
    await holder.query("BEGIN");
    await holder.query("SELECT FROM nodes WHERE name = 'awaited' FOR UPDATE");
    const waiting = start(id, 0, "awaited").catch((error: unknown) => error);
    let killed = 0;
    while (killed === 0) {
      // Not by the holder: in a transaction pg_stat_activity stays as it was first read.
      const { rowCount } = await pool().query(`
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%Admitted%'
      `);
      killed = rowCount ?? 0;
    }
    const outcome = await waiting;
    await holder.end();
    expect(outcome).to.have.property("code", "DatabaseUnavailable");
    expect((await row(id)).status).to.equal("pending");
    expect(await history(id)).to.deep.equal(before);
    expect(await committed("awaited")).to.equal(0);
    expect(await start(id, 0, "awaited")).to.deep.equal([{ id, attempt: 1 }]);
    await cancelJob(pool(), { id, reason: "Deleted", message: "" });
  });

  it("recovers its pool when every connection is killed at once", async () => {
    await Promise.all(Array.from({ length: 10 }, () => pool().query("SELECT pg_sleep(0)")));
    const killer = new Client({ connectionString: database.url });
    await killer.connect();
    await killer.query(
      "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
    await killer.end();
    const answers = await Promise.allSettled(
      Array.from({ length: 30 }, () => pool().query("SELECT 1")),
    );
    expect(answers.at(-1)?.status).to.equal("fulfilled");
    expect((await pool().query("SELECT 1 AS one")).rows).to.deep.equal([{ one: 1 }]);
  });
});
