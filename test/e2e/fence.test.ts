/** What the operator's own account may write, though it had every right: each write of the operator, and each that it never makes. */
import { join } from "node:path";
import { expect } from "chai";
import { clientFor } from "../../dev/local/kube-client.ts";
import { resourceOf } from "../../dev/local/install-crds.ts";
import { writeOperatorKubeconfig } from "../../dev/local/operator-identity.ts";
import type { KubeClient } from "../../src/kube/client.ts";
import { isForbidden, KubeError } from "../../src/kube/errors.ts";
import type { KubeObject, OwnerReference, ResourceName } from "../../src/kube/resource.ts";
import { namespaces } from "../../src/resources/types.ts";
import { job } from "../support/installation.ts";
import { podType, useTeam } from "../support/team.ts";

const uid = "6ba7b810-9dad-41d1-80b4-00c04fd430c8";
const rbac = "rbac.authorization.k8s.io";
const mine = { "rota.dev/job": "held" };

const custom = (group: string, kind: string, plural: string, version: string): KubeObject => ({
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: `${plural}.${group}` },
  spec: {
    group,
    scope: "Namespaced",
    names: { kind, plural, singular: kind.toLowerCase() },
    versions: [
      {
        name: version,
        served: true,
        storage: true,
        schema: {
          openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
        },
      },
    ],
  },
});

/** As every Pod Security level takes it: the fence alone refuses. */
const podSpec = {
  securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
  containers: [
    {
      name: "main",
      image: "none.example/none:1",
      securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
    },
  ],
};
const objectIn = (
  namespace: string,
  kind: string,
  name: string,
  fields: Readonly<Record<string, unknown>> = {},
  metadata: Partial<KubeObject["metadata"]> = {},
  apiVersion = "v1",
): KubeObject => ({ apiVersion, kind, metadata: { namespace, name, ...metadata }, ...fields });

const pod = (namespace: string, name: string, metadata: Partial<KubeObject["metadata"]> = {}) =>
  objectIn(namespace, "Pod", name, { spec: podSpec }, metadata);
const controlledBy = (apiVersion: string, kind = "Job", controller = true) => ({
  labels: mine,
  ownerReferences: [{ apiVersion, kind, name: "held", uid, controller }],
});
const roleBinding = (namespace: string, role: string, kind = "ClusterRole"): KubeObject =>
  objectIn(
    namespace,
    "RoleBinding",
    `binds-${role}`,
    { roleRef: { apiGroup: rbac, kind, name: role }, subjects: [] },
    {},
    `${rbac}/v1`,
  );
const claim = (namespace: string): KubeObject =>
  objectIn(namespace, "PersistentVolumeClaim", "claim", {
    spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } },
  });
const configMap = (namespace: string): KubeObject => objectIn(namespace, "ConfigMap", "map");
const service = (namespace: string): KubeObject =>
  objectIn(namespace, "Service", "service", { spec: { clusterIP: "None", selector: { a: "b" } } });
const batchJob = (namespace: string, name = "batch"): KubeObject =>
  objectIn(
    namespace,
    "Job",
    name,
    { spec: { suspend: true, template: { spec: { ...podSpec, restartPolicy: "Never" } } } },
    { labels: { team: "x" } },
    "batch/v1",
  );
const jobSet = (namespace: string): KubeObject =>
  objectIn(
    namespace,
    "JobSet",
    "set",
    { spec: { suspend: true, replicatedJobs: [{ name: "one" }] } },
    {},
    "jobset.x-k8s.io/v1alpha2",
  );
const mpiJob = (namespace: string): KubeObject =>
  objectIn(
    namespace,
    "MPIJob",
    "mpi",
    { spec: { slotsPerWorker: 1, runPolicy: { suspend: true, backoffLimit: 3 } } },
    {},
    "kubeflow.org/v2beta1",
  );
const namespaceOf = (
  name: string,
  labels: Record<string, string> = {},
  annotations: Record<string, string> = {},
): KubeObject => ({
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name, labels, annotations },
});
const project = { "rota.dev/project": "x" };
const made = { "rota.dev/made": "true", "rota.dev/project-uid": uid };

describe("the fence on the operator's account", function () {
  const team = useTeam({ operator: false });
  let account: KubeClient;

  before(async () => {
    const { view, cluster } = team;
    await view.client.create(
      await resourceOf(view.client, {
        apiVersion: `${rbac}/v1`,
        kind: "ClusterRoleBinding",
        metadata: {},
      }),
      {
        metadata: { name: "rota-operator-may-everything" },
        roleRef: { apiGroup: rbac, kind: "ClusterRole", name: "cluster-admin" },
        subjects: [{ kind: "ServiceAccount", name: "rota-operator", namespace: "rota-system" }],
      },
    );
    const kubeconfig = join(cluster.directory, "operator.kubeconfig");
    await writeOperatorKubeconfig(cluster.kubeconfig, kubeconfig);
    account = clientFor(kubeconfig);
    for (const definition of [
      custom("jobset.x-k8s.io", "JobSet", "jobsets", "v1alpha2"),
      custom("kubeflow.org", "MPIJob", "mpijobs", "v2beta1"),
    ])
      await untilMade(definition);
    for (const object of [
      namespaceOf("ours", { "rota.dev/project": "ours" }, made),
      namespaceOf("foreign"),
      namespaceOf("handed", {}, { "rota.dev/adopt": "handed" }),
      namespaceOf("unlabelled", {}, { "rota.dev/project-uid": uid }),
      namespaceOf("adopted", project, { "rota.dev/project-uid": uid }),
    ])
      await view.client.create(namespaces, object);
    for (const namespace of ["ours", "foreign", "rota-system"]) {
      const objects = [
        configMap(namespace),
        claim(namespace),
        service(namespace),
        roleBinding(namespace, "rota-viewer"),
        roleBinding(namespace, "edit"),
        batchJob(namespace),
        ...(namespace === "rota-system" ? [] : [jobSet(namespace), mpiJob(namespace)]),
      ];
      for (const object of objects) await untilMade(object);
    }
    for (const namespace of ["ours", "foreign"]) {
      await untilMade(pod(namespace, "plain"));
      await untilMade(
        objectIn(namespace, "Pod", "gated", {
          spec: { ...podSpec, schedulingGates: [{ name: "rota.dev/queue" }] },
        }),
      );
    }
    // The label of a pod of Rota's: only its account sets it, with a Job of rota.dev as controller.
    const suspended = job("ours", "held", { pool: "default", gpus: 1, spec: { suspend: true } });
    const held = await untilMade(suspended);
    const [reference] = controlledBy("rota.dev/v1alpha1").ownerReferences;
    const ownerReferences = [{ ...reference, uid: held.metadata.uid ?? "" }] as OwnerReference[];
    const labelled = { labels: mine, ownerReferences };
    await account.create(podType, pod("ours", "held", labelled), { attempts: 1 });
    await view.until("the fence to be active", () => refused("create", configMap("foreign")));
  });
  after(() => account?.close());

  const types = new Map<string, Promise<ResourceName>>();
  const typeOf = (object: KubeObject): Promise<ResourceName> => {
    const key = `${object.apiVersion} ${object.kind}`;
    const found = types.get(key) ?? resourceOf(team.view.client, object);
    types.set(key, found);
    return found;
  };
  const untilMade = (object: KubeObject): Promise<KubeObject> =>
    team.view.until(`${object.kind} ${object.metadata.name} to be made`, async () =>
      team.view.client.create(await typeOf(object), object),
    );
  const keyOf = ({ metadata: { namespace, name = "" } }: KubeObject): string =>
    namespace === undefined ? name : `${namespace}/${name}`;

  type Verb = "create" | "delete" | "evict" | { readonly patch: object };
  /** Asks as the operator's account; nothing is changed. */
  async function ask(verb: Verb, object: KubeObject): Promise<unknown> {
    const type = await typeOf(object);
    const key = keyOf(object);
    const once = { dryRun: true, attempts: 1 };
    if (verb === "create") {
      const fresh = { ...object.metadata, name: `${object.metadata.name}-new` };
      const isBinding = object.kind === "RoleBinding";
      return account.create(type, isBinding ? object : { ...object, metadata: fresh }, once);
    }
    if (verb === "delete") return account.delete(type, key, once);
    if (verb === "evict") return account.evict(key, once);
    const query = "?dryRun=All&fieldManager=rota";
    const { group, version, plural } = type;
    const root = group === "" ? `/api/${version}` : `/apis/${group}/${version}`;
    const { namespace, name } = object.metadata;
    const place = namespace === undefined ? "" : `/namespaces/${namespace}`;
    return account.raw("PATCH", `${root}${place}/${plural}/${name}${query}`, verb.patch, {
      contentType: "application/merge-patch+json",
      attempts: 1,
    });
  }
  /** Whether the fence refused, and nobody else. */
  async function refused(verb: Verb, object: KubeObject): Promise<boolean> {
    try {
      await ask(verb, object);
      return false;
    } catch (error) {
      if (
        isForbidden(error) &&
        error instanceof KubeError &&
        error.explanation.includes("rota-fence")
      )
        return true;
      // What got past the policies: the name is taken.
      if (error instanceof KubeError && error.reason === "AlreadyExists") return false;
      throw error;
    }
  }
  const nameOf = (verb: Verb): string =>
    typeof verb === "string" ? verb : JSON.stringify(verb.patch);
  async function expectEach(
    cases: readonly (readonly [Verb, KubeObject])[],
    isRefused: boolean,
  ): Promise<void> {
    const wrong: string[] = [];
    for (const [verb, object] of cases)
      if ((await refused(verb, object)) !== isRefused)
        wrong.push(`${nameOf(verb)} ${object.kind} ${keyOf(object)}`);
    expect(wrong, isRefused ? "let through" : "refused").to.deep.equal([]);
  }
  const annotate = (name: string, value: string | null = "x"): Verb => ({
    patch: { metadata: { annotations: { [name]: value } } },
  });
  const label = (name: string, value: string | null = "x"): Verb => ({
    patch: { metadata: { labels: { [name]: value } } },
  });

  it("lets the operator write in namespaces of projects", async () => {
    await expectEach(
      [
        ["create", pod("ours", "made", controlledBy("rota.dev/v1alpha1"))],
        ["delete", pod("ours", "held")],
        ["evict", pod("ours", "held")],
        // As the gate of workloads needs it: what waits is ungated.
        [{ patch: { spec: { schedulingGates: null } } }, pod("ours", "gated")],
        ["create", configMap("ours")],
        ["delete", configMap("ours")],
        ["create", claim("ours")],
        [annotate("team"), claim("ours")],
        ["delete", claim("ours")],
        ["create", service("ours")],
        ["create", roleBinding("ours", "rota-admin")],
        [{ patch: { subjects: [] } }, roleBinding("ours", "rota-viewer")],
        ["delete", roleBinding("ours", "rota-viewer")],
      ],
      false,
    );
  });

  it("keeps pods of others from the operator", async () => {
    await expectEach(
      [
        ["create", pod("foreign", "made", controlledBy("rota.dev/v1alpha1"))],
        ["create", pod("rota-system", "made", controlledBy("rota.dev/v1alpha1"))],
        ["create", pod("ours", "made")],
        ["create", pod("ours", "made", controlledBy("batch/v1"))],
        ["create", pod("ours", "made", controlledBy("rota.dev/v1alpha1", "Project"))],
        ["create", pod("ours", "made", controlledBy("rota.dev/v1alpha1", "Job", false))],
        ["delete", pod("ours", "plain")],
        ["delete", pod("ours", "gated")],
        [label("team"), pod("ours", "plain")],
        ["evict", pod("foreign", "plain")],
        ["delete", pod("foreign", "plain")],
        [label("team"), pod("foreign", "gated")],
      ],
      true,
    );
  });

  it("keeps all other namespaces from the operator", async () => {
    for (const place of ["foreign", "rota-system"]) {
      await expectEach(
        [
          ["create", configMap(place)],
          ["delete", configMap(place)],
          ["create", claim(place)],
          [annotate("team"), claim(place)],
          ["delete", claim(place)],
          ["create", service(place)],
          ["delete", service(place)],
          ["create", roleBinding(place, "rota-admin")],
          ["delete", roleBinding(place, "rota-viewer")],
          [{ patch: { spec: { suspend: false } } }, batchJob(place)],
        ],
        true,
      );
    }
  });

  it("lets it bind and unbind its own roles only", async () => {
    await expectEach(
      [
        ["create", roleBinding("ours", "cluster-admin")],
        ["create", roleBinding("ours", "rota-operator")],
        ["create", roleBinding("ours", "rota-admin", "Role")],
        [{ patch: { subjects: [] } }, roleBinding("ours", "edit")],
        ["delete", roleBinding("ours", "edit")],
      ],
      true,
    );
  });

  it("lets it make, adopt, keep and release namespaces", async () => {
    const release = {
      patch: {
        metadata: {
          labels: { "rota.dev/project": null },
          annotations: { "rota.dev/project-uid": null, "rota.dev/adopt": "x" },
        },
      },
    };
    await expectEach(
      [
        ["create", namespaceOf("next", project, made)],
        [label("rota.dev/project"), namespaceOf("handed")],
        [label("rota.dev/project"), namespaceOf("unlabelled")],
        [annotate("rota.dev/project-uid"), namespaceOf("adopted")],
        [release, namespaceOf("adopted")],
        [release, namespaceOf("ours")],
        ["delete", namespaceOf("ours")],
      ],
      false,
    );
  });

  it("keeps namespaces of others from the operator", async () => {
    await expectEach(
      [
        ["create", namespaceOf("next")],
        ["create", namespaceOf("next", project)],
        ["create", namespaceOf("next", project, { "rota.dev/made": "true" })],
        ["create", namespaceOf("next", {}, made)],
        [label("rota.dev/project"), namespaceOf("foreign")],
        [label("rota.dev/project"), namespaceOf("kube-system")],
        [annotate("rota.dev/adopt"), namespaceOf("foreign")],
        [label("rota.dev/project"), namespaceOf("rota-system")],
        [annotate("rota.dev/made", "true"), namespaceOf("adopted")],
        [annotate("rota.dev/made", null), namespaceOf("ours")],
        ["delete", namespaceOf("foreign")],
        ["delete", namespaceOf("adopted")],
        ["delete", namespaceOf("handed")],
      ],
      true,
    );
  });

  it("lets it suspend and resume workloads, no more", async () => {
    const suspend = (value: boolean) => ({ patch: { spec: { suspend: value } } });
    const policy = (fields: object) => ({ patch: { spec: { runPolicy: fields } } });
    await expectEach(
      [
        [suspend(false), batchJob("ours")],
        [annotate("rota.dev/suspended-by", "rota"), batchJob("ours")],
        [suspend(false), jobSet("ours")],
        [policy({ suspend: false }), mpiJob("ours")],
      ],
      false,
    );
    await expectEach(
      [
        ["create", batchJob("ours")],
        ["delete", batchJob("ours")],
        ["create", jobSet("ours")],
        ["delete", mpiJob("ours")],
        [{ patch: { spec: { backoffLimit: 1 } } }, batchJob("ours")],
        [{ patch: { spec: { replicatedJobs: [] } } }, jobSet("ours")],
        [{ patch: { spec: { field: "of a later version" } } }, jobSet("ours")],
        [policy({ backoffLimit: 1 }), mpiJob("ours")],
        [policy({ cleanPodPolicy: "All" }), mpiJob("ours")],
        [annotate("team"), batchJob("ours")],
        [label("team", null), batchJob("ours")],
        [label("rota.dev/job"), batchJob("ours")],
        [{ patch: { metadata: { finalizers: ["test/stuck"] } } }, jobSet("ours")],
        [suspend(false), jobSet("foreign")],
      ],
      true,
    );
  });

  it("lets it annotate the marker, no more", async () => {
    const role = (name: string, fields: Record<string, unknown> = {}): KubeObject => ({
      apiVersion: `${rbac}/v1`,
      kind: "ClusterRole",
      metadata: { name },
      ...fields,
    });
    const rules = [{ apiGroups: [""], resources: ["pods"], verbs: ["get"] }];
    await expectEach([[annotate("rota.dev/database"), role("rota-installation")]], false);
    await expectEach(
      [
        [{ patch: { rules } }, role("rota-installation")],
        [label("rbac.authorization.k8s.io/aggregate-to-admin", "true"), role("rota-installation")],
        [annotate("team"), role("rota-admin")],
        ["create", role("another", { rules })],
        ["delete", role("rota-installation")],
      ],
      true,
    );
  });

  it("does not hold for anybody else", async () => {
    const { client } = team.view;
    await client.create(await typeOf(configMap("foreign")), {
      ...configMap("foreign"),
      metadata: { name: "free", namespace: "foreign" },
    });
    await client.delete(podType, "foreign/plain");
  });
});
