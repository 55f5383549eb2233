/** ConfigCommits on a real control plane: stored once, pinned, brought to jobs, deleted, lost and stored again. */
import { createHash } from "node:crypto";
import { expect } from "chai";
import { readyOf } from "../../../dev/quickstart/cluster-view.ts";
import { configMapName } from "../../../src/api/names.ts";
import { KubeError } from "../../../src/kube/errors.ts";
import type { KubeObject } from "../../../src/kube/resource.ts";
import { configCommits, configMaps, jobs } from "../../../src/resources/types.ts";
import type { ConfigCommit } from "../../../src/resources/types.ts";
import { commit } from "../../support/installation.ts";
import { useTeam } from "../../support/team.ts";
import { change, find, untilGone } from "../../support/tenants.ts";

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
const oneMebibyte = 1024 * 1024;

const commitOf = (name: string, content: unknown, more: object = {}): KubeObject =>
  commit(name, { content, ...more });

describe("ConfigCommits", () => {
  const team = useTeam();

  before(() => team.cluster.addNodes({ count: 1, gpus: 8 }));

  const untilSays = (name: string, reason: string): Promise<ConfigCommit> =>
    team.view.until(`commit ${name} to say ${reason}`, async () => {
      const found = configCommits.project(
        await team.view.client.get(configCommits, `team/${name}`),
      );
      return readyOf(found)?.reason === reason && found;
    });
  const remove = (name: string) => team.view.client.delete(configCommits, `team/${name}`);
  const run = (name: string, configRef: object) => team.submit(name, { spec: { configRef } });
  const untilRuns = (name: string) => team.stateOf(name, "Running");
  const stop = team.cancel;
  const contentOf = async (hash: string): Promise<string> => {
    const found = await team.view.client.get(configMaps, `team/${configMapName(hash)}`);
    return (found["data"] as Record<string, string>)["config.json"] ?? "";
  };
  const untilDropped = (hash: string) =>
    untilGone(team.view, configMaps, `team/${configMapName(hash)}`);

  it("store equal content once, whatever the order of its keys", async () => {
    await team.view.apply(commitOf("one", { a: 1, b: [true, null] }));
    const one = await untilSays("one", "Stored");
    expect(one.status).to.include({ hash: sha256('{"a":1,"b":[true,null]}'), deduplicated: false });
    await team.view.apply(commitOf("two", { b: [true, null], a: 1 }, { parent: "one" }));
    const two = await untilSays("two", "Stored");
    expect(two.status).to.include({ hash: one.status.hash, deduplicated: true });
  });

  it("keep tags unique, and free them when deleted", async () => {
    await team.view.apply(commitOf("tagged", 1, { tag: "stable" }));
    await untilSays("tagged", "Stored");
    await team.view.apply(commitOf("also", 2, { tag: "stable" }));
    const rejected = await untilSays("also", "TagTaken");
    expect(readyOf(rejected)?.message).to.include('spec.tag "stable"');
    await remove("tagged");
    await untilSays("also", "Stored");
  });

  it("can be recreated under the same name", async () => {
    await team.view.apply(commitOf("again", "first"));
    const first = await untilSays("again", "Stored");
    await team.view.apply(commitOf("after", "child", { parent: "again" }));
    await untilSays("after", "Stored");
    await remove("again");
    await untilGone(team.view, configCommits, "team/again");
    await team.view.apply(commitOf("again", "second"));
    const second = await untilSays("again", "Stored");
    expect(second.status.hash).not.to.equal(first.status.hash);
    await team.operator.kill();
    await remove("again");
    await team.view.apply(commitOf("again", "third"));
    await team.operate();
    expect((await untilSays("again", "Stored")).status.hash).to.equal(sha256('"third"'));
  });

  it("reach jobs as immutable ConfigMaps while they are needed", async () => {
    await team.view.apply(commitOf("needed", { lr: 0.1 }, { tag: "needed" }));
    const { hash = "" } = (await untilSays("needed", "Stored")).status;
    expect(await find(team.view, configMaps, `team/${configMapName(hash)}`)).to.equal(undefined);
    await run("by-name", { commit: "needed" });
    await run("by-tag", { tag: "needed" });
    expect((await untilRuns("by-name")).status.configHash).to.equal(hash);
    await untilRuns("by-tag");
    expect(await contentOf(hash)).to.equal('{"lr":0.1}');
    await remove("needed");
    await stop("by-name");
    await team.view.until("one job to be left", async () => {
      const { rows } = await team.database.pool.query(
        "SELECT FROM jobs WHERE active_project_id IS NOT NULL",
      );
      return rows.length === 1;
    });
    // Deleted by hand, though a job runs on it, whose commit is deleted: it comes back.
    await team.view.client.delete(configMaps, `team/${configMapName(hash)}`);
    await team.view.until("the ConfigMap to be back", async () =>
      find(team.view, configMaps, `team/${configMapName(hash)}`),
    );
    expect(await contentOf(hash)).to.equal('{"lr":0.1}');
    await stop("by-tag");
    await untilDropped(hash);
  });

  it("do not run on somebody else's ConfigMap", async () => {
    await team.view.apply(commitOf("forged", { lr: 0.2 }));
    const { hash = "" } = (await untilSays("forged", "Stored")).status;
    const forged = {
      metadata: { namespace: "team", name: configMapName(hash) },
      data: { "config.json": '{"lr":1000}' },
    };
    const made = await team.view.client.create(configMaps, forged).catch((error: unknown) => error);
    // With the admission policies nobody can; without them it is replaced.
    if (made instanceof KubeError) expect(made.status).to.be.oneOf([403, 422]);
    await run("careful", { commit: "forged" });
    await untilRuns("careful");
    expect(await contentOf(hash)).to.equal('{"lr":0.2}');
    await stop("careful");
    await untilDropped(hash);
  });

  it("run up to the largest size, and are refused beyond", async () => {
    // A JSON text of exactly that many bytes: two are the quotes.
    await team.view.apply(commitOf("largest", "x".repeat(oneMebibyte - 2)));
    const { hash = "" } = (await untilSays("largest", "Stored")).status;
    await run("large", { commit: "largest" });
    await untilRuns("large");
    expect(await contentOf(hash)).to.have.length(oneMebibyte);
    await stop("large");
    for (const bytes of [oneMebibyte + 1, 1_400_000]) {
      const name = `over-${bytes}`;
      await team.view.apply(commitOf(name, "x".repeat(bytes - 2)));
      const rejected = await untilSays(name, "InvalidConfiguration");
      expect(readyOf(rejected)?.message).to.include(
        `spec.content of "${name}": ${bytes} bytes exceed the 1048576 bytes of a ConfigMap`,
      );
    }
    const beyond = await team.view
      .apply(commitOf("beyond", "x".repeat(2 * oneMebibyte)))
      .catch((error: unknown) => error);
    expect(String(beyond)).to.match(/too large|larger than max|limit is/i);
  });

  it("are stored again after the database lost its content", async () => {
    await team.view.apply(commitOf("base", { epoch: 1 }));
    await untilSays("base", "Stored");
    await team.view.apply(commitOf("next", { epoch: 2 }, { parent: "base", tag: "next" }));
    const { hash = "" } = (await untilSays("next", "Stored")).status;
    await run("pinned", { tag: "next" });
    await untilRuns("pinned");
    await team.operator.kill();
    await team.database.pool.query("DROP SCHEMA public CASCADE");
    await team.database.pool.query("CREATE SCHEMA public");
    await remove("base");
    await team.operate({ ROTA_TAKEOVER_SECONDS: "1" });
    await team.view.until("the commit to be stored again", async () => {
      const { rows } = await team.database.pool.query(
        "SELECT FROM config_commits WHERE version_tag = 'next' AND blob_hash = $1",
        [hash],
      );
      return rows.length === 1;
    });
    const { status } = await untilRuns("pinned");
    expect(status).to.include({ configHash: hash, attempt: 1 });
    expect(await contentOf(hash)).to.equal('{"epoch":2}');
    await stop("pinned");
    await untilDropped(hash);
  });

  it("are immutable once stored", async () => {
    await team.view.apply(commitOf("fixed", 1));
    await untilSays("fixed", "Stored");
    const changed = await change(team.view, configCommits, "team/fixed", {
      spec: { content: 2 },
    }).catch((error: unknown) => error);
    expect(String(changed)).to.include("a ConfigCommit is immutable");
  });

  it("are expunged for good, and their jobs say so", async () => {
    const content = { password: "hunter2" };
    await team.view.apply(commitOf("secret", content));
    const { hash = "" } = (await untilSays("secret", "Stored")).status;
    await run("exposed", { commit: "secret" });
    await untilRuns("exposed");
    await team.submit("waiting", { gpus: 8, spec: { configRef: { commit: "secret" } } });
    await team.waits("waiting");

    await team.database.pool.query("SELECT expunge_content($1, 'sue', 'a password')", [hash]);
    await remove("secret");
    await team.view.client.delete(configMaps, `team/${configMapName(hash)}`);
    for (const name of ["exposed", "waiting"])
      await change(team.view, jobs, `team/${name}`, {
        metadata: { annotations: { read: "anew" } },
      });
    const cancelled = await team.reasonOf("waiting", "ContentExpunged");
    expect(cancelled.status.state).to.equal("Cancelled");
    expect(cancelled.status.message).to.match(/ was expunged on .* by sue .*: a password$/);
    const exposed = await team.until("exposed", "say so", ({ status }) =>
      (status.conditions ?? []).some(({ type }) => type === "ConfigExpunged"),
    );
    expect(exposed.status.state).to.equal("Running");

    await team.view.apply(commitOf("secret", content));
    const refused = await untilSays("secret", "ContentExpunged");
    expect(readyOf(refused)?.message).to.match(/ was expunged on .* by sue .*: a password$/);
    expect(await find(team.view, configMaps, `team/${configMapName(hash)}`)).to.equal(undefined);
    await team.suspend("exposed", true);
    await team.reasonOf("exposed", "ContentExpunged");
    for (const name of ["exposed", "waiting"]) await stop(name);
  });

  it("are refused beyond the project's limit", async () => {
    await team.view.apply(commitOf("within", 1));
    await untilSays("within", "Stored");
    await team.operator.stop();
    await team.operate({ ROTA_PROJECT_COMMITS: "1" });
    await team.view.apply(commitOf("beyond-limit", 2));
    const refused = await untilSays("beyond-limit", "CommitLimitExceeded");
    expect(readyOf(refused)?.message).to.match(
      /the project has \d+ commits, of at most 1\. Delete commits .* count for 30 days/,
    );
    expect((await untilSays("within", "Stored")).status.hash).to.equal(sha256("1"));
  });
});
