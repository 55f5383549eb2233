/**
 * The priority classes that a project allows hold at every change: of a job's class, of the cluster's default, and of the
 * list itself.
 */
import { expect } from "chai";
import { jobs, priorityClasses, projects } from "../../src/resources/types.ts";
import { plan, priorityClass, project } from "../support/installation.ts";
import { useTeam } from "../support/team.ts";

const critical = "system-node-critical";

describe("priority classes of a project", () => {
  const other = { kind: "Group", name: "other" };
  const team = useTeam({
    project: { priorityClasses: ["low"] },
    objects: [
      project("other", { owner: other }),
      project("above", { priorityClasses: ["low", "high"] }),
      project("below", { parent: "above" }),
      plan("others", { owner: other, pool: "shared" }),
    ],
  });
  const { submit, run, stateOf, until, suspend } = team;

  before(async () => {
    await team.pool("shared");
    await team.pool("full");
    for (const name of ["other", "above", "below"]) await team.ready(name);
    await run("other/victim", { pool: "shared", gpus: 8, priorityClassName: "high" });
    await run("filler", { pool: "full", gpus: 8 });
  });

  const patch = (name: string, spec: object) =>
    team.view.client.patch(jobs, name.includes("/") ? name : `team/${name}`, { spec });
  const allow = (name: string, list: readonly string[] | null) =>
    team.view.client.patch(projects, name, { spec: { priorityClasses: list } });
  const refused = async (name: string) => {
    const found = await stateOf(name, "Rejected");
    expect(found.status.reason).to.equal("PriorityClassNotAllowed");
    return found;
  };

  it("a suspended job cannot be resumed with another class", async () => {
    await submit("sneaky", { pool: "shared", gpus: 8, spec: { suspend: true } });
    await stateOf("sneaky", "Suspended");
    await patch("sneaky", { priorityClassName: critical, suspend: false });
    const { status } = await refused("sneaky");
    expect(status.message).to.match(/"system-node-critical" is not allowed .* allowed: low$/);
    expect(status.priority).to.equal(10);
    expect((await team.job("other/victim")).status.state).to.equal("Running");
    await patch("sneaky", { priorityClassName: "low" });
    await team.waits("sneaky");
    expect((await team.job("other/victim")).status.attempt).to.equal(1);
  });

  it("a waiting job cannot change to another class", async () => {
    await submit("waiting", { pool: "shared", gpus: 8 });
    await team.waits("waiting");
    await patch("waiting", { priorityClassName: critical });
    expect((await refused("waiting")).status.priority).to.equal(10);
    expect((await team.job("other/victim")).status.state).to.equal("Running");
  });

  it("a waiting job cannot change to an unknown class", async () => {
    await submit("unknown", { pool: "shared", gpus: 8 });
    await team.waits("unknown");
    await patch("unknown", { priorityClassName: "none-such" });
    const { status } = await stateOf("unknown", "Rejected");
    expect(status.reason).to.equal("PriorityClassNotFound");
  });

  it("the default class is judged like a named one", async () => {
    const nameless = { pool: "full", gpus: 8, spec: { priorityClassName: undefined } };
    await submit("nameless", nameless);
    await until("nameless", "have no priority", ({ status }) => status.priority === 0);
    await team.view.apply({ ...priorityClass("standard", 500), globalDefault: true });
    const { status } = await refused("nameless");
    expect(status.priority).to.equal(0);
    expect(status.message).to.match(/default class "standard" is not allowed/);
    await submit("later", nameless);
    await refused("later");
    await team.view.client.delete(priorityClasses, "standard");
    await until("nameless", "wait again", ({ status: { state } }) => state === "Pending");
  });

  it("a narrowed list of an ancestor stops waiting jobs only", async () => {
    await team.pool("narrow");
    await run("below/goes-on", { pool: "narrow", gpus: 8, priorityClassName: "high" });
    await submit("below/waits", { pool: "narrow", gpus: 8, priorityClassName: "high" });
    await team.waits("below/waits");
    await allow("above", ["low"]);
    await refused("below/waits");
    expect((await team.job("below/goes-on")).status.state).to.equal("Running");
    await suspend("below/goes-on", true);
    await refused("below/goes-on");
    await allow("above", ["low", "high"]);
    await stateOf("below/waits", "Running", "Pending");
    await stateOf("below/goes-on", "Suspended");
    await stateOf("below/waits", "Running");
  });
});
