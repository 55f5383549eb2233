import { expect } from "chai";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  apiServerAddress,
  dnsAddress,
  maxRealNodes,
  nodeAddress,
  podAddresses,
} from "../../dev/local/real-nodes/addresses.ts";
import { kubeletConfigFile, writeNodeFiles } from "../../dev/local/real-nodes/node-files.ts";

const ordinals = Array.from({ length: maxRealNodes }, (_, index) => index + 1);

describe("real nodes' addresses", () => {
  it("are on one segment, and each is somebody's alone", () => {
    const single = [apiServerAddress, dnsAddress, ...ordinals.map(nodeAddress)];
    const podNetworks = ordinals.map((ordinal) => podAddresses(ordinal)[0].replace(/\.1$/, ""));
    expect(new Set(single).size).to.equal(single.length);
    expect(new Set(podNetworks).size).to.equal(podNetworks.length);
    for (const address of [...single, ...podNetworks]) {
      expect(address).to.match(/^10\.0\./);
      const third = Number(address.split(".")[2]);
      expect(third).to.be.at.most(255);
    }
    const taken = new Set(single.map((address) => address.split(".").slice(0, 3).join(".")));
    expect(podNetworks.filter((network) => taken.has(network))).to.deep.equal([]);
  });
});

describe("a real node's files", () => {
  it("give the kubelet the node's own cgroup", () => {
    const root = mkdtempSync(join(tmpdir(), "rota-node-files-"));
    const node = { name: "real-1", ordinal: 1, address: nodeAddress(1), cgroup: "rota-real-1-x" };
    try {
      writeNodeFiles(root, { ...node, kubelet: { maxPods: 7 } });
      const config: unknown = JSON.parse(readFileSync(join(root, kubeletConfigFile), "utf8"));
      expect(config).to.include({ cgroupRoot: "/rota-real-1-x", maxPods: 7, failSwapOn: false });
      expect(readFileSync(join(root, "etc/resolv.conf"), "utf8")).to.equal(
        "nameserver 10.0.0.10\n",
      );
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  });
});
