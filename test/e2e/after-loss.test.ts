/** After a loss: what runs is a fact, whatever the database forgot and the node has room for; what is made again is taken over. */
import { expect } from "chai";
import { nodesOf, projects } from "../../src/resources/types.ts";
import { owner, plan, priorityClass, project } from "../support/installation.ts";
import { limit } from "../support/resource-quota.ts";
import { change, messageOf, untilGone, untilProjectSays } from "../support/tenants.ts";
import { useTeam } from "../support/team.ts";

const nodeType = nodesOf("nvidia.com/gpu");
const again = { ROTA_TAKEOVER_SECONDS: "1" };

describe("after a loss", function () {
  const team = useTeam({ objects: [plan("all", { owner })] });

  async function loseContent(): Promise<void> {
    await team.operator.stop();
    for (const statement of ["DROP SCHEMA public CASCADE", "CREATE SCHEMA public"])
      await team.database.pool.query(statement);
  }
  const untilRow = (name: string, status: string): Promise<unknown> =>
    team.view.until(`the row of ${name} to be ${status}`, async () => {
      return (await team.row(name).catch(() => undefined))?.status === status;
    });
  /** On the pool's only node. A pod counts as other until its job is adopted, and for a moment longer. */
  const untilGpusAre = (
    pool: string,
    wanted: { readonly committed: number; readonly other: number },
  ): Promise<unknown> =>
    team.view.until(`the GPUs of pool ${pool} to be ${JSON.stringify(wanted)}`, async () => {
      const { rows } = await team.database.pool.query<typeof wanted>(
        "SELECT gpus_committed AS committed, gpus_other AS other FROM nodes WHERE pool = $1",
        [pool],
      );
      const [found] = rows;
      if (found?.committed === wanted.committed && found.other === wanted.other) return true;
      throw new Error(`they are ${JSON.stringify(found)}`);
    });
  async function unmake(name: string): Promise<void> {
    await team.view.client.delete(projects, name);
    await change(team.view, projects, name, { metadata: { finalizers: null } });
    await untilGone(team.view, projects, name);
  }
  async function shrink(node: string, gpus: number): Promise<void> {
    const { allocatable = {} } = (await team.view.client.get(nodeType, node))["status"] as {
      readonly allocatable?: Record<string, string>;
    };
    const amounts = { ...allocatable, "nvidia.com/gpu": String(gpus) };
    const status = { capacity: amounts, allocatable: amounts };
    await team.view.client.raw(
      "PATCH",
      `/api/v1/nodes/${node}/status`,
      { status },
      {
        contentType: "application/merge-patch+json",
      },
    );
  }

  it("running jobs are adopted on an over-full node", async () => {
    await team.pool("full");
    await team.run("one", { pool: "full", gpus: 4 });
    await team.run("two", { pool: "full", gpus: 4 });
    const uids = [...(await team.uids("one")), ...(await team.uids("two"))];
    await loseContent();
    await shrink("full-1", 6);
    await team.operate(again);
    await untilRow("one", "running");
    await untilRow("two", "running");
    await untilGpusAre("full", { committed: 8, other: 0 });
    await team.submit("third", { pool: "full", gpus: 2 });
    await team.reasonOf("third", "InsufficientCapacity");
    expect([...(await team.uids("one")), ...(await team.uids("two"))]).to.deep.equal(uids);
    await team.cancel("one");
    await team.stateOf("third", "Running");
  });

  it("pods of a job that cannot be adopted count", async () => {
    await team.pool("stray");
    await team.view.apply(project("strays", { owner }));
    await team.ready("strays");
    await team.run("strays/job", { pool: "stray", gpus: 5 });
    await loseContent();
    await unmake("strays");
    await team.operate(again);
    await untilGpusAre("stray", { committed: 0, other: 5 });
    await team.view.apply(project("strays", { owner }));
    await untilRow("strays/job", "running");
    await untilGpusAre("stray", { committed: 5, other: 0 });
  });

  it("a running job is adopted though its priority class is gone", async () => {
    await team.pool("classless");
    await team.view.apply(priorityClass("passing", 20));
    await team.run("classless", { pool: "classless", gpus: 5, priorityClassName: "passing" });
    await loseContent();
    await team.view.remove(priorityClass("passing", 20));
    await team.operate(again);
    await untilRow("classless", "running");
    await untilGpusAre("classless", { committed: 5, other: 0 });
  });

  it("a running job is adopted though its pods fill a ResourceQuota", async () => {
    await team.pool("filled");
    await team.view.apply(project("filling", { owner }));
    await team.ready("filling");
    await limit(team.view, { namespace: "filling", name: "few" }, { pods: "1" });
    await team.run("filling/job", { pool: "filled", gpus: 5 });
    await loseContent();
    await team.operate(again);
    await untilRow("filling/job", "running");
    await untilGpusAre("filled", { committed: 5, other: 0 });
  });

  it("a node replaced under its name loses its pods", async () => {
    await team.pool("swap");
    await team.run("moves", { pool: "swap", gpus: 2 });
    const before = await team.uids("moves");
    await team.operator.stop();
    const { view } = team;
    const former = await view.client.get(nodeType, "swap-1");
    await view.client.delete(nodeType, "swap-1");
    const { labels = {}, annotations = {} } = former.metadata;
    const node = { metadata: { name: "swap-1", labels, annotations }, spec: {} };
    await view.client.create(nodeType, { ...node, status: former["status"] });
    await team.operate();
    await team.runs("moves", 2);
    expect(await team.uids("moves")).to.not.include.members(before);
  });

  /** As GitOps with force, or a restore: made again at once, with another uid. */
  async function makeAgain(name: string, spec: Record<string, unknown> = {}): Promise<void> {
    await unmake(name);
    await team.view.apply(project(name, { owner, ...spec }));
  }

  it("a project and its jobs made again take over", async () => {
    await team.pool("again");
    await team.view.apply(project("above", { owner }));
    await team.view.apply(project("below", { owner, parent: "above" }));
    await team.ready("below");
    await team.run("above/job", { pool: "again", gpus: 1 });
    await team.operator.stop();
    await makeAgain("above");
    await team.cancel("above/job");
    await team.submit("above/job", { pool: "again", gpus: 2 });
    await team.operate();
    await team.ready("above");
    await team.view.until("the tree to be as before", async () => {
      const { rows } = await team.database.pool.query<{ path: string }>(
        "SELECT path::text FROM projects WHERE name IN ('above', 'below') ORDER BY name",
      );
      return rows.map(({ path }) => path).join(" ") === "above above.below";
    });
    await team.stateOf("above/job", "Running");
  });

  it("a project made again waits for former jobs", async () => {
    await team.view.apply(project("busy", { owner }));
    await team.ready("busy");
    await team.run("busy/job", { pool: "again", gpus: 1 });
    await team.operator.stop();
    await makeAgain("busy");
    await team.operate();
    const waiting = await untilProjectSays(team.view, "busy", "FormerProjectHasJobs");
    expect(messageOf(waiting)).to.include("still has job busy/job");
    await team.cancel("busy/job");
    await team.ready("busy");
  });
});
