/** Which nodes a request to the victim finder names. */
import { expect } from "chai";
import { victimRequest } from "../../../src/domain/scheduling/preemption/candidates.ts";
import { Nodes } from "../../../src/domain/scheduling/nodes.ts";
import { Quotas } from "../../../src/domain/scheduling/quota.ts";
import { aJob, aNode, resources } from "./support.ts";

describe("a request to the victim finder", () => {
  const job = aJob("j", { perPod: resources(0, 1, 1, 1, 4) });
  const request = (nodes: readonly ReturnType<typeof aNode>[]) =>
    victimRequest(job, new Nodes(nodes), new Quotas([]));
  const withFpgas = (name: string, all: number, used: number) =>
    aNode(name, {
      allocatable: resources(8, 64, 110, 512, all),
      committed: resources(0, 0, 1, 0, used),
    });

  it("leaves out nodes that never have enough, and splits the others", () => {
    const { nodes, rooms } = request([
      withFpgas("few", 3, 0),
      withFpgas("free", 8, 4),
      withFpgas("none", 0, 0),
      withFpgas("taken", 8, 5),
    ]);
    expect(nodes).to.deep.equal(["free"]);
    expect(rooms?.map(({ node }) => node)).to.deep.equal(["taken"]);
  });

  it("names few of many nodes: those that lack the least", () => {
    const name = (index: number): string => `n${String(index).padStart(3, "0")}`;
    const { nodes, rooms } = request(
      Array.from({ length: 400 }, (_, index) => withFpgas(name(index), 4, 1 + (index % 4))),
    );
    expect(nodes).to.deep.equal([]);
    // 1 of 4 is used on every fourth node, 2 on as many, and so on.
    const taken = rooms?.map(({ node }) => Number(node.slice(1)) % 4) ?? [];
    expect(taken).to.have.length(257);
    expect(taken).to.deep.equal(taken.toSorted((a, b) => a - b));
    expect(taken.filter((used) => used <= 1)).to.have.length(200);
  });
});
