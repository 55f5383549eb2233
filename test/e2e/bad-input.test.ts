import { expect } from "chai";
import { KubeError } from "../../src/kube/errors.ts";
import type { KubeObject } from "../../src/kube/resource.ts";
import { configCommits } from "../../src/resources/types.ts";
import { readyOf } from "../../dev/quickstart/cluster-view.ts";
import { commit, job, owner, plan, project } from "../support/installation.ts";
import { useTeam } from "../support/team.ts";

describe("bad input", function () {
  const team = useTeam({
    project: { priorityClasses: ["low"] },
    objects: [project("open", { owner }), plan("all", { owner })],
  });
  const { submit, stateOf } = team;

  before(async () => {
    await team.cluster.addNodes({ count: 1, gpus: 8 });
    await team.ready("open");
  });

  async function rejection(object: KubeObject): Promise<string> {
    try {
      await team.view.apply(object);
    } catch (error) {
      if (error instanceof KubeError && error.status === 422) return error.message;
      throw error;
    }
    throw new Error(`${object.kind ?? ""} ${object.metadata.name ?? ""} was accepted`);
  }

  const window = (start: string, end: string) =>
    plan("bad", { owner, timeWindows: [{ start, end }] });

  const rejectedByServer: readonly (readonly [string, KubeObject, readonly RegExp[]])[] = [
    [
      "an unknown kind of owner",
      plan("bad", { owner: { kind: "Robot", name: "r" } }),
      [/spec\.owner\.kind/, /"Robot"/, /"User", "Group"/],
    ],
    [
      "a negative quantity",
      plan("bad", { owner, quantity: -1 }),
      [/spec\.quantity/, /-1/, /greater than or equal to 0/],
    ],
    [
      "a time of day that does not exist",
      window("25:00", "26:00"),
      [/spec\.timeWindows\[0\]\.start/, /25:00/, /HH:MM from 00:00 to 23:59/],
    ],
    [
      "a time window without an end",
      plan("bad", { owner, timeWindows: [{ start: "08:00" }] }),
      [/spec\.timeWindows\[0\]\.end/, /Required/],
    ],
    [
      "a namespace of the cluster's own",
      project("bad", { namespace: "kube-system" }),
      [/spec\.namespace/, /kube-system belongs to the cluster/],
    ],
    [
      "a project that is its own parent",
      project("bad", { parent: "bad" }),
      [/spec\.parent/, /another project/],
    ],
    [
      "a project named as the cluster's own namespaces",
      project("kube-new"),
      [/kube-new belongs to the cluster/, /metadata\.name/],
    ],
    ["a project's name with a dot", project("a.b"), [/metadata\.name/]],
    [
      "a job of no pods",
      job("team", "bad", { pool: "default", gpus: 1, parallelism: 0 }),
      [/spec\.parallelism/, /greater than or equal to 1/],
    ],
    [
      "a duration that is none",
      job("team", "bad", { pool: "default", gpus: 1, spec: { maxRuntime: "soon" } }),
      [/spec\.maxRuntime/, /90m or 2h30m, not soon/],
    ],
    [
      "a reference to both a commit and a tag",
      job("team", "bad", {
        pool: "default",
        gpus: 1,
        spec: { configRef: { commit: "a", tag: "b" } },
      }),
      [/spec\.configRef/, /exactly one of commit and tag/],
    ],
    [
      "mount paths that are too long together",
      job("team", "bad", {
        pool: "default",
        gpus: 1,
        spec: {
          storages: Array.from({ length: 50 }, (_, index) => ({
            name: `s${index}`,
            mountPath: `/${"m".repeat(50)}`,
          })),
        },
      }),
      [/spec\.storages/, /at most 2048 characters together/],
    ],
    [
      "a storage's size that is none",
      project("bad", { storages: [{ name: "data", size: "big" }] }),
      [/spec\.storages\[0\]\.size/, /100Gi, not big/],
    ],
  ];
  for (const [what, object, words] of rejectedByServer) {
    it(`is refused by the API server: ${what}`, async () => {
      const message = await rejection(object);
      for (const word of words) expect(message).to.match(word);
    });
  }

  const rejectedJobs: readonly (readonly [string, KubeObject, string, RegExp])[] = [
    [
      "an unknown priority class",
      job("team", "class", { pool: "default", gpus: 1, priorityClassName: "urgent" }),
      "PriorityClassNotFound",
      /spec\.priorityClassName "urgent" does not exist; allowed: [^-]*low[^-]*$/,
    ],
    [
      "a priority class the project does not allow",
      job("team", "not-allowed", {
        pool: "default",
        gpus: 1,
        priorityClassName: "system-cluster-critical",
      }),
      "PriorityClassNotAllowed",
      /allowed: low/,
    ],
    [
      "a priority class of the system where the project names none",
      job("open", "system", {
        pool: "default",
        gpus: 1,
        priorityClassName: "system-node-critical",
      }),
      "PriorityClassNotAllowed",
      /allowed: all but system-/,
    ],
    [
      "an unknown pool",
      job("team", "pool", { pool: "a100", gpus: 1, priorityClassName: "low" }),
      "PoolNotFound",
      /spec\.pool "a100" has no nodes; pools: default/,
    ],
    [
      "a namespace without a project",
      job("default", "homeless", { pool: "default", gpus: 1 }),
      "NoProject",
      /namespace "default" does not belong to a Project/,
    ],
    [
      "an unknown commit",
      job("team", "commit", {
        pool: "default",
        gpus: 1,
        priorityClassName: "low",
        spec: { configRef: { commit: "nothing" } },
      }),
      "ConfigNotFound",
      /commit "nothing"/,
    ],
    [
      "an unknown storage",
      job("team", "storage", {
        pool: "default",
        gpus: 1,
        priorityClassName: "low",
        spec: { storages: [{ name: "data", mountPath: "/data" }] },
      }),
      "StorageNotFound",
      /"data" is not a storage of project team/,
    ],
    [
      "a template without containers",
      job("team", "template", {
        pool: "default",
        gpus: 1,
        priorityClassName: "low",
        spec: { template: { spec: {} } },
      }),
      "TemplateRejected",
      /spec\.template.*containers/,
    ],
    [
      "a template that is too large",
      job("team", "large", {
        pool: "default",
        gpus: 1,
        priorityClassName: "low",
        spec: {
          template: {
            spec: { containers: [{ name: "a", image: "a", args: ["x".repeat(200_000)] }] },
          },
        },
      }),
      "TemplateTooLarge",
      /spec\.template has 200\d\d\d characters of JSON; must be at most 65536/,
    ],
    [
      "constraints that are too large",
      job("team", "constraints", {
        pool: "default",
        gpus: 1,
        priorityClassName: "low",
        spec: {
          template: {
            spec: {
              containers: [{ name: "a", image: "a" }],
              nodeSelector: Object.fromEntries(
                Array.from({ length: 400 }, (_, index) => [`label-${index}`, "v".repeat(40)]),
              ),
            },
          },
        },
      }),
      "InvalidValue",
      /node selector, .* at most 16,384 bytes together/,
    ],
    [
      "a quantity that is none",
      job("team", "quantity", {
        pool: "default",
        gpus: 1,
        priorityClassName: "low",
        spec: {
          template: {
            spec: {
              containers: [{ name: "a", image: "a", resources: { limits: { cpu: "lots" } } }],
            },
          },
        },
      }),
      "TemplateRejected",
      /spec\.template: .*quantit/,
    ],
  ];
  for (const [what, object, reason, message] of rejectedJobs) {
    it(`rejects a job with ${what} in its status`, async () => {
      await team.view.apply(object);
      const key = `${object.metadata.namespace ?? ""}/${object.metadata.name ?? ""}`;
      const rejected = await stateOf(key, "Rejected");
      expect(rejected.status.reason).to.equal(reason);
      expect(rejected.status.message).to.match(message);
    });
  }

  it("queues a rejected job once its pool has nodes", async () => {
    await submit("early", { pool: "later" });
    await stateOf("early", "Rejected");
    await team.cluster.addNodes({ count: 1, gpus: 8, pool: "later", namePrefix: "later-" });
    await stateOf("early", "Running");
  });

  it("rejects a project until its parent exists", async () => {
    const { view } = team;
    await view.apply(project("child", { parent: "mother" }));
    const conditionOf = async () => {
      const found = (await view.projects()).find(({ name }) => name === "child");
      return found && readyOf(found);
    };
    const rejected = await view.until("the child to be judged", conditionOf);
    expect(rejected.reason).to.equal("ParentNotFound");
    expect(rejected.message).to.match(/spec\.parent "mother" does not exist/);
    await view.apply(project("mother"));
    await view.until("the child to be ready", async () => (await conditionOf())?.status === "True");
  });

  it("rejects a cycle of projects, and keeps the tree", async () => {
    const { view } = team;
    await view.apply(project("top"));
    await view.apply(project("below", { parent: "top" }));
    await view.until("both to be ready", async () => {
      const found = (await view.projects()).filter(
        ({ name }) => name === "top" || name === "below",
      );
      return found.length === 2 && found.every((entry) => readyOf(entry)?.status === "True");
    });
    await view.apply(project("top", { parent: "below" }));
    const top = await view.until("the cycle to be refused", async () => {
      const found = (await view.projects()).find(({ name }) => name === "top");
      return found && readyOf(found)?.reason === "ProjectCycle" && found;
    });
    expect(readyOf(top)?.message).to.match(/spec\.parent "below" is a descendant of this project/);
    expect(top.status.path).to.equal("top");
  });

  it("cannot change a commit's content or a job's template", async () => {
    const { view } = team;
    const fixed = (content: unknown) => commit("fixed", { content });
    await view.apply(fixed({ rate: 1 }));
    expect(await rejection(fixed({ rate: 2 }))).to.match(/a ConfigCommit is immutable/);
    expect(
      configCommits.project(await view.client.get(configCommits, "team/fixed")).generation,
    ).to.equal(1);
    await submit("fixed");
    expect(
      await rejection(job("team", "fixed", { pool: "default", gpus: 2, priorityClassName: "low" })),
    ).to.match(/spec\.template is immutable/);
  });

  it("leaves valid jobs running", async () => {
    await team.run("good");
  });
});
