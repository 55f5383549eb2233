/** Plans whose windows close on the real clock: what evicts, what runs on, what waits. */
import { expect } from "chai";
import { closes, closingSoon, type ClosingWindow } from "../support/closing-window.ts";
import { owner, plan, priorityClass } from "../support/installation.ts";
import { useTeam } from "../support/team.ts";
import { eventsOf } from "../support/tenants.ts";

const graceSeconds = 4;
const hourMilliseconds = 3_600_000;
/** The plans' new windows are known before they close. */
const minMilliseconds = 15_000;
const pools = [
  ["strict", "Evict"],
  ["lenient", "Finish"],
] as const;

describe("time windows on a cluster", function () {
  const team = useTeam({
    objects: [priorityClass("lower", 5)],
    operator: {
      ROTA_WINDOW_WARNING_SECONDS: "7200",
      ROTA_WINDOW_GRACE_SECONDS: String(graceSeconds),
    },
  });
  const { submit, stateOf } = team;
  let soon: ClosingWindow;

  before(async () => {
    const { windows } = closingSoon(hourMilliseconds);
    for (const [pool, onWindowClose] of pools)
      await team.pool(pool, { plan: { quantity: 8, onWindowClose, timeWindows: windows } });
  });

  it("warn, evict after the grace period, or let finish", async () => {
    const { view, database } = team;
    await submit("evicted", { pool: "strict", gpus: 2, parallelism: 2 });
    await submit("finishing", { pool: "lenient", gpus: 4 });
    await submit("too-long", { pool: "strict", spec: { maxRuntime: "3h" } });
    await submit("short", {
      pool: "strict",
      spec: { maxRuntime: "10s" },
      annotations: { "rota.dev/simulate-run-seconds": "5" },
    });
    await Promise.all([stateOf("evicted", "Running"), stateOf("finishing", "Running")]);
    await stateOf("short", "Running", "Succeeded");
    const rejected = await team.reasonOf("too-long", "WindowTooShort");
    expect(rejected.status.message).to.match(
      /maxRuntime \(3 h\) exceeds the time left before plan all-of-strict closes/,
    );

    const warned = await view.until("the job to be warned", async () => {
      const found = await team.job("evicted");
      const condition = found.status.conditions?.find(({ type }) => type === "WindowClosing");
      return condition?.reason === "WindowClosesSoon" && condition;
    });
    expect(warned.message).to.match(
      /^plan all-of-strict closes \w{3} \d\d:\d\d; the job is evicted/,
    );

    soon = closingSoon(minMilliseconds);
    for (const [pool, onWindowClose] of pools) {
      const spec = { owner, pool, quantity: 8, onWindowClose, timeWindows: soon.windows };
      await view.apply(plan(`all-of-${pool}`, spec));
    }
    await closes(soon);
    const { status } = await stateOf("evicted", "Evicted");
    const { rows: evictions } = await database.pool.query<{ at: Temporal.Instant }>(
      "SELECT at FROM job_events WHERE name = 'evicted' AND to_status = 'evicting'",
    );
    expect(evictions).to.have.lengthOf(1);
    expect(evictions[0]?.at.epochMilliseconds, "evicted after the grace period").to.be.at.least(
      soon.closesAt + graceSeconds * 1000,
    );
    expect(status.attempt).to.equal(1);
    const waiting = await team.reasonOf("evicted", "WindowClosed");
    expect(waiting.status.message).to.match(
      /^plan all-of-strict opens (next )?\w{3} \d\d:\d\d.*\. Evicted because the window of a plan closed$/,
    );
    expect(waiting.status.conditions?.some(({ type }) => type === "WindowClosing")).to.equal(false);

    const finishing = await team.until("finishing", "borrow", ({ status }) => {
      return status.borrowing === true;
    });
    expect(finishing.status).to.include({ state: "Running", attempt: 1 });
    const { rows } = await database.pool.query(
      `SELECT preemptor_job_id, preemption.rule, victim, victim_attempt, victim.outcome, pods
       FROM preemptions AS preemption JOIN preemption_victims AS victim ON preemption_id = preemption.id`,
    );
    expect(rows).to.deep.equal([
      {
        preemptor_job_id: null,
        rule: "WindowClosed",
        victim: "team/evicted",
        victim_attempt: 1,
        outcome: "Evicted",
        pods: 2,
      },
    ]);
    const { rows: queue } = await database.pool.query(
      "SELECT created_at::text AS queued_at FROM jobs WHERE name = 'evicted'",
    );
    expect(
      Temporal.Instant.from(String(queue[0]?.queued_at).replace(" ", "T")).epochMilliseconds,
    ).to.equal(Date.parse(waiting.createdAt));
    await view.until("the events of the close to be written", async () => {
      const reasons = new Set((await eventsOf(view, "evicted")).map(({ reason }) => reason));
      return reasons.has("WindowClosesSoon") && reasons.has("WindowClosed");
    });
  });

  it("start borrowers after a close with Finish, not Evict", async () => {
    await closes(soon);
    await submit("borrows", { pool: "lenient" });
    const borrower = await stateOf("borrows", "Running");
    expect(borrower.status.borrowing).to.equal(true);
    await submit("shut-out", { pool: "strict" });
    const waiting = await team.reasonOf("shut-out", "WindowClosed");
    expect(waiting.status.message).to.match(/^plan all-of-strict opens /);
    expect(waiting.status.state).to.equal("Pending");
  });
});
