/** No object that the API server accepts stops a watch, and what is kept of it is within bounds. */
import { expect } from "chai";
import type { KubeClient } from "../../../src/kube/client.ts";
import type { KubeObject, ResourceName } from "../../../src/kube/resource.ts";
import type { WatchEvent } from "../../../src/kube/watch-events.ts";
import { maxAmount } from "../../../src/domain/quantity.ts";
import { createInformers } from "../../../src/operator/informers.ts";
import { podsOf } from "../../../src/resources/types.ts";
import { aborted, systemClock } from "../../../src/runtime/clock.ts";
import { silentLogger } from "../../../src/runtime/logger.ts";
import { createCountingMetrics } from "../../support/counting-metrics.ts";
import { drawsOf, OddObjects } from "../../support/odd-objects.ts";
import { propertyRuns } from "../../support/property.ts";

const gpuResource = "nvidia.com/gpu";

type Make = (odd: OddObjects, name: string, version: number) => KubeObject;

/** By the plural of each watched kind. */
const makers: Readonly<Record<string, Make>> = {
  projects: (odd, name, version) => odd.project(name, version),
  resourceplans: (odd, name, version) => odd.plan(name, version),
  jobs: (odd, name, version) => odd.job(name, version),
  configcommits: (odd, name, version) => odd.commit(name, version),
  priorityclasses: (odd, name, version) => odd.priorityClass(name, version),
  nodes: (odd, name, version) => odd.node(name, version),
  pods: (odd, name, version) => odd.pod(name, version),
  resourcequotas: (odd, name, version) => odd.resourceQuota(name, version),
  namespaces: (odd, name, version) => odd.namespace(name, version),
  rolebindings: (odd, name, version) => odd.roleBinding(name, version),
  persistentvolumeclaims: (odd, name, version) => odd.claim(name, version),
  configmaps: (odd, name, version) => odd.configMap(name, version),
};

/** More would only fill memory: later objects replace earlier ones of their name. */
const namesAtOnce = 1_000;
const perBatch = 100;

/** An API server that has so many odd objects of each kind, and then nothing new. */
function oddServer(objects: number, seed: number, onSent: (plural: string) => void): KubeClient {
  const watch = async function* (
    { plural }: ResourceName,
    { signal }: { readonly signal: AbortSignal },
  ): AsyncGenerator<readonly WatchEvent[]> {
    const make = makers[plural];
    if (make === undefined) throw new Error(`no odd objects of ${plural}: add them`);
    const odd = new OddObjects(drawsOf(seed));
    for (let version = 1; version <= objects;) {
      const batch: WatchEvent[] = [];
      for (; batch.length < perBatch && version <= objects; version += 1) {
        const object = make(odd, `odd-${version % namesAtOnce}`, version);
        batch.push({ type: "ADDED", object });
        onSent(plural);
      }
      yield batch;
    }
    const annotations = { "k8s.io/initial-events-end": "true" };
    const resourceVersion = String(objects);
    yield [{ type: "BOOKMARK", object: { metadata: { resourceVersion, annotations } } }];
    await aborted(signal);
  };
  return { watch } as unknown as KubeClient;
}

type Amounts = Readonly<Record<string, number>>;

function expectAmounts(what: string, amounts: Amounts): void {
  for (const [name, amount] of Object.entries(amounts)) {
    const isWithin = Number.isSafeInteger(amount) && amount >= 0 && amount <= maxAmount;
    if (!isWithin) throw new Error(`${what}: ${name} is ${amount}`);
  }
}

describe("what Rota keeps of odd objects", function () {
  it("is within bounds, and leaves no object out", async function () {
    this.timeout(600_000);
    const { numRuns = 0, seed = 0 } = propertyRuns<[]>(10_000);
    const sent = new Map<string, number>();
    const metrics = createCountingMetrics();
    const failure = Promise.withResolvers<never>();
    const fail = (message: string, fields?: object): void =>
      failure.reject(new Error(`${message}: ${JSON.stringify(fields)}`));
    const informers = createInformers({
      kube: oddServer(numRuns, seed, (plural) => sent.set(plural, (sent.get(plural) ?? 0) + 1)),
      clock: systemClock,
      logger: {
        ...silentLogger,
        warn: fail,
        // A handler that threw: an amount was out of bounds.
        error: fail,
      },
      metrics,
      gpuResource,
      onTimeTravel: () => undefined,
    });
    let pods = 0;
    informers.pods.onChange(({ after: pod }) => {
      if (pod === undefined) return;
      pods += 1;
      const { attempt, index, generation } = pod;
      const { byName, ...demand } = pod.demand;
      expectAmounts(`pod ${pod.name}`, { ...demand, ...byName, attempt, index, generation });
    });
    informers.nodes.onChange(({ after: node }) => {
      if (node === undefined) return;
      const { byName, ...allocatable } = node.allocatable;
      expectAmounts(`node ${node.name}`, { ...allocatable, ...byName });
    });
    try {
      await Promise.race([informers.start(), failure.promise]);
    } finally {
      await informers.stop();
    }
    expect(metrics.total("reflector_skipped_total")).to.equal(0);
    expect(metrics.total("reflector_failures_total")).to.equal(0);
    expect([...sent.keys()].toSorted()).to.deep.equal(Object.keys(makers).toSorted());
    for (const count of sent.values()) expect(count).to.equal(numRuns);
    expect(pods).to.be.above(0);
  });

  it("fills its node where a pod is not understood", () => {
    const { project, substitute } = podsOf(gpuResource);
    const raw = (nodeName?: string): KubeObject => ({
      metadata: { name: "odd", namespace: "default", resourceVersion: "1" },
      spec: { nodeName, containers: [{ resources: { requests: { memory: "lots" } } }] },
    });
    expect(() => project(raw("node-1"))).to.throw(RangeError);
    expect(substitute?.(raw())).to.equal(undefined);
    const pod = substitute?.(raw("node-1"));
    expect(pod).to.include({ nodeName: "node-1", jobKey: "" });
    expect(pod?.demand).to.deep.equal({
      gpus: maxAmount,
      cpuMillis: maxAmount,
      memoryBytes: maxAmount,
    });
  });
});
