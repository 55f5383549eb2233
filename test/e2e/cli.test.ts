import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";
import { load } from "js-yaml";
import type { Operator } from "../../dev/local/operator.ts";
import { waitFor } from "../../dev/local/wait.ts";
import type { KubeObject } from "../../src/kube/resource.ts";
import { configCommits } from "../../src/resources/types.ts";
import {
  job,
  owner,
  plan,
  startInstallation,
  teamJobIs,
  type Installation,
} from "../support/installation.ts";
import { fillTenants, setUpTenants, robotToken } from "../support/tenants-fixture.ts";
import { buildPlugin, writeUserKubeconfig, type Outcome, type Plugin } from "../support/plugin.ts";

const commit = (name: string, spec: Readonly<Record<string, unknown>>): KubeObject => ({
  apiVersion: "rota.dev/v1alpha1",
  kind: "ConfigCommit",
  metadata: { namespace: "team", name },
  spec,
});

describe("kubectl rota", function () {
  let installation: Installation;
  let operator: Operator;
  let plugin: Plugin;
  const kubeconfigs = new Map<string, string>();

  /** Straight to the operator: see service-proxy.test.ts for the way through the API server. */
  const direct = () => ["--server", operator.apiUrl, "--insecure-skip-tls-verify"];
  const as = (user: string, ...args: string[]): Promise<Outcome> =>
    plugin.run(kubeconfigs.get(user) ?? "", [...args, ...direct()]);
  const ok = async (user: string, ...args: string[]): Promise<string> => {
    const { status, stdout, stderr } = await as(user, ...args);
    expect(stderr).to.equal("");
    expect(status).to.equal(0);
    return stdout;
  };
  const json = async <Data>(user: string, ...args: string[]): Promise<Data> =>
    JSON.parse(await ok(user, ...args, "-o", "json")) as Data;

  before(async () => {
    [plugin, installation] = await Promise.all([buildPlugin(), startInstallation()]);
    const { view, cluster } = installation;
    operator = await setUpTenants(installation, [
      plan("pat-days", {
        owner,
        pool: "blue",
        quantity: 16,
        timeWindows: [{ start: "06:30", end: "22:00" }],
      }),
      plan("pat-nights", {
        owner,
        pool: "blue",
        quantity: 12,
        timeWindows: [{ start: "22:00", end: "06:30" }],
      }),
    ]);
    await view.until("the plans to be accepted", async () =>
      (await view.plans()).every(({ status }) => status.acceptedGeneration !== undefined),
    );
    await view.apply(
      plan("pat-crunch", {
        owner,
        pool: "blue",
        quantity: 20,
        timeWindows: [{ days: ["Mon"], start: "12:00", end: "16:00" }],
      }),
    );
    const commits = [
      commit("one", { content: { rate: 0.1, layers: [1, 2] }, tag: "v1", message: "first" }),
      commit("two", {
        content: { rate: 0.2, layers: [1, 3], warm: true },
        parent: "one",
        message: "second",
      }),
    ];
    for (const object of commits) await view.apply(object);
    // A commit whose parent is not known yet is looked at again some seconds later.
    await view.until("the commits to be stored", async () => {
      const found = (await view.client.list(configCommits)).map(configCommits.project);
      return found.filter(({ status }) => status.hash !== undefined).length === commits.length;
    });
    await fillTenants(installation, { running: 6, waiting: 4 });
    kubeconfigs.set("admin", cluster.kubeconfig);
    for (const user of ["val", "ann", "stranger"]) kubeconfigs.set(user, await cluster.user(user));
    const robot = join(cluster.directory, "robot.kubeconfig");
    writeUserKubeconfig(cluster.kubeconfig, { token: await robotToken(installation) }, robot);
    kubeconfigs.set("robot", robot);
  });

  after(async () => {
    await installation?.stop();
    plugin?.remove();
  });

  it("queue: lists waiting jobs in order", async () => {
    const all = await ok("admin", "queue", "-A");
    const lines = all.trim().split("\n");
    expect(lines[0]).to.match(
      /^NAMESPACE +POOL +POS +NAME +PRIORITY +GPUS +STATE +AGE +REASON +MESSAGE$/,
    );
    expect(lines[1]).to.match(/^team +blue +1 +c +10 +4 +Pending/);
    expect(lines[2]).to.match(/^other +blue +2 +d +5 +4 +Pending/);
    const own = await json<{ items: { name: string }[] }>("val", "queue", "-n", "team");
    expect(own.items.map(({ name }) => name)).to.deep.equal(["c"]);
    expect(await ok("robot", "queue")).to.match(/ d /);
    expect(await ok("robot", "queue", "--pool", "red")).to.contain("No job waits");
  });

  it("queue: explains a refusal and the next step", async () => {
    const { status, stdout, stderr } = await as("stranger", "queue", "-n", "team");
    expect([status, stdout]).to.deep.equal([4, ""]);
    expect(stderr).to.contain('cannot list resource "jobs"');
    expect(stderr).to.contain("ask an admin of the cluster");
  });

  it("why: shows plans, nodes and candidates to permitted readers", async () => {
    const text = await ok("val", "why", "c", "-n", "team");
    expect(text).to.contain("team/c  Pending  pool blue, position 1");
    expect(text).to.contain("Next decision: it waits");
    expect(text).to.match(/User pat +pat-nights, pat-days +\d+ GPUs +12 +0 +0 +4 +(fits|exceeded)/);
    expect(text).to.contain("match the job (details need permission to list nodes)");
    const whole = await ok("admin", "why", "c", "-n", "team");
    expect(whole).to.match(/blue-\d +0 +2 +/);
    expect(whole).to.contain("Full: has 2 of 4 GPUs free");
    const answer = load(await ok("robot", "why", "other/d", "-o", "yaml")) as { state: string };
    expect(answer.state).to.equal("Pending");
    const rejected = await as("robot", "why", "team/c");
    expect(rejected.status).to.equal(4);
    const unknown = await as("val", "why", "team/nobody");
    expect(unknown.status).to.equal(5);
    expect(unknown.stderr).to.contain("no job team/nobody");
  });

  it("tree: draws the projects that the reader may see", async () => {
    const text = await ok("admin", "tree");
    expect(text).to.match(
      /^lab +- +- +12 +\d+ +8 +lab\n├─ other +- +- +0 +0 +4 +other\n└─ team +User pat +\d+ +12 +\d+ +4 +team$/m,
    );
    const own = await ok("val", "tree");
    expect(own).to.match(/^team +User pat/m);
    expect(own).to.not.contain("lab");
    expect(await ok("admin", "tree", "team")).to.match(/^In lab\n/);
    const { status } = await as("val", "tree", "nowhere");
    expect(status).to.equal(5);
  });

  it("plans: draws the week, and marks rejected plans", async () => {
    const text = await ok("admin", "plans", "user:pat");
    expect(text).to.contain("User pat, GPUs of pool blue");
    expect(text).to.match(/^Mon +12 12 12 12 12 12~16 16( 16){14} 12 12$/m);
    expect(text).to.contain("pat-days: 16, every day 06:30-22:00");
    expect(text).to.contain("plan pat-crunch is not in force as written: overlaps plan pat-days");
    expect(await ok("val", "plans", "user:pat")).to.match(/^Sun .*~16/m);
    expect((await as("stranger", "plans", "user:pat")).status).to.equal(4);
  });

  it("top: shows pools to everybody, nodes to permitted readers", async () => {
    expect(await ok("stranger", "top")).to.match(/^blue +2 +16 +12 +0 +0 +4 +75 /m);
    expect(await ok("admin", "top", "nodes", "--pool", "blue")).to.match(/^blue-\d +blue +8 +6 /m);
    const { status, stderr } = await as("val", "top", "nodes");
    expect(status).to.equal(4);
    expect(stderr).to.contain("Forbidden");
  });

  it("config: lists, shows and compares commits by name or tag", async () => {
    const log = await ok("val", "config", "log", "-n", "team");
    expect(log).to.match(/^two +- +[0-9a-f]{12} +one /m);
    expect(log).to.match(/^one +v1 +[0-9a-f]{12} +- /m);
    expect(await ok("val", "config", "show", "v1", "-n", "team")).to.contain('"rate": 0.1');
    const diff = await ok("val", "config", "diff", "v1", "two", "-n", "team");
    expect(diff.trim().split("\n").sort()).to.deep.equal([
      "+ /layers/1: 3",
      "+ /rate: 0.2",
      "+ /warm: true",
      "- /layers/1: 2",
      "- /rate: 0.1",
    ]);
    expect((await as("val", "config", "show", "v9", "-n", "team")).status).to.equal(5);
  });

  it("can: answers with words and with its status", async () => {
    expect(await ok("val", "can", "me", "view", "team")).to.contain(
      "yes: val is a viewer of project team",
    );
    const no = await as("val", "can", "me", "submit", "team");
    expect([no.status, no.stdout.slice(0, 3)]).to.deep.equal([1, "no:"]);
    expect(await ok("ann", "can", "val", "view", "team")).to.contain("yes");
    expect((await as("val", "can", "ann", "view", "team")).status).to.equal(4);
    const elsewhere = await as("val", "can", "me", "view", "other");
    expect([elsewhere.status, elsewhere.stdout.slice(0, 3)]).to.deep.equal([1, "no:"]);
    expect((await as("val", "can", "me", "fly", "team")).status).to.equal(2);
    expect(await ok("admin", "can", "me", "administer", "team")).to.match(
      /^yes: admin has no role in project team or above it .*; the cluster's RBAC allows it$/m,
    );
    const pat = await as("admin", "can", "pat", "submit", "team");
    expect(pat.status).to.equal(1);
    expect(pat.stdout).to.match(
      /^no: pat has no role .*; as the owner it is granted the project's plans/,
    );
  });

  it("preemptions and usage: show evictions and consumption", async () => {
    const { view } = installation;
    await view.apply(job("team", "urgent", { pool: "blue", gpus: 8, priorityClassName: "high" }));
    await teamJobIs(installation, "urgent", "Running");
    const text = await view.until("the outcome to be shown", async () => {
      const shown = await ok("val", "preemptions", "--reasons");
      return shown.includes("Started") && shown;
    });
    // By day the plans of the team grant 16 GPUs, by night 12: then both have to go.
    expect(text).to.match(
      /blue +team\/urgent +\w+ +(team\/[ab] +1 +6|team\/a and team\/b +2 +12) +Started/,
    );
    expect(text).to.contain("team/urgent (priority 1000");
    expect(await ok("robot", "preemptions")).to.contain("No evictions");
    const usage = await ok("admin", "usage", "--since", "1h", "--by", "project");
    expect(usage).to.match(/^PROJECT +GPU-HOURS +BORROWED +CPU-HOURS +ATTEMPTS$/m);
    expect(usage).to.match(/^team +\d+\.\d\d /m);
    expect(await ok("val", "usage", "--within", "team")).to.match(/^team +/m);
    const all = await as("val", "usage");
    expect(all.status).to.equal(4);
    expect(all.stderr).to.contain("--within PROJECT");
  });

  it("explains a wrong server, kubeconfig or context", async () => {
    const away = await plugin.run(kubeconfigs.get("val") ?? "", [
      "top",
      "--server",
      "https://127.0.0.1:1",
      "--insecure-skip-tls-verify",
    ]);
    expect(away.status).to.equal(3);
    expect(away.stderr).to.match(/^error: no operator answers at https:\/\/127\.0\.0\.1:1: /);
    const untrusted = await plugin.run(kubeconfigs.get("val") ?? "", ["top"], {
      ROTA_SERVER: operator.apiUrl,
    });
    expect(untrusted.status).to.equal(3);
    expect(untrusted.stderr).to.contain(`the certificate of ${operator.apiUrl} is not trusted`);
    expect(untrusted.stderr).to.contain("--certificate-authority");
    const context = await as("val", "queue", "--context", "elsewhere");
    expect([context.status, context.stderr]).to.deep.equal([
      2,
      "error: the kubeconfig has no context elsewhere; contexts: local\n",
    ]);
    const missing = await plugin.run("/nowhere", ["queue", "--kubeconfig", "/nowhere"]);
    expect(missing.status).to.equal(2);
    // The way through the API server, to an installation without an operator in it.
    const absent = await plugin.run(kubeconfigs.get("val") ?? "", ["top"]);
    expect(absent.status).to.be.oneOf([3, 4]);
    const queue = await plugin.run(kubeconfigs.get("admin") ?? "", ["queue", "-n", "team"]);
    expect(queue.stdout).to.match(/^blue +\d+ +c /m);
    expect(queue.stderr).to.match(/^warning: positions .*--server/);
    const tree = await plugin.run(kubeconfigs.get("admin") ?? "", ["tree"]);
    expect(tree.stdout).to.match(/└─ team +User pat +\d+ +\d+ +- /);
    expect(tree.stderr).to.match(/^warning: the figures are /);
    const known = await plugin.run(kubeconfigs.get("val") ?? "", ["why", "c", "-n", "team"]);
    expect(known.status).to.equal(0);
    expect(known.stdout).to.contain("team/c  Pending");
    expect(known.stderr).to.match(/^warning: only the job's status is known/);
  });

  it("colours terminals, and other output on request", async () => {
    const plain = await ok("val", "why", "c", "-n", "team");
    expect(plain).to.not.contain("\u001B[");
    const args = ["why", "c", "-n", "team", ...direct()];
    const forced = await plugin.run(kubeconfigs.get("val") ?? "", args, { FORCE_COLOR: "1" });
    expect(forced.stdout).to.contain("\u001B[");
  });

  it("watch: prints again when something changes", async () => {
    const child = spawn(
      process.execPath,
      [plugin.path, "queue", "-n", "other", "--watch", ...direct()],
      { env: { PATH: process.env["PATH"], KUBECONFIG: kubeconfigs.get("admin") } },
    );
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
    const until = (pattern: RegExp) =>
      waitFor(async () => pattern.test(output), { what: String(pattern), timeoutMs: 30_000 });
    try {
      await until(/ d /);
      await installation.view.apply(job("other", "late", { pool: "blue", gpus: 4 }));
      await until(/ late /);
    } finally {
      child.kill("SIGINT");
      await once(child, "exit");
    }
    expect(child.exitCode).to.equal(130);
  });

  it("is a plugin to kubectl", async () => {
    const bin = mkdtempSync(join(tmpdir(), "rota-plugins-"));
    try {
      symlinkSync(plugin.path, join(bin, "kubectl-rota"));
      const { stdout } = await promisify(execFile)(
        installation.cluster.kubectl,
        ["rota", "queue", "-n", "team"],
        {
          env: {
            PATH: `${bin}:${process.env["PATH"] ?? ""}`,
            KUBECONFIG: kubeconfigs.get("val"),
          },
        },
      );
      expect(stdout).to.match(/^POOL +POS +NAME /);
    } finally {
      rmSync(bin, { recursive: true });
    }
  });

  it("completes commands, options and their values", async () => {
    const complete = async (...words: string[]) =>
      (await plugin.run("", ["__complete", ...words])).stdout
        .split("\n")
        .map((line) => line.split("\t")[0]);
    expect(await complete("pre")).to.deep.equal(["preemptions", ":4", ""]);
    expect(await complete("config", "")).to.deep.equal(["log", "show", "diff", ":4", ""]);
    expect(await complete("queue", "-o", "y")).to.deep.equal(["yaml", ":4", ""]);
    expect(await complete("top", "--po")).to.deep.equal(["--pool", ":4", ""]);
    for (const shell of ["bash", "zsh", "fish"]) {
      expect((await plugin.run("", ["completion", shell])).stdout).to.contain("__complete");
    }
  });
});
