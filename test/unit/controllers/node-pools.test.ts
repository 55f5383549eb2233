import { expect } from "chai";
import { NodePools } from "../../../src/controllers/node-pools.ts";
import type { ClusterNode } from "../../../src/resources/types.ts";
import { createManualClock } from "../../support/manual-clock.ts";

const node = (pool: string, uid = "1") => ({ name: "n", uid, pool }) as ClusterNode;

describe("the pool of a node", () => {
  const clock = createManualClock();
  let pools: NodePools;
  let label: ClusterNode;

  const relabel = (after: ClusterNode): void => {
    pools.note({ key: "n", before: label, after });
    label = after;
  };
  const now = (): string => pools.of(label).pool;

  beforeEach(() => {
    pools = new NodePools(clock, 30);
    label = node("gpu");
    pools.note({ key: "n", before: undefined, after: label });
  });

  it("is a new node's label at once", () => {
    expect(pools.of(label)).to.deep.equal({ pool: "gpu" });
  });

  it("follows a changed label after a while", async () => {
    relabel(node("default"));
    await clock.advance(20);
    expect(pools.of(label)).to.deep.equal({ pool: "gpu", secondsLeft: 10 });
    await clock.advance(10);
    expect(pools.of(label)).to.deep.equal({ pool: "default" });
  });

  it("stays while the label flaps", async () => {
    for (let turn = 0; turn < 5; turn += 1) {
      relabel(node("default"));
      await clock.advance(20);
      expect(now()).to.equal("gpu");
      relabel(node("gpu"));
      expect(pools.of(label)).to.deep.equal({ pool: "gpu" });
    }
  });

  it("counts the while from the last change", async () => {
    relabel(node("default"));
    await clock.advance(20);
    relabel(node("cpu"));
    await clock.advance(20);
    expect(now()).to.equal("gpu");
    await clock.advance(10);
    expect(now()).to.equal("cpu");
  });

  it("is the label of another node under its name", () => {
    relabel(node("default"));
    relabel(node("cpu", "2"));
    expect(now()).to.equal("cpu");
  });
});
