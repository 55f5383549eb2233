import { expect } from "chai";
import type { KubeObject } from "../../src/kube/resource.ts";
import { fieldsOf } from "../../src/resources/meta.ts";
import { listOf } from "../../src/resources/pod-template.ts";
import type { Job } from "../../src/resources/types.ts";
import {
  type Installation,
  job,
  owner,
  plan,
  priorityClass,
  project,
  startInstallation,
  teamIsReady,
  teamJobIs,
} from "../support/installation.ts";

const inZone = (zone: string) => ({
  nodeSelectorTerms: [{ matchExpressions: [{ key: "zone", operator: "In", values: [zone] }] }],
});
const storages = (zone: string) => [
  { name: "data", size: "1Gi", storageClassName: "by-hand", affinity: inZone(zone) },
];
/** Stands for what a provisioner would make. */
const volume: KubeObject = {
  apiVersion: "v1",
  kind: "PersistentVolume",
  metadata: { name: "data" },
  spec: {
    capacity: { storage: "1Gi" },
    accessModes: ["ReadWriteMany"],
    storageClassName: "by-hand",
    hostPath: { path: "/data" },
  },
};

describe("what pods find around them", function () {
  let installation: Installation;
  const stateOf = (name: string, ...states: string[]): Promise<Job> =>
    teamJobIs(installation, name, ...states);
  const submit = (
    name: string,
    options: Partial<Parameters<typeof job>[2]> = {},
    namespace = "team",
  ) => installation.view.apply(job(namespace, name, { pool: "default", gpus: 1, ...options }));

  before(async () => {
    installation = await startInstallation();
    const { view, cluster } = installation;
    await cluster.addNodes({ count: 1, gpus: 8 });
    for (const zone of ["a", "b"]) {
      const pool = "zoned";
      await cluster.addNodes({ count: 1, gpus: 2, pool, namePrefix: `${zone}-`, labels: { zone } });
    }
    await view.client.raw("POST", "/api/v1/persistentvolumes", volume);
    for (const object of [
      priorityClass("low", 10),
      project("team", { owner, storages: storages("b") }),
      project("strict", { owner, podSecurity: "restricted" }),
      plan("all", { owner }),
      plan("zoned", { owner, pool: "zoned" }),
    ]) {
      await view.apply(object);
    }
    await installation.operate();
    await teamIsReady(installation);
  });

  after(async () => {
    await installation?.stop();
  });

  const rawPods = async (name: string): Promise<KubeObject[]> => {
    const { view } = installation;
    const keys = (await view.pods()).filter(({ jobKey }) => jobKey === `team/${name}`);
    return Promise.all(keys.map((pod) => view.rawPod(`team/${pod.name}`)));
  };

  it("a gang's pods have stable host names that the cluster's DNS is given", async () => {
    await submit("gang", { parallelism: 3 });
    await stateOf("gang", "Running");
    const { view } = installation;
    const specs = (await rawPods("gang")).map((pod) => fieldsOf(pod["spec"]));
    expect(specs.map(({ hostname }) => hostname)).to.have.members(["gang-0", "gang-1", "gang-2"]);
    const addresses = await view.until("the Service to know all three", async () => {
      const slices = (await view.client.raw(
        "GET",
        "/apis/discovery.k8s.io/v1/namespaces/team/endpointslices?labelSelector=kubernetes.io/service-name%3Drota-gang",
      )) as { items: { endpoints?: { hostname?: string; addresses: string[] }[] }[] };
      const endpoints = slices.items.flatMap((slice) => slice.endpoints ?? []);
      return endpoints.length === 3 && endpoints;
    });
    expect(addresses.map(({ hostname }) => hostname)).to.have.members([
      "gang-0",
      "gang-1",
      "gang-2",
    ]);
    const leaders = specs.map((spec) =>
      listOf(listOf(spec["containers"])[0]?.["env"]).find(
        ({ name }) => name === "ROTA_JOB_LEADER_ADDRESS",
      ),
    );
    for (const leader of leaders) expect(leader?.["value"]).to.equal("gang-0.rota-gang.team.svc");
  });

  it("the configuration's exact bytes are mounted, and its hash is told", async () => {
    const { view } = installation;
    await view.apply({
      apiVersion: "rota.dev/v1alpha1",
      kind: "ConfigCommit",
      metadata: { namespace: "team", name: "first" },
      spec: { content: { rate: 1, layers: [2, 3] } },
    });
    await submit("configured", { spec: { configRef: { commit: "first" } } });
    const { status } = await stateOf("configured", "Running");
    const [pod] = await rawPods("configured");
    const spec = fieldsOf(pod?.["spec"]);
    const [container] = listOf(spec["containers"]);
    expect(listOf(container?.["env"])).to.deep.include({
      name: "ROTA_CONFIG_HASH",
      value: status.configHash,
    });
    const mount = listOf(container?.["volumeMounts"]).find(({ name }) => name === "rota-config");
    expect(mount?.["mountPath"]).to.equal("/etc/rota");
    const source = listOf(spec["volumes"]).find(({ name }) => name === "rota-config");
    const map = await view.configMap(`team/${String(fieldsOf(source?.["configMap"])["name"])}`);
    expect(fieldsOf(map["data"])["config.json"]).to.equal('{"layers":[2,3],"rate":1}');
  });

  it("a job runs only where its storage can be reached, and follows when that changes", async () => {
    const { view } = installation;
    const mounting = {
      pool: "zoned",
      gpus: 2,
      spec: { storages: [{ name: "data", mountPath: "/data" }] },
    };
    await submit("near", mounting);
    expect((await stateOf("near", "Running")).status.nodes).to.deep.equal(["b-1"]);
    // a-1 is free all the time.
    await submit("waits", mounting);
    const waiting = await view.until("the second to say why it waits", async () => {
      const found = await view.job("team/waits");
      return found.status.queuePosition !== undefined && found;
    });
    expect(waiting.status.message).to.match(/the closest fit, b-1, has 0 free/);
    await view.apply(project("team", { owner, storages: storages("c") }));
    await view.until("no node to reach the storage", async () =>
      /reaches its storages/.test((await view.job("team/waits")).status.message ?? ""),
    );
    await view.apply(project("team", { owner, storages: storages("a") }));
    expect((await stateOf("waits", "Running")).status.nodes).to.deep.equal(["a-1"]);
    expect((await stateOf("near", "Running")).status.nodes).to.deep.equal(["b-1"]);
  });

  const withContainer = (container: object, podFields: object = {}) => ({
    spec: {
      template: {
        spec: {
          containers: [{ name: "main", image: "none.example/none:1", ...container }],
          ...podFields,
        },
      },
    },
  });

  async function rejectionOf(key: string): Promise<string> {
    const { view } = installation;
    const rejected = await view.until(`job ${key} to be refused`, async () => {
      const found = await view.job(key);
      return found.status.state === "Rejected" && found;
    });
    expect(rejected.status.reason).to.equal("TemplateRejected");
    return rejected.status.message ?? "";
  }

  it("a template that does not pass the restricted level is told the field to change", async () => {
    await submit("rootful", {}, "strict");
    const rootful = await rejectionOf("strict/rootful");
    expect(rootful).to.match(/set spec\.template\.spec\.securityContext\.runAsNonRoot to true/);
    // What can be filled in without harm is no reason to refuse.
    expect(rootful).not.to.match(/seccomp|capabilities|allowPrivilegeEscalation/);
    await submit(
      "mighty",
      withContainer({ securityContext: { runAsUser: 7, allowPrivilegeEscalation: true } }),
      "strict",
    );
    expect(await rejectionOf("strict/mighty")).to.match(
      /set spec\.template\.spec\.containers\[0\]\.securityContext\.allowPrivilegeEscalation to false/,
    );
  });

  it("a template that says its user is completed to pass the restricted level", async () => {
    const { view } = installation;
    await submit("modest", withContainer({}, { securityContext: { runAsUser: 1000 } }), "strict");
    await view.until(
      "the job to run",
      async () => (await view.job("strict/modest")).status.state === "Running",
    );
  });

  it("a misspelt field is named, not dropped", async () => {
    await submit("misspelt", withContainer({ imagePullPolice: "Always" }));
    expect(await rejectionOf("team/misspelt")).to.match(
      /spec\.template\.spec\.containers\[0\]\.imagePullPolice is an unknown field/,
    );
    await submit("invalid", withContainer({ imagePullPolicy: "Sometimes" }));
    expect(await rejectionOf("team/invalid")).to.match(
      /spec\.template\.spec\.containers\[0\]\.imagePullPolicy: .*Sometimes/,
    );
  });

  it("pods that are refused after the job was queued end it with the reason", async () => {
    const { view } = installation;
    await view.apply(project("loose", { owner }));
    await view.until("the namespace to be there", async () =>
      (await view.projects()).some(({ name, status }) => name === "loose" && status.namespace),
    );
    await submit("late", { spec: { suspend: true } }, "loose");
    await view.until(
      "the job to be suspended",
      async () => (await view.job("loose/late")).status.state === "Suspended",
    );
    await view.apply(project("loose", { owner, podSecurity: "restricted" }));
    await view.until("the namespace to be strict", async () => {
      const namespace = await view.client.raw("GET", "/api/v1/namespaces/loose");
      const { labels } = fieldsOf(fieldsOf(namespace)["metadata"]);
      return fieldsOf(labels)["pod-security.kubernetes.io/enforce"] === "restricted";
    });
    await submit("late", { spec: { suspend: false } }, "loose");
    const failed = await view.until("the job to fail", async () => {
      const found = await view.job("loose/late");
      return found.status.state === "Failed" && found;
    });
    expect(failed.status.reason).to.equal("PodsRejected");
    expect(failed.status.message).to.match(/runAsNonRoot/);
  });
});
