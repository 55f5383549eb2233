import { expect } from "chai";
import type { PlaneSettings } from "../../dev/local/plane-settings.ts";
import { componentArguments, componentNames } from "../../dev/local/components.ts";
import { nodeManifests } from "../../dev/local/nodes.ts";
import { findAccount } from "../../dev/local/postgres-account.ts";

describe("node manifests", () => {
  it("have the defaults, and no pool", () => {
    const [node, ...others] = nodeManifests({ count: 1 });
    expect(others).to.deep.equal([]);
    expect(node?.metadata.name).to.equal("node-1");
    expect(node?.metadata.labels).not.to.have.property("rota.dev/pool");
    expect(node?.status.allocatable).to.deep.equal({
      cpu: "64",
      memory: "512Gi",
      pods: "110",
      "nvidia.com/gpu": "8",
    });
  });

  it("follow what is asked", () => {
    const spec = { count: 2, gpus: 0, cpus: 4, memoryGiB: 16, pool: "cpu", namePrefix: "c" };
    const nodes = nodeManifests({ ...spec, labels: { zone: "a" } });
    expect(nodes.map(({ metadata }) => metadata.name)).to.deep.equal(["c1", "c2"]);
    expect(nodes[1]?.metadata.labels).to.include({ "rota.dev/pool": "cpu", zone: "a" });
    expect(nodes[1]?.status.allocatable).to.deep.equal({ cpu: "4", memory: "16Gi", pods: "110" });
  });
});

describe("component arguments", () => {
  const layout = {
    directory: "/d",
    certificates: "/d/certificates",
    kubeconfig: "/d/kubeconfig",
    server: "https://127.0.0.1:1",
    ports: { apiServer: 1, etcdClient: 2, etcdPeer: 3, kwok: 4 },
  };

  const argumentsWith = (settings: PlaneSettings): string =>
    componentNames.flatMap((name) => componentArguments(name, layout, settings)).join(" ");

  for (const realNodes of [false, true]) {
    it(`listen on loopback${realNodes ? " with real nodes" : ""}`, () => {
      const all = argumentsWith({ realNodes });
      const hosts = [...all.matchAll(/(?:\/\/|address=)([\d.]+)/g)].map(([, host]) => host);
      expect(new Set(hosts)).to.deep.equal(new Set(["127.0.0.1"]));
      expect(hosts.length).to.be.greaterThan(5);
    });
  }

  it("never give up a simulated node", () => {
    const simulated = argumentsWith({ realNodes: false });
    expect(simulated).to.include("--node-monitor-grace-period=87600h");
    expect(simulated).to.include("--manage-all-nodes=true");
    const nodeMonitoring = { gracePeriodSeconds: 20, periodSeconds: 2, tolerationSeconds: 30 };
    const real = argumentsWith({ realNodes: true, nodeMonitoring });
    expect(real).to.include("--node-monitor-grace-period=20s");
    expect(real).to.include("--default-unreachable-toleration-seconds=30");
    expect(real).to.include("--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake");
    expect(real).to.include("--authorization-mode=Node,RBAC");
  });
});

describe("system accounts", () => {
  const passwd = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65533:n:/:/bin/false\n";

  it("are found in /etc/passwd by name", () => {
    expect(findAccount(passwd, "nobody")).to.deep.equal({ uid: 65534, gid: 65533 });
    expect(findAccount(passwd, "postgres")).to.equal(undefined);
  });

  it("are never root", () => {
    expect(findAccount(passwd, "root")).to.equal(undefined);
  });
});
