/** The project tree against a brute-force tree: random operations, racing moves, roles, deletion. */
import { randomUUID } from "node:crypto";
import { expect } from "chai";
import * as fc from "fast-check";
import { saveCommit } from "../../src/db/configs/commits.ts";
import { ensureOwner, ensureOwners } from "../../src/db/tenants/owners.ts";
import {
  ancestors,
  blockersOfDeletion,
  descendants,
  roleOf,
  settingsInEffect,
} from "../../src/db/tenants/project-tree.ts";
import { replacePlan } from "../../src/db/tenants/plans.ts";
import { readProjectViews } from "../../src/db/tenants/project-views.ts";
import { pruneProjects } from "../../src/db/history/prune.ts";
import { cancelJob } from "../../src/db/jobs/attempts.ts";
import {
  deleteProject,
  moveSubtree,
  projectOfNamespace,
  readProject,
  upsertProject,
} from "../../src/db/tenants/projects.ts";
import { canonicalizeValue } from "../../src/domain/canonical-json.ts";
import { labelOf } from "../../src/domain/project-path.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { addJob, addProject, monday, rejection } from "../support/fixtures.ts";
import { propertyDraws, propertyRuns } from "../support/property.ts";

/** Parents by name: the tree as anyone would write it. */
class NaiveTree {
  readonly parents = new Map<string, string | undefined>();

  line(name: string): string[] {
    const parent = this.parents.get(name);
    return parent === undefined ? [name] : [...this.line(parent), name];
  }

  below(name: string): string[] {
    return [...this.parents.keys()]
      .filter((other) => other !== name && this.line(other).includes(name))
      .sort();
  }
}

const user = (name: string, role: "viewer" | "submitter" | "admin") => ({
  kind: "User" as const,
  name,
  role,
});

describe("the project tree", () => {
  let database: TestDatabase;
  const pool = () => database.pool;

  before(async () => {
    database = await createTestDatabase();
  });
  after(() => database.drop());

  /** Every path against the recursive walk over parents, in the database itself. */
  async function wrongPaths(): Promise<number> {
    const { rows } = await pool().query(`
      WITH RECURSIVE line AS (
        SELECT id, project_label(name) AS path FROM projects WHERE parent_id IS NULL
        UNION ALL
        SELECT child.id, line.path || project_label(child.name)
        FROM line JOIN projects AS child ON child.parent_id = line.id
      )
      SELECT count(*)::int AS wrong
      FROM projects LEFT JOIN line USING (id)
      WHERE line.path IS DISTINCT FROM projects.path
    `);
    return rows[0].wrong;
  }

  it("agrees with a naive tree over random changes (model)", async () => {
    const operation = fc.record({
      kind: fc.constantFrom("add", "add", "move", "remove"),
      subject: fc.nat(30),
      target: fc.nat(30),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(operation, { minLength: 10, maxLength: 40 }),
        async (operations) => {
          await pool().query("TRUNCATE projects CASCADE");
          const tree = new NaiveTree();
          const ids = new Map<string, string>();
          for (const { kind, subject, target } of operations) {
            const name = `p-${subject}`;
            const parent = tree.parents.has(`p-${target}`) ? `p-${target}` : undefined;
            await gang(kind, name, parent, tree, ids);
          }
          for (const [name, id] of ids) {
            const above = (await ancestors(pool(), id)).map((project) => project.name);
            expect([...above, name]).to.deep.equal(tree.line(name));
            const project = await readProject(pool(), name);
            expect(project.path).to.deep.equal(tree.line(name).map(labelOf));
            const below = (await descendants(pool(), id)).map((one) => one.name);
            expect(below.toSorted()).to.deep.equal(tree.below(name));
          }
        },
      ),
      propertyRuns(40),
    );
  });

  async function gang(
    kind: string,
    name: string,
    parent: string | undefined,
    tree: NaiveTree,
    ids: Map<string, string>,
  ): Promise<void> {
    const id = ids.get(name);
    if (kind === "add" && id === undefined) {
      ids.set(name, await addProject(pool(), name, { parent }));
      tree.parents.set(name, parent);
    } else if (kind === "move" && id !== undefined) {
      await move(name, id, parent, tree);
    } else if (kind === "remove" && id !== undefined) {
      const leaf = tree.below(name).length === 0;
      const outcome = await deleteProject(pool(), id).catch(
        (error: { code: string }) => error.code,
      );
      expect(outcome).to.equal(leaf ? true : "ProjectHasChildren");
      if (leaf) tree.parents.delete(name);
      if (leaf) ids.delete(name);
    }
  }

  async function move(
    name: string,
    id: string,
    parent: string | undefined,
    tree: NaiveTree,
  ): Promise<void> {
    const cycle = parent !== undefined && tree.line(parent).includes(name);
    const outcome = await moveSubtree(pool(), id, parent).catch(
      (error: { code: string }) => error.code,
    );
    expect(outcome).to.equal(cycle ? "ProjectCycle" : undefined);
    if (!cycle) tree.parents.set(name, parent);
  }

  it("keeps every path while moves and inserts race", async () => {
    await pool().query("TRUNCATE projects CASCADE");
    const names = ["r-0", "r-1", "r-2", "r-3", "r-4", "r-5"];
    const ids = await Promise.all(names.map((name) => addProject(pool(), name)));
    const random = fc.sample(fc.tuple(fc.nat(5), fc.nat(5)), propertyDraws(120));
    const work = random.map(async ([child, parent], index) => {
      const id = ids[child] ?? "";
      if (index % 2 === 0) return addProject(pool(), `leaf-${index}`, { parent: names[parent] });
      return moveSubtree(pool(), id, child === parent ? undefined : names[parent]);
    });
    const outcomes = await Promise.allSettled(work);
    const codes = new Set(
      outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason.code] : [])),
    );
    expect([...codes].filter((code) => code !== "ProjectCycle")).to.deep.equal([]);
    expect(await wrongPaths()).to.equal(0);
    const { rows } = await pool().query(
      "SELECT count(*)::int AS leaves FROM projects WHERE name LIKE 'leaf%'",
    );
    expect(rows[0].leaves).to.equal(60);
  });

  it("refuses what would break the tree, whoever asks", async () => {
    const id = await addProject(pool(), "solid");
    const rejected = async (text: string) => rejection(pool().query(text, [id]));
    expect(await rejected("UPDATE projects SET path = 'other' WHERE id = $1")).to.have.property(
      "constraint",
      "projects_identity_is_fixed",
    );
    expect(await rejected("UPDATE projects SET name = 'other' WHERE id = $1")).to.have.property(
      "constraint",
      "projects_identity_is_fixed",
    );
    expect(await rejected("UPDATE projects SET parent_id = id WHERE id = $1")).to.have.property(
      "constraint",
      "projects_no_cycle",
    );
    expect((await rejection(addProject(pool(), "orphan", { parent: "nobody" }))).code).to.equal(
      "ParentNotFound",
    );
    expect((await rejection(addProject(pool(), "Not A Label"))).code).to.equal("InvalidValue");
    expect((await rejection(addProject(pool(), "solid"))).code).to.equal("AlreadyExists");
    const client = await pool().connect();
    await client.query("BEGIN ISOLATION LEVEL REPEATABLE READ");
    expect(
      await rejection(client.query("UPDATE projects SET parent_id = NULL WHERE id = $1", [id])),
    ).to.have.property("code", "0A000");
    await client.query("ROLLBACK");
    client.release();
  });

  it("passes roles, owner, borrowing and classes down", async () => {
    const root = await addProject(pool(), "lab", {
      owner: { kind: "Group", name: "lab-owners" },
      borrowing: "Deny",
      members: [user("ann", "viewer"), { kind: "Group", name: "staff", role: "submitter" }],
    });
    const leaf = await addProject(pool(), "lab-vision", {
      parent: "lab",
      priorityClasses: ["low"],
      members: [user("ann", "admin")],
    });
    expect(await roleOf(pool(), root, { user: "ann", groups: [] })).to.equal("viewer");
    expect(await roleOf(pool(), leaf, { user: "ann", groups: ["staff"] })).to.equal("admin");
    expect(await roleOf(pool(), leaf, { user: "bob", groups: ["staff"] })).to.equal("submitter");
    expect(await roleOf(pool(), leaf, { user: "staff", groups: ["ann"] })).to.equal(undefined);
    const views = await readProjectViews(pool(), [leaf], { instant: monday, timeZone: "UTC" });
    expect(views.get(leaf)?.members).to.deep.equal([
      user("ann", "admin"),
      { kind: "Group", name: "staff", role: "submitter" },
    ]);
    expect(await settingsInEffect(pool(), leaf)).to.deep.equal({
      owner: { kind: "Group", name: "lab-owners" },
      borrowing: "Deny",
      priorityClasses: ["low"],
    });
    await addProject(pool(), "lab-vision", {
      id: leaf,
      parent: "lab",
      members: [user("eve", "viewer")],
    });
    expect(await roleOf(pool(), leaf, { user: "ann", groups: [] })).to.equal("viewer");
  });

  it("shows many projects in one read", async () => {
    const owner = { kind: "Group" as const, name: "views-owners" };
    const root = await addProject(pool(), "views", {
      owner,
      generation: 3,
      members: [user("ann", "viewer"), user("bob", "admin")],
    });
    const leaf = await addProject(pool(), "views-leaf", {
      parent: "views",
      members: [user("ann", "submitter")],
    });
    const other = await addProject(pool(), "views-other");
    await addJob(pool(), leaf, {
      name: "waits",
      perPod: { gpus: 5, cpuMillis: 0, memoryBytes: 0 },
    });
    await replacePlan(pool(), {
      uid: randomUUID(),
      name: "views-plan",
      owner,
      resourceType: "GPU",
      pool: "default",
      quantity: 7,
      onWindowClose: "Finish",
      generation: 1,
    });
    const ids = [root, leaf, other, randomUUID()];
    const views = await readProjectViews(pool(), ids, { instant: monday, timeZone: "UTC" });
    expect([...views.keys()]).to.have.members([root, leaf, other]);
    const usage = { gpusRunning: 0, gpusPending: 5, gpusPlanned: 7 };
    expect(views.get(root)).to.deep.include({
      ...usage,
      generation: 3,
      path: "views",
      children: 1,
    });
    expect(views.get(leaf)).to.deep.include({
      ...usage,
      generation: 0,
      path: "views.views_leaf",
      parent: "views",
    });
    expect(views.get(other)).to.deep.include({ gpusPending: 0, gpusPlanned: 0, members: [] });
    expect(views.get(root)?.members).to.deep.equal([user("ann", "viewer"), user("bob", "admin")]);
    expect(views.get(leaf)?.members).to.deep.equal([
      user("ann", "submitter"),
      user("bob", "admin"),
    ]);
  });

  it("prunes absent projects that nothing needs", async () => {
    const [gone, below, present, above, busy] = [
      await addProject(pool(), "left"),
      await addProject(pool(), "left-below", { parent: "left" }),
      await addProject(pool(), "stays"),
      await addProject(pool(), "left-above"),
      await addProject(pool(), "left-busy"),
    ];
    const kept = await addProject(pool(), "stays-below", { parent: "left-above" });
    await addJob(pool(), busy, { name: "works" });
    const { rows } = await pool().query<{ id: string }>(
      "SELECT id FROM projects WHERE name NOT LIKE 'left%'",
    );
    await pruneProjects(
      pool(),
      rows.map(({ id }) => id),
    );
    const at = { instant: monday, timeZone: "UTC" };
    const left = await readProjectViews(pool(), [gone, below, present, above, busy, kept], at);
    expect([...left.keys()]).to.have.members([present, above, busy, kept]);
  });

  it("names what a deletion waits for, and keeps history", async () => {
    const id = await addProject(pool(), "busy");
    const child = await addProject(pool(), "busy-child", { parent: "busy" });
    const job = await addJob(pool(), id, { name: "train", parallelism: 2 });
    expect(await blockersOfDeletion(pool(), id)).to.deep.equal({
      children: ["busy-child"],
      jobs: ["team/train"],
    });
    expect((await rejection(deleteProject(pool(), id))).code).to.equal("ProjectHasChildren");
    await deleteProject(pool(), child);
    expect((await rejection(deleteProject(pool(), id))).code).to.equal("ProjectHasJobs");
    await cancelJob(pool(), { id: job, reason: "Deleted", message: "" });
    const commit = {
      id: randomUUID(),
      projectId: id,
      name: "c",
      content: canonicalizeValue({}),
      author: "ann",
      message: "",
    };
    await saveCommit(pool(), commit, { commits: 10, bytes: 1000 });
    expect(await deleteProject(pool(), id)).to.equal(true);
    expect(await deleteProject(pool(), id)).to.equal(false);
    const { rows } = await pool().query(
      `SELECT period.path FROM job_events AS event
       JOIN project_periods AS period USING (project_id)
       WHERE event.job_id = $1 AND event.at >= period.since AND event.at < period.until`,
      [job],
    );
    expect(rows).to.deep.equal([{ path: ["busy"] }, { path: ["busy"] }]);
  });

  it("stores storages with one owner, and finds projects by namespace", async () => {
    const storage = {
      name: "data",
      sizeBytes: 2n ** 41n,
      accessMode: "ReadWriteMany",
      affinity: { zone: "a" },
    };
    const owner = { kind: "User" as const, name: "sam" };
    const id = await addProject(pool(), "store", {
      owner,
      storages: [storage],
      namespace: "store-space",
    });
    await upsertProject(pool(), {
      id,
      name: "store",
      namespace: "store-space",
      owner,
      podSecurity: "baseline",
      members: [],
      storages: [{ ...storage, sizeBytes: 7n }],
    });
    const { rows } = await pool().query(
      "SELECT size_bytes, affinity_config, resource_owner_id FROM storages WHERE project_id = $1",
      [id],
    );
    expect(rows).to.deep.equal([
      {
        size_bytes: 7,
        affinity_config: { zone: "a" },
        resource_owner_id: await ensureOwner(pool(), "User", "sam"),
      },
    ]);
    expect((await projectOfNamespace(pool(), "store-space"))?.id).to.equal(id);
    expect(await projectOfNamespace(pool(), "store")).to.equal(undefined);
  });

  it("makes one owner under concurrency, users apart from groups", async () => {
    const names = ["x", "y", "z"];
    const asks = Array.from({ length: 30 }, (_, index) => {
      const order = index % 2 === 0 ? names : names.toReversed();
      return ensureOwners(
        pool(),
        order.map((name) => ({ kind: "Group" as const, name })),
      );
    });
    const ids = (await Promise.all(asks)).map((one, index) =>
      (index % 2 === 0 ? one : one.toReversed()).join(),
    );
    expect(new Set(ids).size).to.equal(1);
    const { rows } = await pool().query(
      "SELECT count(*)::int AS bare FROM resource_owners WHERE id NOT IN (SELECT id FROM owners)",
    );
    expect(rows[0].bare).to.equal(0);
    const group = await ensureOwner(pool(), "Group", "x");
    expect(
      await rejection(pool().query("INSERT INTO users (id, name) VALUES ($1, 'x')", [group])),
    ).to.have.property("constraint", "users_id_kind_fkey");
    expect(await ensureOwner(pool(), "User", "x")).to.not.equal(group);
  });
});
