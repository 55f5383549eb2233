/**
 * The conditions of all four kinds, as other tools read them: every row of the tables through kstatus (Flux), the Lua
 * health check of docs/operations/gitops.md (Argo CD) and `kubectl wait`.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { expect } from "chai";
import { load } from "js-yaml";
import { ensureGoTool, kstatus } from "../../dev/local/go-tool.ts";
import { projectRoot } from "../../dev/local/paths.ts";
import { jobTable, type Condition, type JobState } from "../../src/api/conditions.ts";
import type { KubeObject } from "../../src/kube/resource.ts";
import {
  applyTeam,
  job,
  type JobOptions,
  owner,
  plan,
  project,
  startInstallation,
  teamIsReady,
  type Installation,
} from "../support/installation.ts";
import { kubectl, read } from "../support/kubectl.ts";
import { eventsOf, type SeenEvent } from "../support/tenants.ts";

interface Verdict {
  readonly status: string;
  readonly message: string;
}

interface Seen extends KubeObject {
  readonly metadata: KubeObject["metadata"] & { readonly generation: number };
  readonly status: {
    readonly observedGeneration: number;
    readonly state?: string;
    readonly reason?: string;
    readonly conditions?: readonly Condition[];
  };
}

/** What a health means to each tool. */
const healths = {
  Ready: {
    conditions: { Ready: "True" },
    kstatus: "Current",
    argo: "Healthy",
    wait: "condition=Ready",
  },
  Reconciling: {
    conditions: { Ready: "False", Reconciling: "True" },
    kstatus: "InProgress",
    argo: "Progressing",
    wait: "condition=Reconciling",
  },
  Stalled: {
    conditions: { Ready: "False", Stalled: "True" },
    kstatus: "Failed",
    argo: "Degraded",
    wait: "condition=Stalled",
  },
} as const;

type Health = keyof typeof healths;

const keepFinalizer = "test.rota.dev/keep";

describe("conditions", () => {
  let installation: Installation;
  let tool: string;
  let folder: string;
  let luaFile: string;

  before(async function () {
    this.timeout(600_000); // The first build of the tool.
    tool = await ensureGoTool(kstatus);
    folder = mkdtempSync(join(tmpdir(), "rota-conditions-"));
    luaFile = join(folder, "health.lua");
    writeFileSync(luaFile, documentedHealthCheck());
    installation = await startInstallation();
  });
  after(async () => {
    await installation?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const view = () => installation.view;
  const get = (resource: string): Promise<Seen> => {
    const [type = "", name = ""] = resource.split("/");
    return read<Seen>(installation.cluster, type, name, "--namespace=team");
  };
  const inTeam = (...args: readonly string[]) =>
    kubectl(installation.cluster, "--namespace=team", ...args);
  const waitFor = (resource: string, what: string) =>
    inTeam("wait", resource, `--for=${what}`, "--timeout=60s");

  /** What kstatus and the health check make of an object. */
  async function judge(object: Seen): Promise<{ kstatus: Verdict; argo: Verdict }> {
    const child = spawn(tool, ["--lua", luaFile], { stdio: ["pipe", "pipe", "inherit"] });
    child.stdin.end(JSON.stringify([object]));
    const [verdict] = JSON.parse(await text(child.stdout)) as {
      kstatus: Verdict;
      argo: Verdict;
    }[];
    if (verdict === undefined) throw new Error("kstatus says nothing");
    return verdict;
  }

  const statuses = ({ status }: Seen): Readonly<Record<string, string>> =>
    Object.fromEntries((status.conditions ?? []).map(({ type, status: is }) => [type, is]));
  const conditionOf = ({ status }: Seen, type: string): Condition | undefined =>
    status.conditions?.find((condition) => condition.type === type);

  /** Reads the object by all tools; returns it. */
  async function expectRow(
    resource: string,
    health: Health,
    reason: string | undefined,
    also: readonly string[] = [],
  ): Promise<Seen> {
    const expected = healths[health];
    await waitFor(resource, expected.wait);
    for (const type of also) await waitFor(resource, `condition=${type}`);
    const object = await get(resource);
    expect(statuses(object)).to.deep.equal({
      ...expected.conditions,
      ...Object.fromEntries(also.map((type) => [type, "True"])),
    });
    const { generation } = object.metadata;
    expect(object.status.observedGeneration).to.equal(generation);
    for (const condition of object.status.conditions ?? []) {
      expect(condition.observedGeneration).to.equal(generation);
      expect(condition.message).not.to.equal("");
    }
    const ready = conditionOf(object, "Ready");
    const explained = conditionOf(object, health);
    expect(explained?.reason).to.equal(ready?.reason);
    expect(explained?.message).to.equal(ready?.message);
    if (object.status.reason !== undefined) expect(ready?.reason).to.equal(object.status.reason);
    if (reason !== undefined) expect(ready?.reason).to.equal(reason);
    const { kstatus: flux, argo } = await judge(object);
    expect(flux.status).to.equal(expected.kstatus);
    if (health !== "Ready") expect(flux.message).to.equal(ready?.message);
    expect(argo.status).to.equal(also.includes("Suspended") ? "Suspended" : expected.argo);
    expect(argo.message).to.equal(ready?.message);
    return object;
  }

  it("an object not yet seen is not done", async () => {
    await applyTeam(installation);
    const unseen = await get("rproj/team");
    expect(unseen.status).to.deep.equal({ observedGeneration: -1 });
    const { kstatus: flux, argo } = await judge(unseen);
    expect([flux.status, argo.status]).to.deep.equal(["InProgress", "Progressing"]);
    await installation.operate({ ROTA_RESERVATION_SECONDS: "600" });
    await teamIsReady(installation);
  });

  describe("of jobs", () => {
    const submit = (name: string, pool: string, options: Partial<JobOptions> = {}) =>
      view().apply(job("team", name, { gpus: 8, pool, priorityClassName: "low", ...options }));
    const untilState = (name: string, state: JobState): Promise<Seen> =>
      view().until(`${name} to be ${state}`, async () => {
        const found = await get(`rj/${name}`);
        return found.status.state === state && found;
      });
    const simulated = (annotations: Readonly<Record<string, string>>) => ({
      annotations: Object.fromEntries(
        Object.entries(annotations).map(([name, value]) => [`rota.dev/simulate-${name}`, value]),
      ),
    });
    const run = async (name: string, pool: string, options: Partial<JobOptions> = {}) => {
      await submit(name, pool, options);
      await untilState(name, "Running");
    };

    interface Row {
      readonly health: Health;
      readonly also: readonly string[];
      /** Brings the job of the state's name into it; the pool of that name has one node of 8 GPUs. */
      readonly make: (name: string) => Promise<unknown>;
    }

    /** The design's table, by hand: the test is not made from what it tests. */
    const rows: Readonly<Record<JobState, Row>> = {
      Pending: {
        health: "Reconciling",
        also: [],
        make: async (name) => {
          await run("occupant", name);
          await submit(name, name);
        },
      },
      Reserved: {
        health: "Reconciling",
        also: [],
        make: async (name) => {
          await run("slow-to-leave", name, simulated({ "termination-seconds": "600" }));
          await submit(name, name, { priorityClassName: "high" });
        },
      },
      Starting: {
        health: "Reconciling",
        also: ["Admitted"],
        make: (name) => submit(name, name, simulated({ "start-seconds": "3600" })),
      },
      Running: { health: "Ready", also: ["Admitted"], make: (name) => submit(name, name) },
      Evicting: {
        health: "Ready",
        also: ["Admitted"],
        make: async (name) => {
          await run(name, name, simulated({ "termination-seconds": "600" }));
          await submit("evictor", name, { priorityClassName: "high" });
        },
      },
      Evicted: {
        health: "Reconciling",
        also: ["Evicted"],
        make: async (name) => {
          await run(name, name);
          await submit("preemptor", name, { priorityClassName: "high" });
        },
      },
      Suspended: {
        health: "Ready",
        also: ["Suspended"],
        make: (name) => submit(name, name, { spec: { suspend: true } }),
      },
      Succeeded: {
        health: "Ready",
        also: ["Complete"],
        make: (name) => submit(name, name, simulated({ "run-seconds": "1" })),
      },
      Failed: {
        health: "Stalled",
        also: ["Failed"],
        make: (name) => submit(name, name, simulated({ "run-seconds": "1", "exit-code": "3" })),
      },
      Cancelled: {
        health: "Stalled",
        also: ["Failed"],
        make: async (name) => {
          await run(name, name);
          await keep(`rj/${name}`);
          await inTeam("delete", `rj/${name}`, "--wait=false");
        },
      },
      Rejected: { health: "Stalled", also: [], make: (name) => submit(name, "nowhere") },
    };

    before(async () => {
      for (const state of Object.keys(rows)) {
        const pool = state.toLowerCase();
        const spec = { owner, pool, resourceType: "GPU" };
        await view().apply(plan(`all-of-${pool}`, spec));
        await installation.cluster.addNodes({ count: 1, gpus: 8, pool, namePrefix: `${pool}-` });
      }
    });

    it("have a row for every state", () => {
      expect(Object.keys(rows)).to.have.members(Object.keys(jobTable));
    });

    for (const [state, { health, also, make }] of Object.entries(rows)) {
      if (state === "Cancelled") continue;
      it(`${state}: ${[health, ...also].join(", ")}`, async () => {
        const name = state.toLowerCase();
        await make(name);
        await untilState(name, state as JobState);
        await expectRow(`rj/${name}`, health, undefined, also);
      });
    }

    it("Cancelled: a deleted job that a finalizer keeps", async () => {
      const { health, also, make } = rows.Cancelled;
      await make("cancelled");
      const object = await untilState("cancelled", "Cancelled");
      expect(statuses(object)).to.deep.equal({
        ...healths[health].conditions,
        ...Object.fromEntries(also.map((type) => [type, "True"])),
      });
      expect(object.status.observedGeneration).to.equal(object.metadata.generation);
      expect((await judge(object)).kstatus.status).to.equal("Terminating");
      await release("rj/cancelled");
    });

    it("follow the state: what is no longer true is gone", async () => {
      const before = await get("rj/suspended");
      await inTeam(
        "patch",
        "rj/suspended",
        "--type=merge",
        `--patch=${JSON.stringify({ spec: { suspend: false } })}`,
      );
      const running = await untilState("suspended", "Running");
      expect(conditionOf(running, "Suspended")).to.equal(undefined);
      expect(conditionOf(running, "Reconciling")).to.equal(undefined);
      expect(running.status.observedGeneration).to.equal(before.metadata.generation + 1);
    });

    it("tell an evicted job's wait, then its preemptor", async () => {
      const { status } = (await get("rj/evicted")) as { status: { message?: string } };
      expect(status.message).to.match(/^\S.*\. Evicted by team\/preemptor \(LowerPriority\)$/);
      expect(status.message?.match(/\. /g)).to.have.lengthOf(1);
    });

    it("are selected by state and pool; lists fit a terminal", async () => {
      const list = async (...args: readonly string[]) => (await inTeam("get", ...args)).stdout;
      const selector = "--field-selector=status.state=Evicted,spec.pool=evicted";
      const names = await list("rj", "--output=name", selector);
      expect(names.trim()).to.equal("job.rota.dev/evicted");
      for (const kind of ["rj", "rplan", "rproj", "rcc"]) {
        const lines = (await list(kind)).split("\n");
        for (const line of lines) expect(line.length, line).to.be.at.most(120);
      }
      const wide = await list("rj", "--output=wide");
      const [node = ""] = (await view().job("team/running")).status.nodes ?? [];
      expect(wide).to.match(new RegExp(`^running .* ${node} `, "m"));
      expect(wide).not.to.include("[");
      expect(await list("rj")).not.to.include(node);
    });

    const untilEvent = (name: string, reason: string): Promise<SeenEvent[]> =>
      view().until(`event ${reason} of ${name}`, async () => {
        const found = await eventsOf(view(), name);
        return found.some((event) => event.reason === reason) && found;
      });

    it("have Normal events for their life and a suspend", async () => {
      const life = await untilEvent("succeeded", "Completed");
      expect(life.map(({ type, reason }) => `${type} ${reason}`)).to.have.members([
        "Normal Queued",
        "Normal Started",
        "Normal Completed",
      ]);
      const resumed = await untilEvent("suspended", "Resumed");
      expect(resumed.map(({ type }) => type)).not.to.include("Warning");
      await inTeam(
        "patch",
        "rj/suspended",
        "--type=merge",
        `--patch=${JSON.stringify({ spec: { suspend: true } })}`,
      );
      await untilState("suspended", "Suspended");
      const suspended = await untilEvent("suspended", "Suspended");
      expect(suspended.filter(({ type }) => type === "Warning")).to.deep.equal([]);
    });

    it("have no warning for references in the same apply", async () => {
      const namespace = "same-apply";
      const objects: readonly KubeObject[] = [
        {
          apiVersion: "v1",
          kind: "Namespace",
          metadata: { name: namespace, annotations: { "rota.dev/adopt": namespace } },
        },
        job(namespace, "first", {
          gpus: 0,
          pool: "rejected",
          spec: { configRef: { tag: "now" } },
        }),
        commit(namespace, "second", { tag: "now" }),
        project(namespace, { owner }),
      ];
      const file = join(folder, "same-apply.json");
      writeFileSync(file, objects.map((object) => JSON.stringify(object)).join("\n"));
      await kubectl(installation.cluster, "apply", `--filename=${file}`);
      await untilEvent("first", "Started");
      const all = [...(await eventsOf(view(), "first")), ...(await eventsOf(view(), "second"))];
      expect(all.filter(({ type }) => type === "Warning")).to.deep.equal([]);
    });

    it("say so when they request nothing that plans grant", async () => {
      const { status } = await view().job("same-apply/first");
      expect(status.message).to.equal(
        "runs outside its plans; jobs within quota can evict it; its template requests no resources",
      );
    });
  });

  describe("of projects, plans and commits", () => {
    it("Ready: accepted by the operator", async () => {
      await expectRow("rproj/team", "Ready", "Ready");
      await expectRow("rplan/all-of-running", "Ready", "Accepted");
      await view().apply(commit("team", "stored", { tag: "taken" }));
      await expectRow("rcc/stored", "Ready", "Stored");
    });

    it("Reconciling: waits for another object", async () => {
      await view().apply(project("orphan", { parent: "absent" }));
      await expectRow("rproj/orphan", "Reconciling", "ParentNotFound");
      await view().apply(commit("team", "childless", { parent: "absent" }));
      await expectRow("rcc/childless", "Reconciling", "ParentCommitNotFound");
      await view().apply(project("absent"));
      await expectRow("rproj/orphan", "Ready", "Ready");
    });

    it("Stalled: refused until somebody changes it", async () => {
      await view().apply(project("intruder", { namespace: "same-apply" }));
      await expectRow("rproj/intruder", "Stalled", "AlreadyExists");
      await view().apply(plan("twice", { owner, pool: "running" }));
      await expectRow("rplan/twice", "Stalled", "PlanOverlap");
      await view().apply(commit("team", "late", { tag: "taken" }));
      await expectRow("rcc/late", "Stalled", "TagTaken");
    });

    it("hints at missing classes and impossible quantities", async () => {
      await view().apply(project("picky", { priorityClasses: ["low", "nope"] }));
      const picky = await expectRow("rproj/picky", "Ready", "Ready");
      expect(conditionOf(picky, "Ready")?.message).to.match(/do not exist: "nope"$/);
      const oversized = await expectRow("rplan/all-of-failed", "Ready", "Accepted");
      expect(conditionOf(oversized, "Ready")?.message).to.equal(
        'in force: 100 GPUs, the whole week; pool "failed" has 8 GPUs',
      );
    });

    for (const resource of ["rproj/picky", "rplan/all-of-failed", "rcc/stored", "rj/rejected"]) {
      it(`follow the generation of ${resource} during its deletion`, async () => {
        const { metadata } = await get(resource);
        await keep(resource);
        await inTeam("delete", resource, "--wait=false");
        const deleted = await view().until(`${resource} to be up to date`, async () => {
          const found = await get(resource);
          return found.status.observedGeneration === found.metadata.generation && found;
        });
        expect(deleted.metadata.generation, resource).to.be.above(metadata.generation);
        expect((await judge(deleted)).kstatus.status).to.equal("Terminating");
        await release(resource);
      });
    }
  });

  const setFinalizers = (resource: string, finalizers: readonly string[] | null) =>
    inTeam(
      "patch",
      resource,
      "--type=merge",
      `--patch=${JSON.stringify({ metadata: { finalizers } })}`,
    );
  const keep = async (resource: string) => {
    const { finalizers = [] } = (await get(resource)).metadata;
    await setFinalizers(resource, [...finalizers, keepFinalizer]);
  };
  const release = (resource: string) => setFinalizers(resource, null);
});

const commit = (
  namespace: string,
  name: string,
  spec: Readonly<Record<string, unknown>>,
): KubeObject => ({
  apiVersion: "rota.dev/v1alpha1",
  kind: "ConfigCommit",
  metadata: { namespace, name },
  spec: { content: { name }, ...spec },
});

/** The check that docs/operations/gitops.md tells to put into argocd-cm. */
function documentedHealthCheck(): string {
  const page = readFileSync(join(projectRoot, "docs/operations/gitops.md"), "utf8");
  const [, block = ""] = /```yaml\n(data:\n[\s\S]*?)```/.exec(page) ?? [];
  const { data } = load(block) as { data: Readonly<Record<string, string>> };
  const customizations = load(data["resource.customizations"] ?? "") as Readonly<
    Record<string, { readonly "health.lua": string }>
  >;
  const check = customizations["rota.dev/*"]?.["health.lua"];
  if (check === undefined) throw new Error("the page has no health check");
  return check;
}
