import { expect } from "chai";
import { heldBackIn, QuotaWaits } from "../../../src/scheduler/quota-waits.ts";
import { decide } from "../../../src/domain/scheduling/decide.ts";
import { aJob, aNode, aSnapshot } from "./support.ts";

describe("waits for ResourceQuotas", () => {
  const quota = (namespace: string, hard: bigint) => ({
    quota: { namespace, name: "q", hard: { pods: hard }, used: {}, selectors: [] },
    used: {},
    pending: {},
  });
  const podUsage = { requests: {}, limits: {}, scopes: [], priorityClassName: "" };

  it("are of the namespaces with quotas in which a job waits", () => {
    const queue = ["full", "wide", "free"].map((namespace) =>
      aJob(namespace, { key: `${namespace}/job`, podUsage }),
    );
    const namespaceQuotas = [quota("full", 0n), quota("wide", 9000n), quota("empty", 0n)];
    const snapshot = aSnapshot({ nodes: [aNode("n1")], queue, namespaceQuotas });
    expect([...heldBackIn(snapshot, decide(snapshot))]).to.deep.equal(["full"]);
  });

  it("name the pools that wait, and those that are deciding", () => {
    const waits = new QuotaWaits();
    for (const pool of ["a", "b", "c"]) waits.begin(pool);
    waits.record("a", new Set(["team"]));
    waits.record("b", new Set(["other"]));
    expect(waits.poolsOf("team")).to.deep.equal(["a", "c"]);
    waits.begin("b");
    expect(waits.poolsOf("team")).to.deep.equal(["a", "b", "c"]);
    waits.clear();
    expect(waits.poolsOf("team")).to.deep.equal([]);
  });
});
