/** What a project may store, what is pruned, and what is expunged, on real PostgreSQL. */
import { randomUUID } from "node:crypto";
import { expect } from "chai";
import {
  type CommitLimits,
  diff,
  history,
  log,
  readCommitContent,
  removeCommits,
  saveCommit,
  show,
} from "../../src/db/configs/commits.ts";
import { readConfigUses } from "../../src/db/configs/uses.ts";
import { pruneContents, pruneRemovedCommits } from "../../src/db/history/prune.ts";
import { cancelJob, forgetJobs } from "../../src/db/jobs/attempts.ts";
import { readJobView } from "../../src/db/jobs/read.ts";
import { waitFor } from "../../dev/local/wait.ts";
import { pruneOnce } from "../../src/operator/history-cleaner.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import { silentLogger } from "../../src/runtime/logger.ts";
import { readSettings } from "../../src/settings/read.ts";
import { ampleLimits, contentOf } from "../support/contents.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { addJob, addProject, rejection } from "../support/fixtures.ts";

describe("retention of configurations", () => {
  let database: TestDatabase;
  const pool = () => database.pool;

  before(async () => {
    database = await createTestDatabase();
  });
  after(() => database.drop());

  interface Project {
    readonly id: string;
    readonly name: string;
  }

  async function newProject(): Promise<Project> {
    const name = `p-${randomUUID().slice(0, 8)}`;
    return { id: await addProject(pool(), name), name };
  }

  const save = (
    projectId: string,
    name: string,
    text: string,
    more: { parent?: string; tag?: string; limits?: CommitLimits; id?: string } = {},
  ) =>
    saveCommit(
      pool(),
      {
        id: more.id ?? randomUUID(),
        projectId,
        name,
        content: contentOf(text),
        author: "ann",
        message: "",
        parent: more.parent,
        tag: more.tag,
      },
      more.limits ?? ampleLimits,
    );

  const remove = ({ name: namespace }: Project, name: string) =>
    removeCommits(pool(), { namespace, name });

  /** As if everything that is there now had happened long ago. */
  async function age(): Promise<void> {
    await pool().query(`
      SET session_replication_role = replica;
      UPDATE config_blobs SET created_at = created_at - interval '40 days';
      UPDATE config_commits SET removed_at = removed_at - interval '40 days';
      SET session_replication_role = origin;
    `);
  }
  const monthAgo = () => Temporal.Now.instant().subtract({ hours: 30 * 24 });

  async function prune(): Promise<void> {
    await pruneRemovedCommits(pool(), monthAgo(), 1000);
    await pruneContents(pool(), monthAgo(), 1000);
  }

  async function isStored(text: string): Promise<boolean> {
    const { hash } = contentOf(text);
    return (await pool().query("SELECT FROM config_blobs WHERE hash = $1", [hash])).rowCount === 1;
  }

  /** Until a statement of this database waits for a row that another transaction has locked. */
  async function someoneWaits(): Promise<void> {
    const waiting = `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`;
    await waitFor(async () => (await pool().query(waiting)).rowCount === 1, {
      what: "a statement to wait for a lock",
      timeoutMs: 10_000,
    });
  }

  it("refuses commits beyond the project's limits", async () => {
    const { id } = await newProject();
    const few = { commits: 2, bytes: 1000 };
    await save(id, "a", "1", { limits: few });
    const second = { limits: few, id: randomUUID() };
    await save(id, "b", "2", second);
    const refused = await rejection(save(id, "c", '"beyond"', { limits: few }));
    expect(refused).to.include({ code: "CommitLimitExceeded" });
    expect(refused.message).to.equal("the project has 2 commits, of at most 2");
    expect(await isStored('"beyond"')).to.equal(false);
    expect(await save(id, "b", "2", second)).to.include({ deduplicated: false });
    await save((await newProject()).id, "c", "3", { limits: few });
  });

  it("refuses contents beyond the project's limit, equal ones once", async () => {
    const { id } = await newProject();
    const small = { commits: 100, bytes: 100 };
    const text = `"${"x".repeat(70)}"`;
    await save(id, "a", text, { limits: small });
    await save(id, "again", text, { limits: small });
    const refused = await rejection(save(id, "b", `"${"y".repeat(70)}"`, { limits: small }));
    expect(refused).to.include({ code: "CommitLimitExceeded" });
    expect(refused.message).to.match(/have 72 bytes; with 72 more .* maximum of 100$/);
    await save(id, "c", '"z"', { limits: small });
  });

  it("prunes what nothing needs, and nothing else", async () => {
    const project = await newProject();
    const { id } = project;
    const text = (name: string) => `"pruned? ${name}"`;
    for (const name of ["present", "tagged", "gone", "pinned", "parent"])
      await save(id, name, text(name), name === "tagged" ? { tag: "v1" } : {});
    await save(id, "child", text("child"), { parent: "parent" });
    const pinned = contentOf(text("pinned")).hash;
    const job = await addJob(pool(), id, { configHash: pinned, namespace: project.name });
    for (const name of ["gone", "pinned", "parent"]) await remove(project, name);
    await age();
    await save(id, "young", text("young"));
    await remove(project, "young");
    await prune();
    const left = async () => {
      const names = ["present", "tagged", "gone", "pinned", "parent", "child", "young"];
      const stored = await Promise.all(names.map((name) => isStored(text(name))));
      return names.filter((_, at) => stored[at]);
    };
    expect(await left()).to.deep.equal(["present", "tagged", "pinned", "child", "young"]);
    const [child] = await history(pool(), id, { commit: "child" }, 10);
    expect(child).to.include({ name: "child", parent: null });
    expect((await show(pool(), id, { tag: "v1" })).text).to.equal(text("tagged"));
    await cancelJob(pool(), { id: job, reason: "Deleted", message: "" });
    await prune();
    expect(await left()).to.include("pinned");
    await forgetJobs(pool(), Temporal.Now.instant().add({ hours: 1 }), 1000);
    await prune();
    expect(await left()).not.to.include("pinned");
  });

  it("is what the leader does by default", async () => {
    const project = await newProject();
    await save(project.id, "old", '"old"');
    await remove(project, "old");
    await age();
    const settings = readSettings({ DATABASE_URL: database.url }, false);
    const context = { db: pool(), clock: systemClock, logger: silentLogger, settings };
    await pruneOnce(context, new AbortController().signal);
    expect(await isStored('"old"')).to.equal(false);
    const { rowCount } = await pool().query("SELECT FROM config_commits WHERE project_id = $1", [
      project.id,
    ]);
    expect(rowCount).to.equal(0);
  });

  it("prunes in batches, and never what is young", async () => {
    const project = await newProject();
    for (let index = 0; index < 5; index += 1) {
      await save(project.id, `batch-${index}`, `"batch ${index}"`);
      await remove(project, `batch-${index}`);
    }
    await age();
    expect(await pruneRemovedCommits(pool(), monthAgo(), 2)).to.equal(2);
    await pruneRemovedCommits(pool(), monthAgo(), 1000);
    expect(await pruneContents(pool(), monthAgo(), 2)).to.equal(2);
    expect(await pruneContents(pool(), monthAgo(), 1000)).to.be.at.least(3);
    const now = Temporal.Now.instant();
    for (const early of [pruneRemovedCommits, pruneContents])
      expect(await rejection(early(pool(), now, 1))).to.have.property(
        "code",
        "ConfigurationImmutable",
      );
  });

  it("never loses a content that is saved while it is pruned", async () => {
    const { id } = await newProject();
    const text = (index: number) => `"saved while pruned ${index}"`;
    const count = 40;
    for (let round = 0; round < 3; round += 1) {
      for (let index = 0; index < count; index += 1)
        await pool().query(
          "INSERT INTO config_blobs (hash, canonical) VALUES ($1, $2) ON CONFLICT DO NOTHING",
          [contentOf(text(index)).hash, text(index)],
        );
      await age();
      const pruning = Promise.all(
        Array.from({ length: count }, () => pruneContents(pool(), monthAgo(), 3)),
      );
      const names = Array.from({ length: count }, (_, index) => `race-${round}-${index}`);
      await Promise.all([
        pruning,
        ...names.map((name, index) => save(id, name, text(index), { tag: name })),
      ]);
      for (const [index, name] of names.entries())
        expect((await show(pool(), id, { tag: name })).text).to.equal(text(index));
      await pool().query("DELETE FROM config_commits WHERE project_id = $1", [id]);
    }
  });

  it("waits with a save for a deletion under way, and the other way round", async () => {
    const { id } = await newProject();
    const content = contentOf('"under way"');
    await pool().query("INSERT INTO config_blobs (hash, canonical) VALUES ($1, $2)", [
      content.hash,
      content.canonical,
    ]);
    await age();
    const client = await pool().connect();
    try {
      await client.query("BEGIN");
      await client.query("SELECT FROM config_blobs WHERE hash = $1 FOR UPDATE", [content.hash]);
      const saving = save(id, "kept", content.canonical);
      await someoneWaits();
      expect(await pruneContents(client, monthAgo(), 1000)).to.be.at.least(1);
      await client.query("COMMIT");
      await saving;
      expect((await show(pool(), id, { commit: "kept" })).text).to.equal(content.canonical);
      await pool().query("DELETE FROM config_commits WHERE project_id = $1", [id]);
      await age();
      await client.query("BEGIN");
      const commit = { id: randomUUID(), projectId: id, name: "first", content };
      await saveCommit(client, { ...commit, author: "ann", message: "" }, ampleLimits);
      await pruneContents(pool(), monthAgo(), 1000);
      await client.query("COMMIT");
      expect((await show(pool(), id, { commit: "first" })).text).to.equal(content.canonical);
    } finally {
      client.release();
    }
  });

  it("expunges a content for good, and keeps who did it", async () => {
    const project = await newProject();
    const { id, name: namespace } = project;
    await save(id, "secret", '"hunter2"', { tag: "leak" });
    await save(id, "harmless", "1");
    const { hash } = contentOf('"hunter2"');
    const job = await addJob(pool(), id, { configHash: hash, namespace });
    expect(await readConfigUses(pool(), [namespace])).to.have.length(1);
    await pool().query("SELECT expunge_content($1, $2, $3)", [hash, "sue", "a password"]);

    const words = new RegExp(
      `^the content ${hash} was expunged on \\S+Z by sue \\(database role \\w+\\): a password$`,
    );
    const { rows } = await pool().query("SELECT * FROM config_blobs WHERE hash = $1", [hash]);
    expect(JSON.stringify(rows)).not.to.include("hunter2");
    expect(rows[0]).to.include({ canonical: null, content: null, expunge_reason: "a password" });
    const other = await newProject();
    for (const read of [
      () => show(pool(), id, { tag: "leak" }),
      () => readCommitContent(pool(), { namespace, hash }),
      () => diff(pool(), id, { commit: "secret" }, { commit: "harmless" }),
      () => save(id, "again", '"hunter2"'),
      () => save(other.id, "elsewhere", '"hunter2"'),
    ]) {
      const refused = await rejection(read());
      expect(refused).to.include({ code: "ContentExpunged" });
      expect(refused.message).to.match(words);
    }
    expect((await log(pool(), id, 10)).map(({ name }) => name)).to.have.members([
      "secret",
      "harmless",
    ]);
    expect((await readJobView(pool(), job))?.expunged).to.match(words);
    expect(await readConfigUses(pool(), [namespace])).to.deep.equal([]);

    const again = pool().query("SELECT expunge_content($1, 'eve', 'other')", [hash]);
    expect((await rejection(again)).message).to.include("was expunged before");
    const back = pool().query(
      `UPDATE config_blobs SET canonical = '"hunter2"', expunged_at = NULL, expunged_by = NULL, expunge_reason = NULL
       WHERE hash = $1`,
      [hash],
    );
    expect(await rejection(back)).to.have.property("constraint", "config_blobs_immutable");
    await remove(project, "secret");
    await age();
    await prune();
    expect(await isStored('"hunter2"')).to.equal(true);
  });
});
