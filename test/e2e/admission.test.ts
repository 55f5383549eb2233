import { readFileSync } from "node:fs";
import { expect } from "chai";
import type { KubeObject } from "../../src/kube/resource.ts";
import { configCommits, jobs } from "../../src/resources/types.ts";
import { commit, job, owner, plan } from "../support/installation.ts";
import { type Member, member } from "../support/kubectl-user.ts";
import { useTeam } from "../support/team.ts";

const pods = "/api/v1/namespaces/team/pods";
const configMaps = "/api/v1/namespaces/team/configmaps";
const commits = "/apis/rota.dev/v1alpha1/namespaces/team/configcommits";
const jobsPath = "/apis/rota.dev/v1alpha1/namespaces/team/jobs";

const commitOf = (name: string, spec: object = {}): KubeObject =>
  commit(name, { content: { name }, ...spec });
const pod = (name: string, labels: object = {}): KubeObject => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, namespace: "team", labels: { ...labels } },
  spec: { containers: [{ name: "main", image: "none.example/none:1" }] },
});
const submitted = (name: string, submitter?: string): KubeObject => {
  const made = job("team", name, { pool: "default", gpus: 1, spec: { suspend: true } });
  const annotations = submitter === undefined ? {} : { "rota.dev/submitter": submitter };
  return { ...made, metadata: { ...made.metadata, annotations } };
};

describe("admission policies", function () {
  const team = useTeam({
    project: { members: [{ kind: "User", name: "eve", role: "admin" }] },
    objects: [plan("all", { owner })],
  });
  let eve: Member;

  before(async () => {
    const { view, cluster } = team;
    await cluster.addNodes({ count: 1, gpus: 8 });
    eve = await member(team, "eve");
    // What Rota's own roles do not give, so that only the policies stand in the way.
    await view.client.raw(
      "POST",
      "/apis/rbac.authorization.k8s.io/v1/namespaces/team/rolebindings",
      {
        apiVersion: "rbac.authorization.k8s.io/v1",
        kind: "RoleBinding",
        metadata: { name: "eve-edits" },
        roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "edit" },
        subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: "eve" }],
      },
    );
    await view.until("the policies to be active", async () => {
      const labels = { "rota.dev/job": "probe" };
      const words = await eve.rejection("POST", `${pods}?dryRun=All`, pod("probe", labels)).then(
        ({ explanation }) => explanation,
        () => "",
      );
      const made = await eve.client.create(configCommits, commitOf("probe"), { dryRun: true });
      return /rota-pod-labels/.test(words) && configCommits.project(made).spec.author === "eve";
    });
  });

  after(() => eve?.client.close());

  it("stamp a commit with its real author", async () => {
    await eve.client.raw("POST", commits, commitOf("forged", { author: "alice" }));
    await eve.client.raw("POST", commits, commitOf("plain"));
    for (const name of ["forged", "plain"]) {
      const made = configCommits.project(await eve.client.get(configCommits, `team/${name}`));
      expect(made.spec.author).to.equal("eve");
    }
    const { rows } = await team.view.until("both to be stored", async () => {
      const found = await team.database.pool.query(
        "SELECT users.name FROM config_commits JOIN users ON users.id = author_id WHERE config_commits.name IN ('forged', 'plain')",
      );
      return found.rows.length === 2 && found;
    });
    expect(rows).to.deep.equal([{ name: "eve" }, { name: "eve" }]);
  });

  it("a type error reads as the schema's", async () => {
    const badJob = submitted("bad");
    const spec = { ...(badJob["spec"] as object), parallelism: "2" };
    const ofJob = await eve.rejection("POST", jobsPath, { ...badJob, spec });
    expect(ofJob.explanation).to.match(/spec\.parallelism in body must be of type integer/);
    const ofCommit = await eve.rejection("POST", commits, commit("bad", { message: 5 }));
    expect(ofCommit.explanation).to.match(/spec\.message in body must be of type string/);
    for (const { explanation } of [ofJob, ofCommit]) {
      expect(explanation).to.not.contain("policy");
    }
  });

  it("stamp a job with its real submitter, for good", async () => {
    const annotationOf = async (name: string) =>
      (await eve.client.get(jobs, `team/${name}`)).metadata.annotations?.["rota.dev/submitter"];
    await eve.client.raw("POST", jobsPath, submitted("forged", "alice"));
    expect(await annotationOf("forged")).to.equal("eve");
    const { view } = team;
    // Somebody else changes it: a merge patch that names another, and an update that leaves the annotation out.
    await view.client.patch(jobs, "team/forged", {
      metadata: { annotations: { "rota.dev/submitter": "admin" } },
    });
    expect(await annotationOf("forged")).to.equal("eve");
    // The operator writes the status meanwhile: a conflict is read again.
    await view.until("the update to be accepted", async () => {
      const raw = await view.client.get(jobs, "team/forged");
      return view.client.raw("PUT", `${jobsPath}/forged`, {
        ...raw,
        metadata: { ...raw.metadata, annotations: {} },
      });
    });
    expect(await annotationOf("forged")).to.equal("eve");
    // Applied twice, as kubectl apply --server-side does.
    await eve.client.apply(jobs, submitted("applied"), { fieldManager: "kubectl" });
    await eve.client.apply(jobs, submitted("applied"), { fieldManager: "kubectl" });
    expect(await annotationOf("applied")).to.equal("eve");
  });

  it("reserve Rota's pod labels for the operator", async () => {
    const labels = { "rota.dev/job": "real", "rota.dev/job-uid": "u" };
    const { status, explanation } = await eve.rejection("POST", pods, pod("forged", labels));
    expect(status).to.equal(403);
    expect(explanation).to.match(/mark the pods that Rota makes; submit a Job/);
    // Pods of one's own are no concern of the policy.
    expect(await eve.status("POST", pods, pod("own", { app: "web" }))).to.equal(200);
    const path = `${pods}/own`;
    const mark = { metadata: { labels: { "rota.dev/job": "real" } } };
    const merge = { contentType: "application/merge-patch+json", attempts: 1 };
    const change = async (at: string, body: unknown) =>
      eve.client.raw("PATCH", at, body, merge).then(
        () => "",
        (error: unknown) => String(error),
      );
    expect(await change(path, mark)).to.match(/cannot be changed/);
    expect(await change(path, { metadata: { labels: { app: "db" } } })).to.equal("");

    await eve.client.raw("POST", jobsPath, job("team", "real", { pool: "default", gpus: 1 }));
    await team.stateOf("real", "Running");
    const real = `${pods}/real-1-0`;
    expect(await change(real, { metadata: { labels: { "rota.dev/index": "5" } } })).to.match(
      /cannot be changed/,
    );
    expect(await change(real, { metadata: { labels: { "rota.dev/job": null } } })).to.match(
      /cannot be changed/,
    );
    expect(await change(real, { metadata: { labels: { mine: "x" } } })).to.equal("");
  });

  it("reserve them in statuses and bindings, too", async () => {
    const rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/team";
    const { client } = team.view;
    const metadata = { name: "eve-binds" };
    await client.raw("POST", `${rbac}/roles`, {
      metadata,
      rules: [
        { apiGroups: [""], resources: ["pods/status"], verbs: ["patch"] },
        { apiGroups: [""], resources: ["pods/binding"], verbs: ["create"] },
      ],
    });
    await client.raw("POST", `${rbac}/rolebindings`, {
      metadata,
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: metadata.name },
      subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: "eve" }],
    });
    const labels = { "rota.dev/job": "real" };
    // No scheduler knows the name: the pod waits for eve's binding.
    const plain = pod("unbound", { app: "web" });
    await eve.client.raw("POST", pods, {
      ...plain,
      spec: { ...(plain["spec"] as object), schedulerName: "nobody" },
    });
    const merge = { contentType: "application/merge-patch+json", attempts: 1 };
    const status = (body: object) =>
      eve.client.raw("PATCH", `${pods}/unbound/status`, body, merge).then(
        () => "",
        (error: unknown) => String(error),
      );
    await team.view.until("eve's role to be known", async () => {
      const refusal = await status({ metadata: { labels: { app: "db" } } });
      return refusal === "";
    });
    expect(await status({ metadata: { labels } })).to.match(/cannot be changed/);
    const { items } = (await client.raw("GET", "/api/v1/nodes")) as {
      readonly items: readonly { readonly metadata: { readonly name: string } }[];
    };
    const target = { apiVersion: "v1", kind: "Node", name: items[0]?.metadata.name };
    const bind = (marks: object) => ({ metadata: { name: "unbound", labels: marks }, target });
    const refused = await eve.rejection("POST", `${pods}/unbound/binding`, bind(labels));
    expect(refused.explanation).to.match(/mark the pods that Rota makes/);
    expect(await eve.status("POST", `${pods}/unbound/binding`, bind({}))).to.equal(200);
  });

  it("reserve the ConfigMaps of commits for the operator", async () => {
    const forged = {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: `rota-config-${"0".repeat(40)}` },
      data: { "config.json": "{}" },
    };
    expect((await eve.rejection("POST", configMaps, forged)).explanation).to.match(
      /made by Rota from ConfigCommits/,
    );
    const own = { ...forged, metadata: { name: "mine" } };
    expect(await eve.status("POST", configMaps, own)).to.equal(200);
  });

  const restoredOf = (object: KubeObject): KubeObject => ({
    ...object,
    metadata: { ...object.metadata, labels: { "velero.io/restore-name": "nightly" } },
  });
  /** As Velero does it, with the rights of an administrator. */
  async function keepNames(suffix: string): Promise<void> {
    const { client } = team.view;
    const author = restoredOf(commitOf(`restored-${suffix}`, { author: "alice" }));
    const made = configCommits.project(await client.create(configCommits, author));
    expect(made.spec.author).to.equal("alice");
    const asked = await client.create(jobs, restoredOf(submitted(`restored-${suffix}`, "alice")));
    expect(asked.metadata.annotations?.["rota.dev/submitter"]).to.equal("alice");
  }

  it("keep the names of what a restore brings back", async () => {
    await keepNames("stamped");
    const forged = restoredOf(submitted("labelled", "alice"));
    await eve.client.raw("POST", jobsPath, forged);
    const made = await eve.client.get(jobs, "team/labelled");
    expect(made.metadata.annotations?.["rota.dev/submitter"], "by a user").to.equal("eve");
  });

  describe("admission policies without stamping", () => {
    before(async () => {
      const root = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies";
      const { view } = team;
      for (const name of ["rota-commit-author", "rota-job-submitter"])
        await view.client.raw("DELETE", `${root}/${name}`);
      await view.until("nothing to be stamped", async () => {
        const made = await eve.client.create(configCommits, commitOf("probe"), { dryRun: true });
        const asked = await eve.client.create(jobs, submitted("probe"), { dryRun: true });
        const submitter = asked.metadata.annotations?.["rota.dev/submitter"];
        return configCommits.project(made).spec.author === undefined && submitter === undefined;
      });
    });

    it("reject a name that is not the requester's", async () => {
      const author = await eve.rejection("POST", commits, commitOf("late", { author: "alice" }));
      expect(author.explanation).to.match(
        /spec\.author must be eve, who makes the commit, or absent/,
      );
      const submitter = await eve.rejection("POST", jobsPath, submitted("late", "alice"));
      expect(submitter.explanation).to.match(/must be eve, who submits the job, or absent/);
      expect(await eve.status("POST", commits, commitOf("late", { author: "eve" }))).to.equal(200);
      expect(await eve.status("POST", jobsPath, submitted("late", "eve"))).to.equal(200);
    });

    it("take what a restore brings back", async () => {
      await keepNames("unstamped");
      const forged = restoredOf(submitted("relabelled", "alice"));
      const { explanation } = await eve.rejection("POST", jobsPath, forged);
      expect(explanation).to.match(/must be eve, who submits the job, or absent/);
    });

    it("keep a submitter from being changed", async () => {
      const { view } = team;
      await eve.client.raw("POST", jobsPath, submitted("nobody"));
      const patch = (name: string, submitter: string | null) =>
        view.client
          .patch(jobs, `team/${name}`, {
            metadata: { annotations: { "rota.dev/submitter": submitter } },
          })
          .then(
            () => "",
            (error: unknown) => String(error),
          );
      for (const [name, submitter] of [
        ["late", "alice"],
        ["late", null],
        ["nobody", "eve"],
      ] as const) {
        expect(await patch(name, submitter)).to.match(/cannot be changed/);
      }
    });

    it("are reported missing by the operator, which works on", async () => {
      const operator = await team.operate();
      const inForce = async (kind: string): Promise<string[]> => {
        const metrics = await (await fetch(`${operator.url}/metrics`)).text();
        return metrics
          .split("\n")
          .filter(
            (line) => line.startsWith("rota_admission_policy_in_force") && line.includes(kind),
          )
          .map((line) => line.slice(-1));
      };
      await team.view.until("the operator to have looked", async () => {
        const observed = await inForce("MutatingAdmissionPolicy");
        return observed.length === 2 && observed.every((value) => value === "0");
      });
      const validating = await inForce("ValidatingAdmissionPolicy");
      expect(validating).to.deep.equal(Array.from({ length: 10 }, () => "1"));
      expect(readFileSync(operator.logFile, "utf8")).to.match(
        /not guaranteed by the cluster kind=MutatingAdmissionPolicy policy=rota-commit-author/,
      );
    });
  });
});
