/** Versioned configuration on real PostgreSQL. */
import { randomUUID } from "node:crypto";
import { expect } from "chai";
import * as fc from "fast-check";
import {
  diff,
  history,
  log,
  readCommitContent,
  removeCommits,
  saveCommit,
  show,
} from "../../src/db/configs/commits.ts";
import { canonicalizeValue, type JsonValue } from "../../src/domain/canonical-json.ts";
import { ampleLimits, contentOf } from "../support/contents.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { addProject, rejection } from "../support/fixtures.ts";
import { propertyRuns } from "../support/property.ts";

const codeOf = async (promise: Promise<unknown>) => (await rejection(promise)).code;

describe("configurations", () => {
  let database: TestDatabase;
  let project: string;
  const pool = () => database.pool;

  before(async () => {
    database = await createTestDatabase({ maxConnections: 100 });
    project = await addProject(database.pool, "team");
  });
  after(() => database.drop());

  const save = (
    name: string,
    text: string,
    more: { parent?: string; tag?: string; projectId?: string } = {},
  ) =>
    saveCommit(
      pool(),
      {
        id: randomUUID(),
        projectId: project,
        name,
        content: contentOf(text),
        author: "ann",
        message: `says ${name}`,
        ...more,
      },
      ampleLimits,
    );

  it("stores one blob for a hundred concurrent commits", async () => {
    const saved = await Promise.all(
      Array.from({ length: 100 }, (_, index) => save(`same-${index}`, '{"lr": 0.1, "a": [1]}')),
    );
    expect(new Set(saved.map(({ hash }) => hash)).size).to.equal(1);
    // Those that are saved at the same moment do not see each other; all that come later see them.
    expect(saved.filter(({ deduplicated }) => !deduplicated)).not.to.have.length(0);
    expect(await save("later", '{"lr": 0.1, "a": [1]}')).to.include({ deduplicated: true });
    const { rows } = await pool().query(
      `SELECT (SELECT count(*)::int FROM config_blobs) AS blobs,
        (SELECT count(*)::int FROM config_commits) AS commits`,
    );
    expect(rows).to.deep.equal([{ blobs: 1, commits: 101 }]);
  });

  it("tells nothing of contents of other projects", async () => {
    const other = await addProject(pool(), "other");
    expect(await save("secret", '"hunter2"')).to.include({ deduplicated: false });
    const guess = await save("guess", '"hunter2"', { projectId: other });
    expect(guess).to.include({ deduplicated: false });
    const again = await save("again", '"hunter2"', { projectId: other });
    expect(again).to.include({ deduplicated: true });
  });

  it("saves a commit once, with the same answer each time", async () => {
    const commit = {
      id: randomUUID(),
      projectId: project,
      name: "once",
      content: canonicalizeValue("new"),
      author: "ann",
      message: "",
    };
    const first = await saveCommit(pool(), commit, ampleLimits);
    expect(first.deduplicated).to.equal(false);
    expect(await saveCommit(pool(), commit, ampleLimits)).to.deep.equal(first);
  });

  it("lets the database refuse a wrong hash, and any change", async () => {
    const insert = pool().query("INSERT INTO config_blobs (hash, canonical) VALUES ($1, '{}')", [
      "0".repeat(64),
    ]);
    expect(await rejection(insert)).to.have.property(
      "constraint",
      "config_blobs_hash_is_of_content",
    );
    expect(
      await rejection(pool().query("UPDATE config_blobs SET canonical = '[]'")),
    ).to.have.property("constraint", "config_blobs_immutable");
    expect(
      await rejection(pool().query("UPDATE config_commits SET message = ''")),
    ).to.have.property("constraint", "config_commits_immutable");
  });

  it("logs, shows, resolves and diffs", async () => {
    await save("v1", '{"lr": 0.1, "layers": [1, 2]}', { tag: "first" });
    await save("v2", '{"lr": 0.2, "layers": [1, 2]}', { parent: "v1", tag: "second" });
    await save("v3", '{"lr": 0.2, "layers": [1]}', { parent: "v2" });
    expect((await log(pool(), project, 3)).map(({ name }) => name)).to.deep.equal([
      "v3",
      "v2",
      "v1",
    ]);
    expect(
      (await history(pool(), project, { tag: "second" }, 10)).map(({ name }) => name),
    ).to.deep.equal(["v2", "v1"]);
    const shown = await show(pool(), project, { tag: "second" });
    expect(shown).to.include({
      name: "v2",
      parent: "v1",
      author: "ann",
      text: '{"layers":[1,2],"lr":0.2}',
    });
    const { hash } = shown;
    expect(await readCommitContent(pool(), { namespace: "team", hash })).to.equal(shown.text);
    const elsewhere = readCommitContent(pool(), { namespace: "other", hash });
    expect(await rejection(elsewhere)).to.have.property("code", "ReferenceNotFound");
    expect(await diff(pool(), project, { tag: "first" }, { commit: "v3" })).to.deep.equal([
      { op: "remove", path: "/layers/1" },
      { op: "replace", path: "/lr", value: 0.2 },
    ]);
  });

  it("refuses taken names and tags, and unknown references", async () => {
    await save("tagged", "1", { tag: "stable" });
    const elsewhere = await addProject(pool(), "elsewhere");
    expect(await codeOf(save("again", "2", { tag: "stable" }))).to.equal("TagTaken");
    expect(await codeOf(save("tagged", "2"))).to.equal("AlreadyExists");
    expect(await codeOf(save("child", "2", { parent: "nobody" }))).to.equal("ParentCommitNotFound");
    expect(await codeOf(save("child", "2", { parent: "tagged", projectId: elsewhere }))).to.equal(
      "ParentCommitNotFound",
    );
    expect(await codeOf(save("child", "2", { projectId: randomUUID() }))).to.equal(
      "ProjectNotFound",
    );
    expect(await codeOf(show(pool(), project, { tag: "none" }))).to.equal("ReferenceNotFound");
    expect(await codeOf(show(pool(), project, { commit: "none" }))).to.equal("ReferenceNotFound");
    await save("own-tag", "3", { tag: "stable", projectId: elsewhere });
  });

  it("keeps a deleted commit's history, and frees its name", async () => {
    await save("left", '"left"', { tag: "moving" });
    await save("follower", '"follower"', { parent: "left" });
    const ref = { namespace: "configs", name: "left" };
    const { rows } = await pool().query<{ namespace: string }>(
      "SELECT namespace FROM projects WHERE id = $1",
      [project],
    );
    await removeCommits(pool(), { ...ref, namespace: rows[0]?.namespace ?? "" });
    expect(await codeOf(show(pool(), project, { commit: "left" }))).to.equal("ReferenceNotFound");
    expect(await codeOf(save("orphan", "4", { parent: "left" }))).to.equal("ParentCommitNotFound");
    const chain = await history(pool(), project, { commit: "follower" }, 10);
    expect(chain.map(({ name }) => name)).to.deep.equal(["follower", "left"]);
    await save("left", '"new"', { tag: "moving" });
    expect((await show(pool(), project, { tag: "moving" })).text).to.equal('"new"');
    const back = pool().query("UPDATE config_commits SET removed_at = NULL WHERE name = 'left'");
    expect(await rejection(back)).to.have.property("constraint", "config_commits_immutable");
  });

  it("returns any JSON unchanged, from text and jsonb", async () => {
    const storable = fc.jsonValue({ maxDepth: 4 }).filter((value) => {
      const text = JSON.stringify(value);
      return (
        !text.includes("\\u0000") &&
        !Object.is(value, -0) &&
        !/-?\d{16,}|e\+/.test(text) &&
        text.isWellFormed() &&
        !/\\ud[89a-f]/i.test(text)
      );
    });
    await fc.assert(
      fc.asyncProperty(storable, async (value) => {
        const canonical = canonicalizeValue(value as JsonValue);
        const commit = {
          id: randomUUID(),
          projectId: project,
          name: randomUUID(),
          content: canonical,
          author: "ann",
          message: "",
        };
        await saveCommit(pool(), commit, ampleLimits);
        const { rows } = await pool().query(
          "SELECT canonical, content FROM config_blobs WHERE hash = $1",
          [canonical.hash],
        );
        const back = canonicalizeValue(rows[0].content as JsonValue);
        expect([rows[0].canonical, back.hash]).to.deep.equal([canonical.canonical, canonical.hash]);
      }),
      propertyRuns(200),
    );
  });
});
