/** ConfigCommits on a real control plane: stored once, pinned, brought to jobs, deleted, lost and stored again. */
import { createHash } from "node:crypto";
import { expect } from "chai";
import type { Operator } from "../../../dev/local/operator.ts";
import { readyOf } from "../../../dev/quickstart/cluster-view.ts";
import { configMapName } from "../../../src/api/names.ts";
import { KubeError } from "../../../src/kube/errors.ts";
import type { KubeObject } from "../../../src/kube/resource.ts";
import { configCommits, configMaps, jobs } from "../../../src/resources/types.ts";
import type { ConfigCommit } from "../../../src/resources/types.ts";
import { job, project, startInstallation, type Installation } from "../../support/installation.ts";
import { change, find, untilGone, untilProjectSays } from "../../support/tenants.ts";

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
const oneMebibyte = 1024 * 1024;

const commit = (name: string, content: unknown, more: object = {}): KubeObject => ({
  apiVersion: "rota.dev/v1alpha1",
  kind: "ConfigCommit",
  metadata: { namespace: "team", name },
  spec: { content, ...more },
});

describe("commits", () => {
  let installation: Installation;
  let operator: Operator;

  before(async () => {
    installation = await startInstallation();
    await installation.cluster.addNodes({ count: 1, gpus: 8, pool: "default" });
    operator = await installation.operate();
    await view().apply(project("team"));
    await untilProjectSays(view(), "team", "Ready");
  });
  after(() => installation.stop());

  const view = () => installation.view;
  const untilSays = (name: string, reason: string): Promise<ConfigCommit> =>
    view().until(`commit ${name} to say ${reason}`, async () => {
      const found = configCommits.project(await view().client.get(configCommits, `team/${name}`));
      return readyOf(found)?.reason === reason && found;
    });
  const remove = (name: string) => view().client.delete(configCommits, `team/${name}`);
  const run = (name: string, configRef: object) =>
    view().apply(job("team", name, { gpus: 1, pool: "default", spec: { configRef } }));
  const untilRuns = (name: string) =>
    view().until(`job ${name} to run`, async () => {
      const found = await view().job(`team/${name}`);
      return found.status.state === "Running" && found;
    });
  const stop = (name: string) => view().client.delete(jobs, `team/${name}`);
  const contentOf = async (hash: string): Promise<string> => {
    const found = await view().client.get(configMaps, `team/${configMapName(hash)}`);
    return (found["data"] as Record<string, string>)["config.json"] ?? "";
  };
  const untilDropped = (hash: string) =>
    untilGone(view(), configMaps, `team/${configMapName(hash)}`);

  it("store equal content once, whatever the order of its keys", async () => {
    await view().apply(commit("one", { a: 1, b: [true, null] }));
    const one = await untilSays("one", "Stored");
    expect(one.status).to.include({ hash: sha256('{"a":1,"b":[true,null]}'), deduplicated: false });
    await view().apply(commit("two", { b: [true, null], a: 1 }, { parent: "one" }));
    const two = await untilSays("two", "Stored");
    expect(two.status).to.include({ hash: one.status.hash, deduplicated: true });
  });

  it("keep tags unique, and give a tag free with the commit that had it", async () => {
    await view().apply(commit("tagged", 1, { tag: "stable" }));
    await untilSays("tagged", "Stored");
    await view().apply(commit("also", 2, { tag: "stable" }));
    const rejected = await untilSays("also", "TagTaken");
    expect(readyOf(rejected)?.message).to.include('spec.tag "stable"');
    await remove("tagged");
    await untilSays("also", "Stored");
  });

  it("can be made again under the name of one that was deleted, also while the operator was down", async () => {
    await view().apply(commit("again", "first"));
    const first = await untilSays("again", "Stored");
    await view().apply(commit("after", "child", { parent: "again" }));
    await untilSays("after", "Stored");
    await remove("again");
    await untilGone(view(), configCommits, "team/again");
    await view().apply(commit("again", "second"));
    const second = await untilSays("again", "Stored");
    expect(second.status.hash).not.to.equal(first.status.hash);
    await operator.kill();
    await remove("again");
    await view().apply(commit("again", "third"));
    operator = await installation.operate();
    expect((await untilSays("again", "Stored")).status.hash).to.equal(sha256('"third"'));
  });

  it("come to jobs as immutable ConfigMaps that are there while a job needs them", async () => {
    await view().apply(commit("needed", { lr: 0.1 }, { tag: "needed" }));
    const { hash = "" } = (await untilSays("needed", "Stored")).status;
    expect(await find(view(), configMaps, `team/${configMapName(hash)}`)).to.equal(undefined);
    await run("by-name", { commit: "needed" });
    await run("by-tag", { tag: "needed" });
    expect((await untilRuns("by-name")).status.configHash).to.equal(hash);
    await untilRuns("by-tag");
    expect(await contentOf(hash)).to.equal('{"lr":0.1}');
    await remove("needed");
    await stop("by-name");
    await view().until("one job to be left", async () => {
      const { rows } = await installation.database.pool.query(
        "SELECT FROM jobs WHERE active_project_id IS NOT NULL",
      );
      return rows.length === 1;
    });
    // Deleted by hand, though a job runs on it, whose commit is deleted: it comes back.
    await view().client.delete(configMaps, `team/${configMapName(hash)}`);
    await view().until("the ConfigMap to be back", async () =>
      find(view(), configMaps, `team/${configMapName(hash)}`),
    );
    expect(await contentOf(hash)).to.equal('{"lr":0.1}');
    await stop("by-tag");
    await untilDropped(hash);
  });

  it("do not run on a ConfigMap that somebody else put in the place", async () => {
    await view().apply(commit("forged", { lr: 0.2 }));
    const { hash = "" } = (await untilSays("forged", "Stored")).status;
    const forged = {
      metadata: { namespace: "team", name: configMapName(hash) },
      data: { "config.json": '{"lr":1000}' },
    };
    const made = await view()
      .client.create(configMaps, forged)
      .catch((error: unknown) => error);
    // With the admission policies nobody can; without them it is replaced.
    if (made instanceof KubeError) expect(made.status).to.be.oneOf([403, 422]);
    await run("careful", { commit: "forged" });
    await untilRuns("careful");
    expect(await contentOf(hash)).to.equal('{"lr":0.2}');
    await stop("careful");
    await untilDropped(hash);
  });

  it("of the largest size run, and larger ones are refused by name and size", async () => {
    // A JSON text of exactly that many bytes: two are the quotes.
    await view().apply(commit("largest", "x".repeat(oneMebibyte - 2)));
    const { hash = "" } = (await untilSays("largest", "Stored")).status;
    await run("large", { commit: "largest" });
    await untilRuns("large");
    expect(await contentOf(hash)).to.have.length(oneMebibyte);
    await stop("large");
    for (const bytes of [oneMebibyte + 1, 1_400_000]) {
      const name = `over-${bytes}`;
      await view().apply(commit(name, "x".repeat(bytes - 2)));
      const rejected = await untilSays(name, "InvalidConfiguration");
      expect(readyOf(rejected)?.message).to.include(
        `spec.content of "${name}": ${bytes} bytes exceed the 1048576 bytes of a ConfigMap`,
      );
    }
    const beyond = await view()
      .apply(commit("beyond", "x".repeat(2 * oneMebibyte)))
      .catch((error: unknown) => error);
    expect(String(beyond)).to.match(/too large|larger than max|limit is/i);
  });

  it("are stored again when the database lost its content, and jobs stay pinned to deleted ones", async () => {
    await view().apply(commit("base", { epoch: 1 }));
    await untilSays("base", "Stored");
    await view().apply(commit("next", { epoch: 2 }, { parent: "base", tag: "next" }));
    const { hash = "" } = (await untilSays("next", "Stored")).status;
    await run("pinned", { tag: "next" });
    await untilRuns("pinned");
    await operator.kill();
    await installation.database.pool.query("DROP SCHEMA public CASCADE");
    await installation.database.pool.query("CREATE SCHEMA public");
    await remove("base");
    operator = await installation.operate();
    await view().until("the commit to be stored again", async () => {
      const { rows } = await installation.database.pool.query(
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

  it("do not change", async () => {
    await view().apply(commit("fixed", 1));
    await untilSays("fixed", "Stored");
    const changed = await change(view(), configCommits, "team/fixed", {
      spec: { content: 2 },
    }).catch((error: unknown) => error);
    expect(String(changed)).to.include("a ConfigCommit is immutable");
  });
});
