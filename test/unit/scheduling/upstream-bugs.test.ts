/** What went wrong in other schedulers (named by their issue), decided right here. */
import { expect } from "chai";
import { decide } from "../../../src/domain/scheduling/decide.ts";
import type { PreemptVerdict, Verdict } from "../../../src/domain/scheduling/decision.ts";
import type { LiveJob, Snapshot } from "../../../src/domain/scheduling/snapshot.ts";
import {
  aQuota,
  aJob,
  aLiveJob,
  aNode,
  aSnapshot,
  occupied,
  resources,
  withVictims,
} from "./support.ts";

function verdictOn(id: string, snapshot: Snapshot): Verdict {
  const verdict = decide(snapshot).verdicts.find(({ jobId }) => jobId === id);
  if (!verdict) throw new Error(`no verdict on ${id}`);
  return verdict;
}

function preemption(id: string, snapshot: Snapshot): PreemptVerdict {
  const verdict = verdictOn(id, snapshot);
  if (verdict.kind !== "preempt") throw new Error(JSON.stringify(verdict));
  return verdict;
}

const victimIds = (verdict: PreemptVerdict): string[] =>
  verdict.victims.map(({ jobId }) => jobId).sort();

const gpuJob = (gpus: number) => ({ perPod: resources(gpus, 1, 1, 1) });
const fourNodes = ["n1", "n2", "n3", "n4"].map((name) => aNode(name));

describe("other schedulers' bugs in one decision", () => {
  it("Kueue #407: a pod without a fit evicts nobody", () => {
    const movable = fourNodes.flatMap(({ name }) => [
      aLiveJob(`${name}-a`, [{ node: name, pods: 1 }], gpuJob(2)),
      aLiveJob(`${name}-b`, [{ node: name, pods: 1 }], gpuJob(2)),
    ]);
    const staying = fourNodes.map(({ name }) =>
      aLiveJob(`${name}-high`, [{ node: name, pods: 1 }], { ...gpuJob(4), priority: 1000 }),
    );
    const snapshot = aSnapshot({ nodes: fourNodes, queue: [aJob("big", gpuJob(8))] });
    const verdict = verdictOn("big", withVictims(snapshot, [...movable, ...staying]));
    expect(verdict).to.include({ kind: "wait", reason: "InsufficientCapacity" });
  });

  it("Kueue #6143, #6489: leaving pods count once", () => {
    const live = [
      aLiveJob("leaving", [{ node: "n1", pods: 1 }], gpuJob(8)),
      aLiveJob("other", [{ node: "n2", pods: 1 }], gpuJob(8)),
    ];
    const [n1, n2] = occupied([aNode("n1"), aNode("n2")], live);
    if (!n1 || !n2) throw new Error("two nodes");
    const nodes = [{ ...n1, leaving: resources(8, 1, 1, 1) }, n2];
    const other = live.slice(1);
    const snapshot = aSnapshot({
      nodes,
      queue: [aJob("first", gpuJob(8)), aJob("second", gpuJob(8))],
      victims: other,
      victimsFor: ["first", "second"],
    });
    expect(verdictOn("first", snapshot)).to.include({ kind: "wait", reason: "AwaitingRelease" });
    expect(victimIds(preemption("second", snapshot))).to.deep.equal(["other"]);
  });

  it("Kueue #6861: a victim does not evict its preemptor back", () => {
    const quotas = [aQuota("lender", 8, 8), aQuota("borrower", 0, 0)];
    const preemptor = aLiveJob("low", [{ node: "n1", pods: 1 }], {
      ...gpuJob(8),
      priority: 1,
      quotas: ["lender"],
    });
    const victim = aJob("high", { ...gpuJob(8), priority: 1000, quotas: ["borrower"] });
    const snapshot = aSnapshot({ nodes: [aNode("n1")], quotas, queue: [victim] });
    expect(verdictOn("high", withVictims(snapshot, [preemptor])).kind).to.equal("wait");
  });

  it("Kueue #6861: stale borrowing flags evict nobody in one decision", () => {
    const live = [
      aLiveJob("inside", [{ node: "n1", pods: 1 }], {
        ...gpuJob(8),
        priority: 50,
        quotas: ["shared"],
      }),
      aLiveJob("behind", [{ node: "n2", pods: 1 }], {
        ...gpuJob(8),
        priority: 40,
        borrowing: true,
        quotas: ["shared"],
      }),
    ];
    const queue = [
      aJob("first", { ...gpuJob(8), priority: 100, nodeSelector: { name: "n1" } }),
      aJob("second", { ...gpuJob(8), priority: 10, quotas: ["own"] }),
    ];
    const nodes = [aNode("n1", { labels: { name: "n1" } }), aNode("n2")];
    // The cycle reads the quotas of queued jobs only: "shared" is not among them.
    const quotas = [aQuota("own", 8, 0)];
    const snapshot = withVictims(aSnapshot({ nodes, quotas, queue }), live);
    expect(victimIds(preemption("first", snapshot))).to.deep.equal(["inside"]);
    expect(verdictOn("second", snapshot).kind, "behind is inside its plan now").to.equal("wait");
  });

  it("Volcano #5984: where one victim is enough, one is evicted", () => {
    const small = Array.from({ length: 8 }, (_, index) =>
      aLiveJob(`small-${index}`, [{ node: "n1", pods: 1 }], { ...gpuJob(1), priority: 0 }),
    );
    const large = (priority: number) =>
      aLiveJob("large", [{ node: "n2", pods: 1 }], { ...gpuJob(8), priority });
    const snapshot = aSnapshot({
      nodes: [aNode("n1"), aNode("n2")],
      queue: [aJob("big", gpuJob(8))],
    });
    const verdict = preemption("big", withVictims(snapshot, [...small, large(0)]));
    expect(victimIds(verdict)).to.deep.equal(["large"]);
    expect(verdict.alternatives[0]).to.include({ pods: 8 });
    const among = withVictims(snapshot, [...small, large(1)]);
    expect(victimIds(preemption("big", among)), "its priority protects it").to.have.length(8);
  });

  it("Volcano #5011: a preemptor short of another resource evicts nobody", () => {
    const live = [aLiveJob("gpu", [{ node: "n1", pods: 1 }], gpuJob(8))];
    const wide = aJob("wide", { perPod: resources(8, 65, 1, 1) });
    const snapshot = aSnapshot({ nodes: [aNode("n1")], queue: [wide] });
    const verdict = verdictOn("wide", withVictims(snapshot, live));
    expect(verdict).to.include({ kind: "wait", reason: "TooLargeForPool" });
  });

  it("scheduler-plugins #443: freed capacity stays reserved for the preemptor", () => {
    const [node] = [aNode("n1", { reserved: resources(8, 1, 1, 1) })];
    const thief = aJob("thief", { ...gpuJob(8), priority: 10_000, preempts: false });
    const reserved = {
      id: "reserved",
      key: "team/held",
      priority: 1,
      attempt: 0,
      placements: [{ node: "n1", pods: 1 }],
      perPod: resources(8, 1, 1, 1),
      borrowing: false,
      allowsBorrowing: true,
      quotas: [],
      expiresAtSeconds: 2000,
    };
    const nodes = node ? [node] : [];
    const { verdicts } = decide(aSnapshot({ nodes, queue: [thief], reserved: [reserved] }));
    expect(verdicts.map(({ kind, jobId }) => `${kind} ${jobId}`)).to.deep.equal([
      "activate reserved",
      "wait thief",
    ]);
  });

  it("KAI #1750: the one solution among 200 candidates is found", () => {
    const nodes = Array.from({ length: 50 }, (_, index) =>
      aNode(`n${String(index).padStart(2, "0")}`),
    );
    const live = nodes.flatMap(({ name }, node): LiveJob[] =>
      Array.from({ length: 4 }, (_, index) =>
        aLiveJob(`${name}-${index}`, [{ node: name, pods: 1 }], {
          ...gpuJob(2),
          priority: index === 0 && node !== 37 ? 1000 : 0,
        }),
      ),
    );
    const snapshot = aSnapshot({ nodes, queue: [aJob("big", gpuJob(8))] });
    const verdict = preemption("big", withVictims(snapshot, live));
    expect(verdict.placements).to.deep.equal([{ node: "n37", pods: 1 }]);
    expect(verdict.victims).to.have.length(4);
  });

  it("YuniKorn core#660: a borrower evicts no job within quota", () => {
    const inside = aLiveJob("inside", [{ node: "n1", pods: 1 }], {
      ...gpuJob(8),
      quotas: ["owner"],
    });
    const borrower = aJob("borrower", { ...gpuJob(8), priority: 1000, unplanned: true });
    const quotas = [aQuota("owner", 8, 8)];
    const snapshot = aSnapshot({ nodes: [aNode("n1")], quotas, queue: [borrower] });
    expect(verdictOn("borrower", withVictims(snapshot, [inside])).kind).to.equal("wait");
  });
});
