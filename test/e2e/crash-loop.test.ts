/**
 * Operators are killed again and again, at chosen points and at any instant, while jobs start, preempt, fail, are
 * cancelled and suspended, and a window closes. Nothing of that is lost or happens twice.
 *
 * The seed is printed; ROTA_TEST_SEED repeats the choices, though not the instants. ROTA_KILLS=200 kills so often.
 */
import { setTimeout as delay } from "node:timers/promises";
import { expect } from "chai";
import type { Operator } from "../../dev/local/operator.ts";
import { Random } from "../simulator/random.ts";
import { closes, closingSoon, type ClosingWindow } from "../support/closing-window.ts";
import { crashPoints } from "../support/crash-points.ts";
import { watchInvariants } from "../support/sampler.ts";
import { podType, useTeam } from "../support/team.ts";

const kills = Number(process.env["ROTA_KILLS"] ?? "6");
const seed = Number(process.env["ROTA_TEST_SEED"] ?? "20261124");
const pools = ["left", "right", "closing"] as const;
/** Until then the load has begun. */
const minMilliseconds = 20_000;
/** One that does not come to its point is killed after so long. */
const maxLifeMilliseconds = 3_000;
const settings = {
  ROTA_LEADER_ELECTION: "false",
  ROTA_WINDOW_GRACE_SECONDS: "1",
  ROTA_WINDOW_WARNING_SECONDS: "7200",
};

interface Submitted {
  readonly name: string;
  readonly fails: boolean;
  isDeleted: boolean;
  isSuspended: boolean;
}

describe("operators killed again and again", function () {
  this.timeout((240 + 6 * kills) * 1000);
  const team = useTeam({ operator: settings });
  const random = new Random(seed);
  const submitted: Submitted[] = [];
  let closing: ClosingWindow;

  before(async () => {
    console.log(`      seed ${seed}, ${kills} kills`);
    closing = closingSoon(minMilliseconds);
    for (const pool of pools) {
      const window = { onWindowClose: "Evict", timeWindows: closing.windows };
      await team.pool(pool, { count: 2, plan: pool === "closing" ? window : {} });
    }
    await team.operator.stop();
  });

  async function submit(): Promise<void> {
    const isUrgent = random.chance(0.25);
    const parallelism = random.whole(1, 3);
    const fails = random.chance(0.15);
    const name = `${isUrgent ? "urgent" : "job"}-${submitted.length}`;
    const runSeconds = random.chance(0.6) ? random.whole(0, 4) : 3600;
    const options = {
      pool: random.of(pools),
      // Three pods of four fit on two nodes of eight, three of five do not.
      gpus: isUrgent ? random.whole(3, 4) : random.whole(1, 3),
      parallelism,
      priorityClassName: isUrgent ? "high" : "low",
      annotations: {
        "rota.dev/simulate-run-seconds": String(fails ? random.whole(0, 2) : runSeconds),
        "rota.dev/simulate-exit-code": fails ? "3" : "0",
        "rota.dev/simulate-termination-seconds": String(random.whole(0, 2)),
      },
    };
    submitted.push({ name, fails, isDeleted: false, isSuspended: false });
    await team.submit(name, options);
  }

  const present = (): Submitted[] => submitted.filter(({ isDeleted }) => !isDeleted);

  async function remove(one: Submitted): Promise<void> {
    one.isDeleted = true;
    await team.cancel(one.name);
  }

  async function suspend(one: Submitted, value: boolean): Promise<void> {
    one.isSuspended = value;
    await team.suspend(one.name, value);
  }

  async function act(): Promise<void> {
    const one = random.some(present());
    if (one === undefined || random.chance(0.75)) return submit();
    return random.chance(0.5) ? remove(one) : suspend(one, !one.isSuspended);
  }

  /** At a point and a time there, or at an instant that nobody chose. Returns how it ended. */
  async function killOne(): Promise<string> {
    const point = random.some(crashPoints) ?? "claimed";
    const crash: Record<string, string> = random.chance(0.6)
      ? { ROTA_CRASH_POINT: `${point}:${random.whole(1, 4)}` }
      : {};
    const lifeMilliseconds = random.whole(0, 1_500);
    const actions = Array.from({ length: random.whole(3, 6) }, () => act);
    let operator: Operator;
    try {
      operator = await team.operate({ ...settings, ...crash });
    } catch (error) {
      // It came to its point before it was ready.
      if (/SIGKILL/.test(String(error))) return "SIGKILL";
      throw error;
    }
    for (const action of actions) await action();
    const life = "ROTA_CRASH_POINT" in crash ? maxLifeMilliseconds : lifeMilliseconds;
    await Promise.race([operator.ended, delay(life)]);
    await operator.kill();
    return operator.ended;
  }

  interface Row {
    readonly name: string;
    readonly status: string;
    readonly attempt: number;
    readonly failures: number;
    /** What the Job says; undefined when it was deleted. */
    readonly reason: string | undefined;
    readonly pool: string;
  }
  async function rowsOf(): Promise<Row[]> {
    const { rows } = await team.database.pool.query<Omit<Row, "reason">>(
      "SELECT name, status::text, attempt, failures, pool FROM jobs ORDER BY name",
    );
    const told = await team.view.jobs();
    const reasons = new Map(told.map(({ name, status }) => [name, status.reason]));
    return rows.map((row) => ({ ...row, reason: reasons.get(row.name) }));
  }

  async function endRunningPods(): Promise<void> {
    const annotations = { "rota.dev/simulate-run-seconds": "0" };
    const running = (await team.view.pods()).filter(({ deleting }) => !deleting);
    for (const { namespace, name } of running) {
      // It may have gone meanwhile.
      await team.view.client
        .patch(podType, `${namespace}/${name}`, { metadata: { annotations } })
        .catch(() => undefined);
    }
  }

  it("lose nothing, and do nothing twice", async () => {
    const { view, database } = team;
    const sampler = watchInvariants(view, database.pool);
    const endings: string[] = [];
    for (let kill = 0; kill < kills; kill += 1) endings.push(await killOne());
    expect(new Set(endings)).to.deep.equal(new Set(["SIGKILL"]));

    await team.operate(settings);
    await closes(closing);
    for (const one of present().filter(({ isSuspended }) => isSuspended)) await suspend(one, false);
    const isOver = ({ status, pool, reason }: Row): boolean =>
      ["succeeded", "failed", "cancelled"].includes(status) ||
      (pool === "closing" && ["pending", "evicted"].includes(status) && reason === "WindowClosed");
    const rows = await view
      .until("all jobs to end, or to wait for the window", async () => {
        await endRunningPods();
        const found = await rowsOf();
        // One that was deleted while no operator ran may never have been queued.
        const known = new Set(found.map(({ name }) => name));
        return present().every(({ name }) => known.has(name)) && found.every(isOver) && found;
      })
      .catch(async (error: unknown) => {
        expect((await rowsOf()).filter((row) => !isOver(row))).to.deep.equal([]);
        throw error;
      });
    expect(await sampler.stop(), "looks at the invariants").to.be.at.least(kills);
    await team.checkInvariants();
    expect(await view.pods(), "pods of jobs that have ended").to.deep.equal([]);

    const byName = new Map(submitted.map((one) => [one.name, one]));
    for (const { name, status, failures } of rows) {
      const one = byName.get(name);
      const mayFail = one?.fails === true;
      // It may have ended before it was deleted.
      if (status === "cancelled") expect(one?.isDeleted, `${name} was deleted`).to.equal(true);
      if (status === "failed") expect({ name, mayFail }).to.deep.equal({ name, mayFail: true });
      if (status === "succeeded") expect({ name, mayFail }).to.deep.equal({ name, mayFail: false });
      expect(failures, `failures of ${name}`).to.equal(status === "failed" ? 1 : 0);
    }
    // Where the garbage collector is first, the pods of a deleted Job are lost before the Job is seen to be gone.
    const { rows: retries } = await database.pool.query<{ retry: string }>(
      `SELECT DISTINCT event.from_status || ' ' || event.reason AS retry
       FROM job_events AS event JOIN jobs AS job ON job.id = event.job_id
       WHERE event.to_status = 'pending' AND event.from_status IS NOT NULL
         AND NOT (job.status = 'cancelled' AND event.reason = 'PodsLost')
       ORDER BY 1`,
    );
    const expected = new Set([
      "reserved ReservationExpired",
      "reserved NodeUnavailable",
      "reserved QuotaExceeded",
      "reserved Suspended",
      "reserved WindowClosed",
      "starting Suspended",
      "running Suspended",
    ]);
    expect(retries.filter(({ retry }) => !expected.has(retry))).to.deep.equal([]);
    const { rows: preemptionLog } = await database.pool.query<{ rule: string }>(
      "SELECT DISTINCT rule::text FROM preemption_victims WHERE outcome IS NOT NULL ORDER BY 1",
    );
    console.log(
      `      ${submitted.length} jobs, evictions by ${preemptionLog.map(({ rule }) => rule).join(", ")}`,
    );
    const { rows: open } = await database.pool.query(
      "SELECT victim FROM preemption_victims WHERE outcome IS NULL",
    );
    expect(open, "evictions without an end").to.deep.equal([]);
  });
});
