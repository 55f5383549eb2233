import { expect } from "chai";
import { typeOfOther } from "../../../src/domain/resource-types.ts";

describe("the type of plans that grant a resource", () => {
  for (const [name, type] of [
    ["amd.com/gpu", "GPU"],
    ["nvidia.com/mig-1g.5gb", "nvidia.com/mig-1g.5gb"],
    ["rdma/hca", "rdma/hca"],
    ["ephemeral-storage", undefined],
    ["hugepages-2Mi", undefined],
    ["hostport:TCP:8080", undefined],
    // No extended resources: no plan can name them, so a job could never get a promise for one.
    ["kubernetes.io/batch-cpu", undefined],
    ["node.kubernetes.io/slots", undefined],
    ["mykubernetes.io/slots", undefined],
  ] as const) {
    it(`is ${type ?? "none"} for ${name}`, () => {
      expect(typeOfOther(name, ["nvidia.com/gpu", "amd.com/gpu"])).to.equal(type);
    });
  }
});
