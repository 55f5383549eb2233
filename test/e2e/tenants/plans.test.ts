/** ResourcePlans on a real control plane: accepted, refused, in force, used, closing, gone. */
import { expect } from "chai";
import { readyOf } from "../../../dev/quickstart/cluster-view.ts";
import { resourcePlans } from "../../../src/resources/types.ts";
import type { ResourcePlan } from "../../../src/resources/types.ts";
import { days } from "../../../src/domain/windows.ts";
import { plan, project } from "../../support/installation.ts";
import { useTeam } from "../../support/team.ts";
import { change, eventsOf, projectNamed } from "../../support/tenants.ts";

const ann = { kind: "User", name: "ann" };
const hours = (start: number, end: number) => [
  { days: ["Mon"], start: `0${start}:00`, end: `0${end}:00` },
];

describe("ResourcePlans", () => {
  // A day ahead: closes are warned of as soon as they concern somebody.
  const settings = { ROTA_WINDOW_WARNING_SECONDS: "86400" };

  const team = useTeam({ operator: settings, project: { owner: ann } });

  before(() => team.cluster.addNodes({ count: 1, gpus: 8 }));

  const read = async (name: string): Promise<ResourcePlan> =>
    resourcePlans.project(await team.view.client.get(resourcePlans, name));
  const untilPlan = (
    name: string,
    what: string,
    is: (plan: ResourcePlan, message: string) => boolean,
  ): Promise<ResourcePlan> =>
    team.view.until(`plan ${name} ${what}`, async () => {
      const found = await read(name);
      const isCurrent = found.status.observedGeneration === found.generation;
      return isCurrent && is(found, readyOf(found)?.message ?? "") && found;
    });
  const untilSays = (name: string, reason: string) =>
    untilPlan(name, `to say ${reason}`, (found) => readyOf(found)?.reason === reason);
  const remove = (name: string) => team.view.client.delete(resourcePlans, name);
  const inForce = async (name: string): Promise<string[]> => {
    const { rows } = await team.database.pool.query<{ time_window: unknown }>(
      "SELECT time_window::text FROM resource_plans WHERE plan_name = $1 ORDER BY time_window",
      [name],
    );
    return rows.map(({ time_window }) => String(time_window));
  };

  it("show what is in force now, and next", async () => {
    await team.view.apply(plan("always", { owner: { kind: "Group", name: "all" }, quantity: 8 }));
    const always = await untilSays("always", "Accepted");
    expect(always.status).to.include({ quantityNow: 8, used: 0, acceptedGeneration: 1 });
    expect(always.status).not.to.have.property("nextChange");
    expect(readyOf(always)?.message).to.equal(
      "in force: 8 GPUs, the whole week; no project has Group all as its owner",
    );
    const [event] = await team.view.until("an event", async () => {
      const found = await eventsOf(team.view, "always");
      return found.length > 0 && found;
    });
    expect(event).to.include({
      type: "Normal",
      reason: "Accepted",
      note: "grants Group all 8 GPUs in pool default: the whole week",
    });
    await team.view.apply(
      plan("mondays", {
        owner: ann,
        pool: "elsewhere",
        resourceType: "CPU",
        timeWindows: hours(1, 5),
      }),
    );
    const mondays = await untilSays("mondays", "Accepted");
    expect(mondays.status.nextChange).to.be.a("string");
    expect(mondays.status.nextQuantity).to.equal(mondays.status.quantityNow === 0 ? 100 : 0);
    expect(readyOf(mondays)?.message).to.match(
      /^in force: (100|0) cores now, (0|100) from Mon 0[15]:00; pool "elsewhere" has no nodes$/,
    );
    await remove("always");
    await remove("mondays");
  });

  it("follow an owner and a pool that come later", async () => {
    const late = { kind: "Group", name: "late" };
    await team.view.apply(plan("early", { owner: late }));
    await untilPlan("early", "to miss its owner", (_, message) => message.includes("Group late"));
    await team.view.apply(project("late-team", { owner: late }));
    await untilPlan(
      "early",
      "to have it",
      (_, message) => message === 'in force: 100 GPUs, the whole week; pool "default" has 8 GPUs',
    );
    await team.view.until("the project to have the grant", async () => {
      const { status } = await projectNamed(team.view, "late-team");
      return status.gpusPlanned === 100;
    });
    await remove("early");
  });

  it("that overlap name each other, and follow a change", async () => {
    await team.view.apply(plan("first", { owner: ann, timeWindows: hours(1, 4) }));
    await untilSays("first", "Accepted");
    await team.view.apply(plan("second", { owner: ann, timeWindows: hours(3, 6) }));
    const rejected = await untilSays("second", "PlanOverlap");
    expect(readyOf(rejected)?.message).to.equal(
      "overlaps plan first, Mon 01:00-04:00; the plan is not in force",
    );
    expect(rejected.status).not.to.have.property("acceptedGeneration");
    await change(team.view, resourcePlans, "first", { spec: { timeWindows: hours(1, 3) } });
    await untilSays("second", "Accepted");
    await change(team.view, resourcePlans, "second", { spec: { timeWindows: hours(2, 6) } });
    const former = await untilSays("second", "PlanOverlap");
    expect(readyOf(former)?.message).to.equal(
      "overlaps plan first, Mon 01:00-03:00; generation 1 stays in force",
    );
    expect(former.status.acceptedGeneration).to.equal(1);
    expect(await inForce("second")).to.deep.equal(["[10800,21600)"]);
    await remove("first");
    await untilSays("second", "Accepted");
    expect(await inForce("second")).to.deep.equal(["[7200,21600)"]);
    await remove("second");
    await team.view.until("it to be withdrawn", async () => (await inForce("second")).length === 0);
  });

  it("are withdrawn though the operator was down", async () => {
    await team.view.apply(plan("gone", { owner: ann, timeWindows: hours(1, 3) }));
    await team.view.apply(plan("reborn", { owner: ann, timeWindows: hours(3, 5) }));
    await team.view.apply(plan("waiting", { owner: ann, timeWindows: hours(1, 2) }));
    await untilSays("gone", "Accepted");
    await untilSays("reborn", "Accepted");
    await untilSays("waiting", "PlanOverlap");
    await team.operator.kill();
    await remove("gone");
    await remove("reborn");
    await team.view.apply(plan("reborn", { owner: ann, timeWindows: hours(1, 5) }));
    await team.operate(settings);
    await team.view.until(
      "one of the two that collide to be accepted, and the other refused",
      async () => {
        const all = [await read("reborn"), await read("waiting")];
        const said = new Set(all.map((found) => readyOf(found)?.reason));
        return said.has("Accepted") && said.has("PlanOverlap");
      },
    );
    expect(await inForce("gone")).to.deep.equal([]);
    expect(await inForce("reborn")).to.deep.equal(
      readyOf(await read("reborn"))?.reason === "Accepted" ? ["[3600,18000)"] : [],
    );
    await remove("reborn");
    await remove("waiting");
  });

  it("show usage, warn before closing, and make jobs borrowers", async () => {
    const now = Temporal.Now.zonedDateTimeISO("UTC");
    const hour = (offset: number) =>
      `${now.add({ hours: offset }).toPlainTime().toString().slice(0, 2)}:00`;
    const open = [{ days: [...days], start: hour(-1), end: hour(2) }];
    await team.view.apply(plan("now", { owner: ann, quantity: 6, timeWindows: open }));
    expect((await untilSays("now", "Accepted")).status).to.include({
      quantityNow: 6,
      nextQuantity: 0,
    });
    await team.submit("work", { gpus: 4 });
    const untilJob = (reason: string) => team.reasonOf("work", reason);
    await untilJob("WithinQuota");
    await untilPlan("now", "to show 4 GPUs in use", ({ status }) => status.used === 4);
    const warning = await team.view.until("a warning", async () =>
      (await eventsOf(team.view, "now")).find(({ reason }) => reason === "WindowClosesSoon"),
    );
    expect(warning.type).to.equal("Warning");
    expect(warning.note).to.match(
      /^grants 0 from \w{3} \d\d:00, in [\d.]+ (min|h); 4 GPUs in use; jobs past it run on as borrowers/,
    );
    await change(team.view, resourcePlans, "now", { spec: { quantity: 3 } });
    await untilJob("Borrowing");
    await change(team.view, resourcePlans, "now", { spec: { quantity: 4 } });
    await untilJob("WithinQuota");
    await remove("now");
    await untilJob("Borrowing");
    await team.cancel("work");
  });

  describe("that tools replace", () => {
    const unhurried = useTeam({
      operator: { ROTA_PLAN_DELETION_SECONDS: "20" },
      project: { owner: ann },
      objects: [plan("old", { owner: ann, quantity: 8 })],
    });
    const rows = async (): Promise<string[]> => {
      const text = "SELECT plan_name FROM resource_plans";
      const found = await unhurried.database.pool.query<{ plan_name: string }>(text);
      return found.rows.map((row) => row.plan_name);
    };
    const untilAccepted = (name: string) =>
      unhurried.view.until(`plan ${name} to be accepted`, async () => {
        const found = resourcePlans.project(await unhurried.view.client.get(resourcePlans, name));
        return readyOf(found)?.reason === "Accepted";
      });

    it("are in force until their successors are", async () => {
      const { view } = unhurried;
      await view.client.delete(resourcePlans, "old");
      await view.until("the plan to be gone", async () => {
        const found = await view.client.list(resourcePlans);
        return found.length === 0;
      });
      expect(await rows()).to.deep.equal(["old"]);
      await view.apply(plan("new", { owner: ann, quantity: 8 }));
      await untilAccepted("new");
      expect(await rows()).to.deep.equal(["new"]);
    });

    it("are withdrawn when nothing takes their place", async () => {
      const { view } = unhurried;
      await view.client.delete(resourcePlans, "new");
      await view.until("the plan to be withdrawn", async () => (await rows()).length === 0);
    });
  });
});
