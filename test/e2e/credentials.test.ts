import { expect } from "chai";
import { fieldsOf } from "../../src/resources/meta.ts";
import type { KubeObject } from "../../src/kube/resource.ts";
import { readyOf } from "../../dev/quickstart/cluster-view.ts";
import {
  type Installation,
  job,
  owner,
  plan,
  project,
  startInstallation,
} from "../support/installation.ts";
import { type Member, member } from "../support/kubectl-user.ts";

const jobsIn = (namespace: string): string =>
  `/apis/rota.dev/v1alpha1/namespaces/${namespace}/jobs`;
const commitsIn = (namespace: string): string =>
  `/apis/rota.dev/v1alpha1/namespaces/${namespace}/configcommits`;
const coreIn = (namespace: string, plural: string): string =>
  `/api/v1/namespaces/${namespace}/${plural}`;
const rbacIn = (namespace: string, plural: string): string =>
  `/apis/rbac.authorization.k8s.io/v1/namespaces/${namespace}/${plural}`;

let counter = 0;
const unique = (): string => `made-${(counter += 1)}`;

const someJob = (namespace: string): KubeObject =>
  job(namespace, unique(), { pool: "default", gpus: 1, spec: { suspend: true } });
const someCommit = (namespace: string): KubeObject => ({
  apiVersion: "rota.dev/v1alpha1",
  kind: "ConfigCommit",
  metadata: { namespace, name: unique() },
  spec: { content: { n: counter } },
});
const core = (kind: string, namespace: string, fields: object = {}): KubeObject => ({
  apiVersion: "v1",
  kind,
  metadata: { namespace, name: unique() },
  ...fields,
});
const somePod = (namespace: string): KubeObject =>
  core("Pod", namespace, {
    spec: { containers: [{ name: "main", image: "none.example/none:1" }] },
  });
const roleBinding = (namespace: string, user: string, role: string): KubeObject => ({
  apiVersion: "rbac.authorization.k8s.io/v1",
  kind: "RoleBinding",
  metadata: { namespace, name: unique() },
  roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: role },
  subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: user }],
});

/** Real requests of real users, who have certificates and no right but what the operator's RoleBindings give. */
describe("the roles of kubectl users", function () {
  let installation: Installation;
  let vera: Member;
  let sam: Member;
  let olga: Member;
  let mallory: Member;

  before(async () => {
    installation = await startInstallation();
    const { view, cluster } = installation;
    await cluster.addNodes({ count: 1, gpus: 8 });
    for (const object of [
      plan("all", { owner }),
      project("root", {
        owner,
        members: [
          { kind: "User", name: "vera", role: "viewer" },
          { kind: "Group", name: "ops", role: "admin" },
        ],
      }),
      project("team", {
        parent: "root",
        members: [{ kind: "User", name: "sam", role: "submitter" }],
      }),
      project("leaf", { parent: "team" }),
      project("other", { owner }),
    ]) {
      await view.apply(object);
    }
    await installation.operate();
    await view.until("the projects to be ready", async () => {
      const all = await view.projects();
      return all.length === 4 && all.every((one) => readyOf(one)?.status === "True");
    });
    [vera, sam, olga, mallory] = await Promise.all([
      member(installation, "vera"),
      member(installation, "sam"),
      member(installation, "olga", ["ops"]),
      member(installation, "mallory", ["system:authenticated-looking"]),
    ]);
    // A job's pod to look at, in the middle of the tree.
    await view.apply(job("team", "real", { pool: "default", gpus: 1 }));
    await view.until(
      "the job to run",
      async () => (await view.job("team/real")).status.state === "Running",
    );
    await view.until("the API server to know the roles", async () => {
      const seen = await Promise.all(
        [vera, sam, olga].map((one) => one.status("GET", jobsIn("leaf"))),
      );
      return seen.every((status) => status === 200);
    });
  });

  after(async () => {
    await Promise.all([vera, sam, olga, mallory].map((one) => one?.client.close()));
    await installation?.stop();
  });

  const realPod = "/api/v1/namespaces/team/pods/real-1-0";

  it("let a viewer read the subtree, and change nothing", async () => {
    for (const namespace of ["root", "team", "leaf"]) {
      for (const path of [
        jobsIn(namespace),
        commitsIn(namespace),
        coreIn(namespace, "pods"),
        coreIn(namespace, "configmaps"),
        coreIn(namespace, "persistentvolumeclaims"),
        coreIn(namespace, "events"),
      ]) {
        expect(await vera.status("GET", path), path).to.equal(200);
      }
      expect(await vera.status("POST", jobsIn(namespace), someJob(namespace))).to.equal(403);
      expect(await vera.status("POST", commitsIn(namespace), someCommit(namespace))).to.equal(403);
      expect(await vera.status("GET", coreIn(namespace, "secrets"))).to.equal(403);
    }
    expect(await vera.status("DELETE", `${jobsIn("team")}/real`)).to.equal(403);
    expect(await vera.status("DELETE", realPod)).to.equal(403);
    // The simulated node has no logs to give; what counts is that the API server would ask for them.
    expect(await vera.status("GET", `${realPod}/log`)).not.to.equal(403);
  });

  it("let a submitter submit, commit and cancel in the subtree", async () => {
    for (const namespace of ["team", "leaf"]) {
      const made = someJob(namespace);
      expect(await sam.status("POST", jobsIn(namespace), made)).to.equal(200);
      const path = `${jobsIn(namespace)}/${made.metadata.name ?? ""}`;
      const raw = await sam.client.raw("GET", path);
      expect(fieldsOf(fieldsOf(raw)["metadata"])["name"]).to.equal(made.metadata.name);
      expect(await sam.status("DELETE", path)).to.equal(200);
      expect(await sam.status("POST", commitsIn(namespace), someCommit(namespace))).to.equal(200);
      expect(await sam.status("GET", coreIn(namespace, "pods"))).to.equal(200);
    }
    for (const path of [jobsIn("root"), coreIn("root", "pods")])
      expect(await sam.status("GET", path), path).to.equal(403);
    expect(await sam.status("POST", jobsIn("root"), someJob("root"))).to.equal(403);
  });

  it("keep a submitter from bypassing the queue", async () => {
    const attempts: readonly (readonly [string, string, object?])[] = [
      ["POST", coreIn("team", "pods"), somePod("team")],
      ["DELETE", realPod],
      [
        "POST",
        `${realPod}/eviction`,
        {
          apiVersion: "policy/v1",
          kind: "Eviction",
          metadata: { name: "real-1-0", namespace: "team" },
        },
      ],
      ["POST", `${realPod}/exec?command=id`],
      ["POST", rbacIn("team", "rolebindings"), roleBinding("team", "sam", "rota-admin")],
      ["DELETE", `${rbacIn("team", "rolebindings")}/rota-submitter`],
      ["GET", coreIn("team", "secrets")],
      ["POST", coreIn("team", "configmaps"), core("ConfigMap", "team")],
      ["POST", coreIn("team", "services"), core("Service", "team")],
      [
        "POST",
        coreIn("team", "serviceaccounts/default/token"),
        { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: {} },
      ],
      ["PUT", `${jobsIn("team")}/real/status`, someJob("team")],
      [
        "PUT",
        "/api/v1/namespaces/team",
        { apiVersion: "v1", kind: "Namespace", metadata: { name: "team" } },
      ],
      ["POST", "/apis/rota.dev/v1alpha1/projects", project("mine")],
      ["DELETE", "/apis/rota.dev/v1alpha1/projects/team"],
      ["POST", "/apis/rota.dev/v1alpha1/resourceplans", plan("mine", { owner })],
      [
        "DELETE",
        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/rota-pod-labels",
      ],
    ];
    for (const [method, path, body] of attempts)
      expect(await sam.status(method, path, body), `${method} ${path}`).to.equal(403);
  });

  it("let a group's admin manage namespaces, and no more", async () => {
    for (const namespace of ["root", "team", "leaf"]) {
      for (const kind of ["Secret", "ConfigMap"] as const) {
        const made = core(kind, namespace);
        const collection = coreIn(namespace, `${kind.toLowerCase()}s`);
        expect(await olga.status("POST", collection, made)).to.equal(200);
        expect(await olga.status("DELETE", `${collection}/${made.metadata.name ?? ""}`)).to.equal(
          200,
        );
      }
      expect(await olga.status("POST", jobsIn(namespace), someJob(namespace))).to.equal(200);
    }
    const attempts: readonly (readonly [string, string, object?])[] = [
      ["POST", coreIn("team", "pods"), somePod("team")],
      ["POST", rbacIn("team", "rolebindings"), roleBinding("team", "olga", "cluster-admin")],
      [
        "POST",
        rbacIn("team", "roles"),
        {
          apiVersion: "rbac.authorization.k8s.io/v1",
          kind: "Role",
          metadata: { name: "all", namespace: "team" },
          rules: [],
        },
      ],
      [
        "POST",
        coreIn("team", "serviceaccounts/default/token"),
        { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: {} },
      ],
      ["POST", `${realPod}/exec?command=id`],
      [
        "PUT",
        "/api/v1/namespaces/team",
        { apiVersion: "v1", kind: "Namespace", metadata: { name: "team" } },
      ],
      ["DELETE", "/apis/rota.dev/v1alpha1/projects/team"],
      ["GET", coreIn("rota-system", "secrets")],
      ["GET", "/api/v1/nodes"],
    ];
    for (const [method, path, body] of attempts)
      expect(await olga.status(method, path, body), `${method} ${path}`).to.equal(403);
  });

  it("keep an admin from changing a pinned configuration", async () => {
    const { view } = installation;
    const made = someCommit("team");
    const { name = "" } = made.metadata;
    await olga.client.raw("POST", commitsIn("team"), made);
    await olga.client.raw(
      "POST",
      jobsIn("team"),
      job("team", "pinned", { pool: "default", gpus: 1, spec: { configRef: { commit: name } } }),
    );
    const { status } = await view.until("the job to run", async () => {
      const found = await view.job("team/pinned");
      return found.status.state === "Running" && found;
    });
    const path = `${coreIn("team", "configmaps")}/rota-config-${(status.configHash ?? "").slice(0, 40)}`;
    const map = fieldsOf(await olga.client.raw("GET", path));
    const changed = { ...map, data: { "config.json": "{}" } };
    const rejected = await olga.rejection("PUT", path, changed);
    expect(rejected.status).to.equal(422);
    expect(rejected.explanation).to.match(/immutable/);
    // Another ConfigMap in its place would be as bad.
    const metadata = { name: fieldsOf(map["metadata"])["name"], namespace: "team" };
    const copy = { apiVersion: "v1", kind: "ConfigMap", metadata, data: changed.data };
    expect(await olga.status("DELETE", path)).to.equal(200);
    expect(await olga.status("POST", coreIn("team", "configmaps"), copy)).to.equal(403);
  });

  it("end at the subtree", async () => {
    for (const one of [vera, sam, olga, mallory]) {
      for (const namespace of ["other", "default", "rota-system", "kube-system"]) {
        expect(await one.status("GET", jobsIn(namespace)), `${one.name} ${namespace}`).to.equal(
          403,
        );
        expect(await one.status("POST", jobsIn(namespace), someJob(namespace))).to.equal(403);
        expect(await one.status("GET", coreIn(namespace, "pods"))).to.equal(403);
        expect(await one.status("GET", coreIn(namespace, "secrets"))).to.equal(403);
      }
      expect(await one.status("GET", "/apis/rota.dev/v1alpha1/jobs")).to.equal(403);
    }
    for (const namespace of ["root", "team", "leaf"])
      expect(await mallory.status("GET", jobsIn(namespace))).to.equal(403);
  });

  it("let readers of rota-reader see projects and plans", async () => {
    const projects = "/apis/rota.dev/v1alpha1/projects";
    const plans = "/apis/rota.dev/v1alpha1/resourceplans";
    expect(await vera.status("GET", projects)).to.equal(403);
    const { view } = installation;
    await view.client.raw("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRoleBinding",
      metadata: { name: "rota-reader" },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "rota-reader" },
      subjects: [
        { apiGroup: "rbac.authorization.k8s.io", kind: "Group", name: "system:authenticated" },
      ],
    });
    await view.until("everybody to read", async () => (await vera.status("GET", projects)) === 200);
    expect(await mallory.status("GET", plans)).to.equal(200);
    expect(await vera.status("POST", projects, project("mine"))).to.equal(403);
    expect(await vera.status("DELETE", `${plans}/all`)).to.equal(403);
  });

  it("follow a project that moves", async () => {
    const { view } = installation;
    const news = [{ kind: "User", name: "mallory", role: "viewer" }];
    await view.apply(project("other", { owner, members: news }));
    await view.apply(project("leaf", { parent: "other" }));
    await view.until("rights to follow the move", async () => {
      const seen = await Promise.all(
        [vera, sam, olga, mallory].map((one) => one.status("GET", jobsIn("leaf"))),
      );
      return seen.join() === "403,403,403,200";
    });
    expect(await sam.status("GET", jobsIn("team"))).to.equal(200);
    expect(await mallory.status("POST", jobsIn("leaf"), someJob("leaf"))).to.equal(403);
  });

  it("are lost with the membership", async () => {
    const { view } = installation;
    await view.apply(project("team", { parent: "root", members: [] }));
    await view.until(
      "sam to lose the role",
      async () => (await sam.status("GET", jobsIn("team"))) === 403,
    );
    expect(await sam.status("POST", jobsIn("team"), someJob("team"))).to.equal(403);
    expect(await vera.status("GET", jobsIn("team"))).to.equal(200);
    await view.apply(project("root", { owner, members: [] }));
    await view.until("the others to lose theirs", async () => {
      const seen = await Promise.all([vera, olga].map((one) => one.status("GET", jobsIn("team"))));
      return seen.join() === "403,403";
    });
  });
});
