/** What only one pod at a time can have on a node. */
import { expect } from "chai";
import { withExclusives } from "../../../src/domain/exclusive-resources.ts";
import type { PodAffinityTerm, ExclusivePodSpec } from "../../../src/domain/exclusive-resources.ts";
import { isOtherResource, isExclusive } from "../../../src/domain/resource-names.ts";

const nothing = { gpus: 0, cpuMillis: 0, memoryBytes: 0 };

const namesOf = (spec: ExclusivePodSpec, namespace = "team"): readonly string[] =>
  Object.keys(withExclusives(nothing, spec, namespace).byName ?? {});

const apart = (term: PodAffinityTerm, namespace?: string): readonly string[] =>
  namesOf(
    {
      affinity: {
        podAntiAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: [
            { topologyKey: "kubernetes.io/hostname", ...term },
          ],
        },
      },
    },
    namespace,
  );

describe("the exclusive resources of a pod", () => {
  it("are its host ports, once for each protocol, of containers and sidecars", () => {
    const spec = {
      containers: [
        { ports: [{ hostPort: 8080, protocol: "TCP" }, { containerPort: 1 }] },
        {
          ports: [
            { hostPort: 8080, protocol: "UDP" },
            { hostPort: 8080, hostIP: "10.0.0.1" },
          ],
        },
        { ports: null },
      ],
      initContainers: [
        { ports: [{ hostPort: 22 }] },
        { restartPolicy: "Always", ports: [{ hostPort: 9100 }] },
      ],
    };
    expect(namesOf(spec)).to.deep.equal([
      "hostport:TCP:8080",
      "hostport:TCP:9100",
      "hostport:UDP:8080",
    ]);
  });

  it("are bounded, whoever made the pod, host ports first", () => {
    const requiredDuringSchedulingIgnoredDuringExecution = Array.from({ length: 500 }, (_, at) => ({
      topologyKey: "kubernetes.io/hostname",
      labelSelector: { matchLabels: { app: String(at) } },
    }));
    const affinity = { podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution } };
    const containers = [{ ports: [{ hostPort: 80 }] }];
    const none = { gpus: 0, cpuMillis: 0, memoryBytes: 0 };
    const { byName = {} } = withExclusives(none, { affinity, containers }, "team");
    expect(Object.keys(byName)).to.have.lengthOf(64).and.to.include("hostport:TCP:80");
  });

  it("stand beside the other resources, which they leave alone", () => {
    const demand = { ...nothing, byName: { "example.com/fpga": 2 } };
    const spec = { containers: [{ ports: [{ hostPort: 80 }] }] };
    expect(withExclusives(demand, spec, "team").byName).to.deep.equal({
      "example.com/fpga": 2,
      "hostport:TCP:80": 1,
    });
    expect(withExclusives(demand, { containers: [{}] }, "team")).to.equal(demand);
  });

  it("have names that no Kubernetes resource has", () => {
    for (const name of namesOf({ containers: [{ ports: [{ hostPort: 80 }] }] })) {
      expect(isExclusive(name)).to.equal(true);
      expect(isOtherResource(name, "nvidia.com/gpu")).to.equal(false);
    }
    for (const name of ["example.com/fpga", "hugepages-2Mi", "ephemeral-storage"])
      expect(isExclusive(name), name).to.equal(false);
  });

  it("are equal for anti-affinity terms that keep the same pods away", () => {
    const app = { matchLabels: { app: "train" } };
    const [name] = apart({ labelSelector: app });
    expect(name).to.match(/^podantiaffinity:/);
    for (const [what, term] of Object.entries<PodAffinityTerm>({
      "as an expression": {
        labelSelector: { matchExpressions: [{ key: "app", operator: "In", values: ["train"] }] },
      },
      "with its namespace": { labelSelector: app, namespaces: ["team"] },
      "with empty lists": {
        labelSelector: { ...app, matchExpressions: [] },
        namespaces: [],
        namespaceSelector: null,
      },
    })) {
      expect(apart(term), what).to.deep.equal([name]);
    }
    for (const [what, other] of Object.entries({
      "another label": apart({ labelSelector: { matchLabels: { app: "serve" } } }),
      "another namespace": apart({ labelSelector: app }, "elsewhere"),
      "all namespaces": apart({ labelSelector: app, namespaceSelector: {} }),
      "another node": apart({ labelSelector: app, topologyKey: "topology.kubernetes.io/zone" }),
      "no selector": apart({}),
      everything: apart({ labelSelector: {} }),
    })) {
      expect(other, what).not.to.include(name);
    }
  });
});
