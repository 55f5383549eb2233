import { expect } from "chai";
import type { KubeObject } from "../../src/kube/resource.ts";
import { fieldsOf } from "../../src/resources/meta.ts";
import { listOf } from "../../src/resources/pod-template.ts";
import { commit, owner, plan, project } from "../support/installation.ts";
import { useTeam } from "../support/team.ts";

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

describe("the pods of a job on a cluster", function () {
  const team = useTeam({
    project: { storages: storages("b") },
    objects: [
      project("strict", { owner, podSecurity: "restricted" }),
      plan("all", { owner }),
      plan("zoned", { owner, pool: "zoned" }),
    ],
  });
  const { submit, stateOf } = team;

  before(async () => {
    const { view, cluster } = team;
    await cluster.addNodes({ count: 1, gpus: 8 });
    for (const zone of ["a", "b"]) {
      const pool = "zoned";
      await cluster.addNodes({ count: 1, gpus: 2, pool, namePrefix: `${zone}-`, labels: { zone } });
    }
    await view.client.raw("POST", "/api/v1/persistentvolumes", volume);
  });

  const rawPods = async (name: string): Promise<KubeObject[]> => {
    const pods = await team.pods(name);
    return Promise.all(pods.map((pod) => team.view.rawPod(`team/${pod.name}`)));
  };

  it("have stable host names in the cluster's DNS", async () => {
    await submit("gang", { parallelism: 3 });
    await stateOf("gang", "Running");
    const { view } = team;
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

  it("mount the configuration's exact bytes, and know its hash", async () => {
    const { view } = team;
    await view.apply(commit("first", { content: { rate: 1, layers: [2, 3] } }));
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

  it("run only where their storage is reachable", async () => {
    const { view } = team;
    const mounting = {
      pool: "zoned",
      gpus: 2,
      spec: { storages: [{ name: "data", mountPath: "/data" }] },
    };
    await submit("near", mounting);
    expect((await stateOf("near", "Running")).status.nodes).to.deep.equal(["b-1"]);
    // a-1 is free all the time.
    await submit("waits", mounting);
    const waiting = await team.waits("waits");
    expect(waiting.status.message).to.match(/the closest fit, b-1, has 0 free/);
    await view.apply(project("team", { owner, storages: storages("c") }));
    await view.until("no node to reach the storage", async () =>
      /match the job's .*storages/.test((await team.job("waits")).status.message ?? ""),
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
    const rejected = await stateOf(key, "Rejected");
    expect(rejected.status.reason).to.equal("TemplateRejected");
    return rejected.status.message ?? "";
  }

  it("are refused with the field that restricted security needs", async () => {
    await submit("strict/rootful");
    const rootful = await rejectionOf("strict/rootful");
    expect(rootful).to.match(/set spec\.template\.spec\.securityContext\.runAsNonRoot to true/);
    // What can be filled in without harm is no reason to refuse.
    expect(rootful).not.to.match(/seccomp|capabilities|allowPrivilegeEscalation/);
    await submit(
      "strict/mighty",
      withContainer({ securityContext: { runAsUser: 7, allowPrivilegeEscalation: true } }),
    );
    expect(await rejectionOf("strict/mighty")).to.match(
      /set spec\.template\.spec\.containers\[0\]\.securityContext\.allowPrivilegeEscalation to false/,
    );
  });

  it("are completed for restricted security when they name a user", async () => {
    await submit("strict/modest", withContainer({}, { securityContext: { runAsUser: 1000 } }));
    await stateOf("strict/modest", "Running");
  });

  it("are refused with a misspelt field's name", async () => {
    await submit("misspelt", withContainer({ imagePullPolice: "Always" }));
    expect(await rejectionOf("team/misspelt")).to.match(
      /spec\.template\.spec\.containers\[0\]\.imagePullPolice is an unknown field/,
    );
    await submit("invalid", withContainer({ imagePullPolicy: "Sometimes" }));
    expect(await rejectionOf("team/invalid")).to.match(
      /spec\.template\.spec\.containers\[0\]\.imagePullPolicy: .*Sometimes/,
    );
  });

  it("fail the job with the reason when they are refused", async () => {
    const { view } = team;
    await view.apply(project("loose", { owner }));
    await view.until("the namespace to be there", async () =>
      (await view.projects()).some(({ name, status }) => name === "loose" && status.namespace),
    );
    await submit("loose/late", { spec: { suspend: true } });
    await stateOf("loose/late", "Suspended");
    await view.apply(project("loose", { owner, podSecurity: "restricted" }));
    await view.until("the namespace to be strict", async () => {
      const namespace = await view.client.raw("GET", "/api/v1/namespaces/loose");
      const { labels } = fieldsOf(fieldsOf(namespace)["metadata"]);
      return fieldsOf(labels)["pod-security.kubernetes.io/enforce"] === "restricted";
    });
    await submit("loose/late", { spec: { suspend: false } });
    const failed = await stateOf("loose/late", "Failed");
    expect(failed.status.reason).to.equal("PodsRejected");
    expect(failed.status.message).to.match(/runAsNonRoot/);
  });
});
