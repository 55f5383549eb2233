/** Resource plans on real PostgreSQL: overlaps are the database's to refuse, windows its to merge. */
import { randomUUID } from "node:crypto";
import { expect } from "chai";
import { admitJobs } from "../../src/db/jobs/admit.ts";
import { secondsToNextWakeUp } from "../../src/db/scheduling/wakeups.ts";
import { readPlanViews, withdrawPlans } from "../../src/db/tenants/plan-views.ts";
import { replacePlan, type PlanInput } from "../../src/db/tenants/plans.ts";
import { weekOf } from "../support/week-of.ts";
import {
  changesAfter,
  days,
  quantityAt,
  secondOfWeek,
  type Day,
  type TimeWindow,
} from "../../src/domain/windows.ts";
import { ensureOwner } from "../../src/db/tenants/owners.ts";
import { readQuotas } from "../../src/db/scheduling/quotas.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { addJob, addNode, addProject, rejection } from "../support/fixtures.ts";

const berlin = "Europe/Berlin";
const at = (local: string, zone = berlin) =>
  Temporal.PlainDateTime.from(local).toZonedDateTime(zone).toInstant();
const windowOf = (day: Day, start: string, end: string): TimeWindow => ({
  days: [day],
  start,
  end,
});

const plan = (
  owner: string,
  name: string,
  windows: readonly TimeWindow[] | undefined,
  more: Partial<PlanInput> = {},
): PlanInput => ({
  uid: randomUUID(),
  name,
  owner: { kind: "Group", name: owner },
  resourceType: "GPU",
  pool: "default",
  quantity: 8,
  windows,
  onWindowClose: "Finish",
  generation: 1,
  ...more,
});
const scope = (owner: string) => ({
  owner: { kind: "Group" as const, name: owner },
  resourceType: "GPU" as const,
  pool: "default",
});

describe("resource plans", () => {
  let database: TestDatabase;
  const pool = () => database.pool;

  before(async () => {
    database = await createTestDatabase();
  });
  after(() => database.drop());

  const week = async (owner: string) =>
    (await weekOf(pool(), scope(owner).owner)).map(
      ({ plan, start, end }) => `${plan} ${start}-${end}`,
    );

  it("wakes its pool at the next edge of a window", async () => {
    const windows = [windowOf("Mon", "08:00", "20:00")];
    await replacePlan(pool(), plan("edges", "office-hours", windows, { pool: "edges" }));
    await replacePlan(pool(), plan("edges", "always", undefined, { pool: "always-open" }));
    const hour = 3600;
    expect(await secondsToNextWakeUp(pool(), "edges", 7 * hour)).to.equal(hour);
    expect(await secondsToNextWakeUp(pool(), "edges", 8 * hour)).to.equal(12 * hour);
    expect(await secondsToNextWakeUp(pool(), "edges", 20 * hour)).to.equal((7 * 24 - 12) * hour);
    expect(await secondsToNextWakeUp(pool(), "always-open", 0)).to.equal(undefined);
  });

  it("tells when it opens, across Sunday too", async () => {
    const opensAt = async (owner: string, local: string): Promise<string | undefined> => {
      const ownerId = await ensureOwner(pool(), "Group", owner);
      const now = at(local).toZonedDateTimeISO(berlin);
      const [quota] = await readQuotas(pool(), "default", [ownerId], now);
      return quota?.opensAtText;
    };
    await replacePlan(pool(), plan("early", "early", [windowOf("Mon", "08:00", "09:00")]));
    expect(await opensAt("early", "2026-06-01T07:00")).to.equal("plan early opens Mon 08:00");
    expect(await opensAt("early", "2026-06-01T10:00")).to.equal("plan early opens next Mon 08:00");
    expect(await opensAt("early", "2026-06-07T10:00")).to.equal("plan early opens Mon 08:00");
    await replacePlan(pool(), plan("late", "late", [windowOf("Sun", "22:00", "06:00")]));
    expect(await opensAt("late", "2026-06-07T23:00"), "while it is open").to.equal(undefined);
    expect(await opensAt("late", "2026-06-06T23:00")).to.equal("plan late opens Sun 22:00");
    expect(await opensAt("late", "2026-06-01T05:00")).to.equal("plan late opens Sun 22:00");
  });

  it("names the overlapping plan, and keeps the accepted version", async () => {
    await replacePlan(
      pool(),
      plan("vision", "vision-weekdays", [{ days: days.slice(0, 5), start: "08:00", end: "18:00" }]),
    );
    const night = plan("vision", "vision-night", [windowOf("Mon", "20:00", "06:00")]);
    await replacePlan(pool(), night);
    const before = await week("vision");
    const error = await rejection(
      replacePlan(pool(), {
        ...night,
        generation: 2,
        windows: [windowOf("Mon", "17:00", "20:00")],
      }),
    );
    expect(error).to.include({
      code: "PlanOverlap",
      plan: "vision-weekdays",
      window: "Mon 08:00-18:00",
    });
    expect(error.message).to.equal("overlaps plan vision-weekdays, Mon 08:00-18:00");
    expect(await week("vision")).to.deep.equal(before);
  });

  it("tells what is granted after each close to come that evicts", async () => {
    const onWindowClose = "Evict" as const;
    const day = [windowOf("Mon", "08:00", "20:00")];
    const night = [windowOf("Mon", "20:00", "24:00")];
    await replacePlan(pool(), plan("shifts", "shift-day", day, { onWindowClose }));
    await replacePlan(pool(), plan("shifts", "shift-night", night, { onWindowClose, quantity: 3 }));
    const { rows } = await pool().query<{ id: number }>(
      "SELECT id FROM owners WHERE name = 'shifts'",
    );
    const now = at("2026-11-23T19:00").toZonedDateTimeISO(berlin);
    const [quota] = await readQuotas(pool(), "default", [rows[0]?.id ?? -1], now);
    expect(quota?.evictCloses).to.deep.equal([
      { inSeconds: 3600, atText: "Mon 20:00", quantity: 3 },
      { inSeconds: 5 * 3600, atText: "Tue 00:00", quantity: 0 },
    ]);
  });

  it("lets other owners, types and pools have the same time", async () => {
    for (const more of [
      {},
      { resourceType: "CPU" as const },
      { pool: "other" },
      { owner: { kind: "User" as const, name: "speech" } },
    ]) {
      expect(
        await replacePlan(
          pool(),
          plan("speech", `speech-${JSON.stringify(more).length}`, undefined, more),
        ),
      ).to.equal(true);
    }
  });

  it("accepts exactly one of two that collide at once", async () => {
    for (let turn = 0; turn < 20; turn += 1) {
      const owner = `race-${turn}`;
      const outcomes = await Promise.allSettled([
        replacePlan(
          pool(),
          plan(owner, `${owner}-a`, [
            windowOf("Tue", "08:00", "12:00"),
            windowOf("Mon", "08:00", "12:00"),
          ]),
        ),
        replacePlan(
          pool(),
          plan(owner, `${owner}-b`, [
            windowOf("Mon", "11:00", "13:00"),
            windowOf("Tue", "11:00", "13:00"),
          ]),
        ),
      ]);
      expect(outcomes.map(({ status }) => status).toSorted()).to.deep.equal([
        "fulfilled",
        "rejected",
      ]);
      expect(await week(owner)).to.have.length(2);
    }
  });

  it("lets one plan be replaced by many at once", async () => {
    const input = plan("busy", "busy", undefined);
    await Promise.all(Array.from({ length: 20 }, () => replacePlan(pool(), input)));
    expect(await week("busy")).to.deep.equal(["busy 0-604800"]);
  });

  it("merges windows of one plan that touch or overlap", async () => {
    const windows = [
      windowOf("Mon", "08:00", "12:00"),
      windowOf("Mon", "12:00", "14:00"),
      windowOf("Mon", "13:00", "15:00"),
      windowOf("Sun", "22:00", "02:00"),
    ];
    await replacePlan(pool(), plan("merge", "merge", windows));
    expect(await week("merge")).to.deep.equal([
      "merge 0-7200",
      "merge 28800-54000",
      "merge 597600-604800",
    ]);
  });

  it("ignores an older generation", async () => {
    const first = plan("gen", "gen", [windowOf("Mon", "08:00", "09:00")], { generation: 5 });
    await replacePlan(pool(), first);
    expect(await replacePlan(pool(), { ...first, generation: 4, windows: undefined })).to.equal(
      false,
    );
    expect(await week("gen")).to.deep.equal(["gen 28800-32400"]);
    const requeueAfter = {
      ...first,
      uid: randomUUID(),
      generation: 1,
      windows: [windowOf("Tue", "08:00", "09:00")],
    };
    expect(await replacePlan(pool(), requeueAfter)).to.equal(true);
    expect(await withdrawPlans(pool(), ["gen"], [requeueAfter.uid])).to.deep.equal([]);
    expect(await week("gen")).to.have.length(1);
    expect(await withdrawPlans(pool(), ["gen"], [])).to.deep.equal([
      { pool: "default", owner: scope("gen").owner },
    ]);
    expect(await week("gen")).to.deep.equal([]);
  });

  it("shows plans in force and usage, each job once", async () => {
    const { owner } = scope("twice");
    const top = await addProject(pool(), "twice", { owner });
    const leaf = await addProject(pool(), "twice-leaf", { parent: "twice", owner });
    await addNode(pool(), "twice-node", 8, "twice-pool");
    const perPod = { gpus: 2, cpuMillis: 1500, memoryBytes: 0 };
    for (const projectId of [top, leaf]) {
      const id = await addJob(pool(), projectId, { pool: "twice-pool", perPod });
      const placements = [{ node: "twice-node", pods: 1 }];
      await admitJobs(pool(), [{ id, attempt: 0, borrowing: false, placements }]);
    }
    await addJob(pool(), leaf, { pool: "twice-pool", perPod });
    const inPool = { pool: "twice-pool", generation: 7 };
    const gpus = plan("twice", "twice-gpus", [windowOf("Mon", "08:00", "09:00")], inPool);
    const cores = plan("twice", "twice-cores", undefined, { ...inPool, resourceType: "CPU" });
    const other = plan("nobody", "nobody", undefined);
    for (const one of [gpus, cores, other]) await replacePlan(pool(), one);
    const views = await readPlanViews(pool(), [gpus.uid, cores.uid, other.uid, randomUUID()]);
    expect(views.size).to.equal(3);
    expect(views.get(gpus.uid)).to.deep.include({
      generation: 7,
      used: 4,
      projects: 2,
      windows: [{ start: 28_800, end: 32_400 }],
    });
    expect(views.get(cores.uid)).to.deep.include({ used: 3, resourceType: "CPU" });
    expect(views.get(other.uid)).to.deep.include({ used: 0, projects: 0 });
  });

  it("refuses windows outside the week, empty ones and negative quantities", async () => {
    const insert = (range: string, quantity = 1) =>
      pool().query(
        `INSERT INTO resource_plans (plan_uid, plan_name, resource_owner_id, resource_type, pool, quantity, time_window, generation)
         VALUES (gen_random_uuid(), 'raw', ensure_owner('User', 'raw'), 'GPU', 'default', $2, $1, 1)`,
        [range, quantity],
      );
    for (const range of ["[-1,5)", "[0,604801)", "empty", "[5,)", "(,5)", "(,)"]) {
      expect(await rejection(insert(range)), range).to.have.property(
        "constraint",
        "resource_plans_window_in_week",
      );
    }
    expect(await rejection(insert("[0,1)", -1))).to.have.property(
      "constraint",
      "resource_plans_quantity_not_negative",
    );
    expect(
      (
        await rejection(
          replacePlan(pool(), plan("bad", "bad", [windowOf("Mon", "25:00", "26:00")])),
        )
      ).code,
    ).to.equal("InvalidWindow");
  });

  it("follows the wall clock over midnight, Sunday and daylight saving", async () => {
    await replacePlan(
      pool(),
      plan("clock", "clock", [{ days: ["Sat", "Sun"], start: "22:00", end: "02:30" }]),
    );
    const windows = await weekOf(pool(), scope("clock").owner);
    const quantity = (local: string) => quantityAt(windows, secondOfWeek(at(local), berlin));
    expect(quantity("2026-06-06T21:59:59")).to.equal(0);
    expect(quantity("2026-06-06T22:00")).to.equal(8);
    expect(quantity("2026-06-08T02:29:59")).to.equal(8); // Sunday's window, on Monday
    expect(quantity("2026-06-08T02:30")).to.equal(0);
    const change = (local: string) => changesAfter(windows, at(local), berlin)[0]?.at.toString();
    // 29 March 2026, 02:00 -> 03:00: 02:30 does not come, the window ends with the skipped hour.
    expect(change("2026-03-29T01:00")).to.equal("2026-03-29T01:00:00Z");
    // 25 October 2026, 03:00 -> 02:00: 02:30 comes twice; between the two 02:30s the window is open again.
    expect(change("2026-10-25T01:00")).to.equal("2026-10-25T00:30:00Z");
    const [reopened] = changesAfter(windows, Temporal.Instant.from("2026-10-25T00:30:00Z"), berlin);
    expect([reopened?.at.toString(), reopened?.quantity]).to.deep.equal([
      "2026-10-25T01:00:00Z",
      8,
    ]);
  });
});
