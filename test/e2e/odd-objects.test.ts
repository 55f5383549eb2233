/**
 * Objects that the API server accepts and nobody would write: none stops a watch, freezes a node, or leaves a job without a
 * status; work beside them goes on.
 */
import { expect } from "chai";
import type { Operator } from "../../dev/local/operator.ts";
import { KubeError } from "../../src/kube/errors.ts";
import type { KubeObject, ResourceName } from "../../src/kube/resource.ts";
import {
  configCommits,
  configMaps,
  jobs,
  namespaces,
  nodesOf,
  persistentVolumeClaims,
  podsOf,
  priorityClasses,
  projects,
  resourcePlans,
  roleBindings,
} from "../../src/resources/types.ts";
import { readyOf } from "../../dev/quickstart/cluster-view.ts";
import {
  applyTeam,
  type Installation,
  job,
  owner,
  plan,
  project,
  startInstallation,
  teamIsReady,
  teamJobIs,
  usualLease,
} from "../support/installation.ts";
import { drawsOf, OddObjects } from "../support/odd-objects.ts";
import { samplesOf } from "../support/operator-metrics.ts";
import { propertyRuns } from "../support/property.ts";

const gpu = "nvidia.com/gpu";
const podType = podsOf(gpu);
const nodeType = nodesOf(gpu);

type Make = (odd: OddObjects, name: string) => KubeObject;

const kinds: readonly (readonly [ResourceName, Make])[] = [
  [podType, (odd, name) => odd.pod(name, 0)],
  [nodeType, (odd, name) => odd.node(name, 0)],
  [jobs, (odd, name) => odd.job(name, 0)],
  [projects, (odd, name) => odd.project(name, 0)],
  [resourcePlans, (odd, name) => odd.plan(name, 0)],
  [configCommits, (odd, name) => odd.commit(name, 0)],
  [priorityClasses, (odd, name) => odd.priorityClass(name, 0)],
  [persistentVolumeClaims, (odd, name) => odd.claim(name, 0)],
  [configMaps, (odd, name) => odd.configMap(name, 0)],
  [namespaces, (odd, name) => odd.namespace(name, 0)],
  [roleBindings, (odd, name) => odd.roleBinding(name, 0)],
];
const atOnce = 20;
const leastAccepted = 0.3;
const taints = [{ key: "example.com/sane", effect: "NoSchedule" }] as const;
const tolerations = taints.map(({ key, effect }) => ({ key, effect, operator: "Exists" }));

/** As a client sends it: without what the server writes. */
function submitted(made: KubeObject, { namespaced }: ResourceName): KubeObject {
  const { name, labels, annotations } = made.metadata;
  const { status: _status, ...rest } = made;
  return {
    ...rest,
    metadata: {
      ...(name === undefined ? {} : { name }),
      ...(labels === undefined ? {} : { labels }),
      ...(annotations === undefined ? {} : { annotations }),
      ...(namespaced ? { namespace: "default" } : {}),
    },
  };
}

describe("odd objects", function () {
  let installation: Installation;
  let operator: Operator;

  before(async () => {
    installation = await startInstallation({ mayBeRejected: true });
    const { cluster, view } = installation;
    // Tainted, since kube-scheduler would place odd pods here, which may ask for all GPUs.
    await cluster.addNodes({ count: 1, gpus: 8, pool: "sane", namePrefix: "sane-", taints });
    await cluster.addNodes({ count: 2, gpus: 8, pool: "odd", namePrefix: "odd-" });
    await applyTeam(installation);
    for (const pool of ["sane", "odd"]) await view.apply(plan(`all-of-${pool}`, { owner, pool }));
    operator = await installation.operate(usualLease);
    await teamIsReady(installation);
  });

  after(async () => {
    await installation?.stop();
  });

  const skipped = async (): Promise<number> =>
    (await samplesOf(operator, "rota_reflector_skipped_total")).reduce(
      (sum, { value }) => sum + value,
      0,
    );
  async function runsAtFirstAttempt(name: string): Promise<void> {
    await installation.view.apply(
      job("team", name, { pool: "sane", gpus: 1, priorityClassName: "low", tolerations }),
    );
    const { status } = await teamJobIs(installation, name, "Running");
    expect(status.attempt).to.equal(1);
  }

  it("a pod of 10Pi stops no watch", async () => {
    const { client } = installation.view;
    await client.create(podType, {
      metadata: { name: "typo", namespace: "default" },
      spec: {
        containers: [{ name: "a", image: "a", resources: { requests: { memory: "10Pi" } } }],
      },
    });
    await runsAtFirstAttempt("beside-typo");
  });

  it("a pod of 8Gi GPUs fills its node", async () => {
    const { view, database } = installation;
    const nodes = (await view.client.list(nodeType)).map(({ metadata }) => metadata.name ?? "");
    const name = nodes.find((found) => found.startsWith("odd-")) ?? "";
    await view.client.create(podType, {
      metadata: { name: "greedy", namespace: "default" },
      spec: {
        nodeName: name,
        containers: [{ name: "a", image: "a", resources: { limits: { [gpu]: "8Gi" } } }],
      },
    });
    const row = async () => {
      const { rows } = await database.pool.query<{ free: boolean; schedulable: boolean }>(
        "SELECT gpus_other < gpus_allocatable AS free, schedulable FROM nodes WHERE name = $1",
        [name],
      );
      return rows[0];
    };
    await view.until("the node to be full", async () => (await row())?.free === false);
    await view.client.patch(nodeType, name, { spec: { unschedulable: true } });
    await view.until("the cordon to be seen", async () => (await row())?.schedulable === false);
  });

  for (const [name, parallelism, resources, words] of [
    ["big", 1, { [gpu]: "1", memory: "10Pi" }, /limits\[memory\]|requests\[memory\].*10Pi/],
    ["gpus", 1, { [gpu]: "8Gi" }, /nvidia\.com\/gpu\]: 8Gi must be less than/],
    ["many", 10_000, { [gpu]: "300000" }, /spec\.parallelism: .* are 3000000000/],
    ["cpu", 1, { [gpu]: "1", cpu: "10P" }, /cpu\]: 10P must be less than/],
    ["sum", 10_000, { [gpu]: "1", memory: "7Pi" }, /memory\]: 7Pi must be less than 512Ti/],
  ] as const) {
    it(`a job with too much ${name} is rejected`, async () => {
      const template = {
        spec: { containers: [{ name: "a", image: "a", resources: { limits: resources } }] },
      };
      const spec = { template, parallelism };
      await installation.view.apply(
        job("team", name, { pool: "sane", gpus: 1, priorityClassName: "low", spec }),
      );
      const { status } = await teamJobIs(installation, name, "Rejected");
      expect(status.reason).to.equal("InvalidValue");
      expect(status.message).to.match(words);
    });
  }

  it("a project with a storage of 10Pi has the rest", async () => {
    const { view } = installation;
    const storages = ["10Pi", "1E"].map((size, at) => ({
      name: `data-${at}`,
      size,
      storageClassName: "lustre",
    }));
    await view.apply(
      project("hpc", { owner, storages: [...storages, { name: "home", size: "1Gi" }] }),
    );
    await view.until("the project to be ready", async () => {
      const found = (await view.projects()).find(({ name }) => name === "hpc");
      return found && readyOf(found)?.status === "True";
    });
    const claims = await view.client.list(persistentVolumeClaims, { namespace: "hpc" });
    expect(claims.map(({ metadata }) => metadata.name)).to.have.members([
      "data-0",
      "data-1",
      "home",
    ]);
  });

  it("thousands of them stop neither jobs nor restarts", async () => {
    const { client } = installation.view;
    const { numRuns = 0, seed = 0 } = propertyRuns<[]>(2_000);
    const odd = new OddObjects(drawsOf(seed));
    const accepted = new Map<string, number>();
    const tried = new Map<string, number>();
    const count = (counts: Map<string, number>, plural: string) =>
      counts.set(plural, (counts.get(plural) ?? 0) + 1);
    const submit = async (at: number): Promise<void> => {
      const kind = kinds[at % kinds.length];
      if (kind === undefined) return;
      const [type, make] = kind;
      count(tried, type.plural);
      const object = make(odd, `odd-object-${at}`);
      try {
        await client.create(type, submitted(object, type));
        count(accepted, type.plural);
        if (type.plural !== "nodes" && type.plural !== "pods") return;
        const key = type.namespaced ? `default/odd-object-${at}` : `odd-object-${at}`;
        await client.patch(type, key, { status: object["status"] }, { subresource: "status" });
      } catch (error) {
        if (!(error instanceof KubeError) || error.status >= 500) throw error;
      }
    };
    for (let at = 0; at < numRuns; at += atOnce) {
      const batch = Array.from({ length: Math.min(atOnce, numRuns - at) }, (_, one) => at + one);
      await Promise.all(batch.map(submit));
    }
    const total = [...accepted.values()].reduce((sum, one) => sum + one, 0);
    const shares = [...tried].map(([plural, of]) => `${plural} ${accepted.get(plural) ?? 0}/${of}`);
    console.log(`      accepted ${total} of ${numRuns}: ${shares.join(", ")}`);
    expect(total / numRuns).to.be.at.least(leastAccepted);
    await runsAtFirstAttempt("beside-odd");
    expect(await skipped()).to.equal(0);
    await operator.stop();
    operator = await installation.operate(usualLease);
    await installation.view.until("the restarted operator to be ready", async () => {
      return (await fetch(`${operator.url}/readyz`)).ok;
    });
    await runsAtFirstAttempt("after-restart");
    expect(await skipped()).to.equal(0);
  });
});
