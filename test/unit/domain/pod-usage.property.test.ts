/** What pods count for under ResourceQuotas, against a pod that is started container by container. */
import { expect } from "chai";
import * as fc from "fast-check";
import { podDemand } from "../../../src/domain/pod-demand.ts";
import { type CountedPodSpec, podUsage } from "../../../src/domain/pod-usage.ts";
import { exactMillis } from "../../../src/domain/quantity.ts";
import { propertyRuns, Reached } from "../../support/property.ts";

const gpu = "nvidia.com/gpu";
const fpga = "example.com/fpga";
const names = ["cpu", "memory", "ephemeral-storage", "hugepages-2Mi", gpu, fpga];

const quantity = fc.constantFrom("0", "1", "250m", "2", "1Ki", "3");
const amounts = fc.dictionary(fc.constantFrom(...names), quantity, { maxKeys: 4 });
const resources = fc.record({ requests: amounts, limits: amounts }, { requiredKeys: [] });
const container = fc.record({ resources }, { requiredKeys: [] });
const initContainer = fc.record(
  { resources, restartPolicy: fc.constant("Always") },
  { requiredKeys: [] },
);
const podLevel = fc.dictionary(fc.constantFrom("cpu", "memory"), quantity);
const specs: fc.Arbitrary<CountedPodSpec> = fc.record(
  {
    containers: fc.array(container, { minLength: 1, maxLength: 3 }),
    initContainers: fc.array(initContainer, { maxLength: 3 }),
    resources: fc.record({ requests: podLevel, limits: podLevel }, { requiredKeys: [] }),
    overhead: fc.dictionary(fc.constantFrom("cpu", "memory"), quantity),
  },
  { requiredKeys: ["containers"] },
);

type Kind = "requests" | "limits";
type Container = NonNullable<CountedPodSpec["containers"]>[number];

const quantityOf = (one: Pick<Container, "resources">, kind: Kind, name: string) =>
  one.resources?.[kind]?.[name] ??
  (kind === "requests" ? one.resources?.limits?.[name] : undefined);

/** Starts the pod: at each step the containers that run then. */
function* stepsOf({
  containers = [],
  initContainers = [],
}: CountedPodSpec): Generator<Container[]> {
  const sidecars: Container[] = [];
  for (const one of initContainers) {
    yield [...sidecars, one];
    if (one.restartPolicy === "Always") sidecars.push(one);
  }
  yield [...sidecars, ...containers];
}

function bruteForce(spec: CountedPodSpec, kind: Kind, name: string): bigint {
  const millis = (value: string | number | undefined) => exactMillis(String(value ?? 0));
  const steps = [...stepsOf(spec)].map((running) =>
    running.reduce((sum, one) => sum + millis(quantityOf(one, kind, name)), 0n),
  );
  const peak = steps.reduce((most, sum) => (sum > most ? sum : most), 0n);
  const ofPod = ["cpu", "memory"].includes(name) ? quantityOf(spec, kind, name) : undefined;
  const amount = ofPod === undefined ? peak : millis(ofPod);
  const hasOverhead = kind === "requests" || amount > 0n;
  return amount + (hasOverhead ? millis(spec.overhead?.[name]) : 0n);
}

describe("what a pod counts for", () => {
  it("is what its containers use at most at one time, or what the pod says", () => {
    const reached = new Reached<"sidecars" | "of the pod" | "overhead" | "larger init">();
    const property = fc.property(specs, (spec) => {
      const usage = podUsage(spec);
      for (const name of names) {
        expect(usage.requests[name] ?? 0n, `requests ${name}`).to.equal(
          bruteForce(spec, "requests", name),
        );
        const isLimited = ["cpu", "memory", "ephemeral-storage"].includes(name);
        const limit = isLimited ? bruteForce(spec, "limits", name) : 0n;
        expect(usage.limits[name] ?? 0n, `limits ${name}`).to.equal(limit);
      }
      const { initContainers = [], resources: ofPod, overhead = {} } = spec;
      reached.note({
        sidecars: initContainers.some(({ restartPolicy }) => restartPolicy === "Always"),
        "of the pod": Object.keys({ ...ofPod?.requests, ...ofPod?.limits }).length > 0,
        overhead: Object.keys(overhead).length > 0,
        "larger init": initContainers.length > 0,
      });
    });
    fc.assert(property, propertyRuns(1000));
    reached.expectPercent({ sidecars: 20, "of the pod": 20, overhead: 20, "larger init": 40 });
  });

  it("agrees with what its nodes have to offer", () => {
    const property = fc.property(specs, (spec) => {
      const { requests } = podUsage(spec);
      const demand = podDemand(spec, gpu);
      const up = (millis: bigint = 0n) => Number((millis + 999n) / 1000n);
      expect(Number(requests["cpu"] ?? 0n)).to.equal(demand.cpuMillis);
      expect(Number(requests[gpu] ?? 0n)).to.be.at.most(demand.gpus * 1000);
      expect(up(requests["memory"])).to.be.at.most(demand.memoryBytes);
    });
    fc.assert(property, propertyRuns(500));
  });

  const main = (requirements: Container["resources"] = {}): CountedPodSpec => ({
    containers: [{ resources: requirements }],
  });
  const term = (fields: object) => ({ topologyKey: "kubernetes.io/hostname", ...fields });
  const required = (fields: object) => ({
    podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term(fields)] },
  });
  const preferred = (fields: object) => ({
    podAntiAffinity: {
      preferredDuringSchedulingIgnoredDuringExecution: [
        { weight: 1, podAffinityTerm: term(fields) },
      ],
    },
  });
  const scopes: readonly (readonly [string, CountedPodSpec, readonly string[]])[] = [
    ["asks for nothing", main(), ["NotTerminating", "BestEffort"]],
    ["asks for zero", main({ requests: { cpu: "0" } }), ["NotTerminating", "BestEffort"]],
    ["asks for a GPU only", main({ limits: { [gpu]: 1 } }), ["NotTerminating", "BestEffort"]],
    ["asks for CPU", main({ requests: { cpu: "1m" } }), ["NotTerminating", "NotBestEffort"]],
    [
      "is limited only",
      main({ requests: { memory: "0" }, limits: { memory: "1" } }),
      ["NotTerminating", "NotBestEffort"],
    ],
    [
      "asks for CPU as a whole",
      { ...main(), resources: { requests: { cpu: "1" } } },
      ["NotTerminating", "NotBestEffort"],
    ],
    ["has a deadline", { ...main(), activeDeadlineSeconds: 60 }, ["Terminating", "BestEffort"]],
    [
      "names namespaces",
      { ...main(), affinity: required({ namespaces: ["a"] }) },
      ["NotTerminating", "BestEffort", "CrossNamespacePodAffinity"],
    ],
    [
      "selects namespaces",
      { ...main(), affinity: preferred({ namespaceSelector: {} }) },
      ["NotTerminating", "BestEffort", "CrossNamespacePodAffinity"],
    ],
    [
      "has affinity to its own namespace",
      { ...main(), affinity: required({ namespaces: [] }) },
      ["NotTerminating", "BestEffort"],
    ],
  ];
  for (const [what, spec, expected] of scopes) {
    it(`is in the scopes ${expected.join(", ")} when it ${what}`, () => {
      expect(podUsage(spec).scopes).to.deep.equal(expected);
    });
  }
});
