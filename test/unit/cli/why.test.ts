import { expect } from "chai";
import type { Why } from "../../../src/api/http/schemas.ts";
import { whyText } from "../../../src/cli/commands/why.ts";
import type { Job } from "../../../src/cli/resources.ts";

const at = "2026-11-24T12:00:00Z";

const answer: Why = {
  namespace: "team",
  name: "train",
  pool: "blue",
  state: "Pending",
  reason: null,
  message: null,
  priority: 1000,
  priorityClass: "high",
  attempt: 0,
  borrowing: false,
  suspended: false,
  parallelism: 1,
  perPod: { gpus: 8, cpuMillis: 1000, memoryBytes: 1024 ** 3, pods: 1 },
  queuedAt: at,
  startedAt: null,
  placements: [],
  position: 1,
  isBeyondClaim: false,
  verdict: {
    kind: "preempt",
    reason: null,
    message: "team/train evicts team/guarded",
    borrowing: false,
    placements: [{ node: "n1", pods: 1 }],
  },
  quotas: [],
  nodes: { total: 1, accepting: 1, items: [] },
  candidates: { total: 0, items: [] },
  decidedAt: at,
};

const jobWith = (reason: string, message: string): Job =>
  ({
    metadata: { namespace: "team", name: "train", generation: 1, creationTimestamp: at },
    spec: { pool: "blue" },
    status: { state: "Pending", reason, message },
  }) as unknown as Job;

describe("kubectl rota why", () => {
  const note = "The API server recently denied these evictions because of the PodDisruptionBudget";

  it("names a budget that blocked the eviction lately", () => {
    const said = "jobs it could evict are protected by PodDisruptionBudget team/guard";
    const text = whyText(answer, jobWith("BlockedByDisruptionBudget", said));
    expect(text).to.contain(`BlockedByDisruptionBudget: ${said}`);
    expect(text).to.contain("Next decision: it evicts other jobs");
    expect(text).to.contain(note);
  });

  it("shows what blocks an eviction, in the words of status", () => {
    const said =
      "PodDisruptionBudget team/guard blocks the eviction, which is retried. Evicted by team/big (LowerPriority)";
    const evicting = { ...answer, state: "Evicting", verdict: null } as Why;
    expect(whyText(evicting, jobWith("EvictionBlocked", said))).to.contain(
      `EvictionBlocked: ${said}`,
    );
  });

  it("is silent about budgets that block nothing", () => {
    expect(whyText(answer, jobWith("InsufficientCapacity", "needs 8 GPUs"))).to.not.contain(note);
    const waits = { ...answer, verdict: { ...answer.verdict, kind: "wait" } } as Why;
    expect(whyText(waits, jobWith("BlockedByDisruptionBudget", "protected"))).to.not.contain(note);
  });

  it("names the next step where somebody must act", () => {
    const said = (reason: string) => whyText(answer, jobWith(reason, "words"));
    expect(said("NoMatchingNode")).to.include(
      "What you can do: change the template, or the labels and taints of the nodes",
    );
    expect(said("InsufficientCapacity")).to.include(
      "What you can do: request less per pod, or use a higher",
    );
    expect(said("AwaitingRelease")).to.not.include("What you can do");
    expect(said("OfALaterVersion")).to.not.include("What you can do");
  });

  it("shows the present obstacle before the eviction", () => {
    const evicted: Why = { ...answer, state: "Evicted", message: "team/big needs 8 GPUs" };
    const lines = whyText(evicted, jobWith("InsufficientCapacity", "needs 2 GPUs")).split("\n");
    expect(lines.indexOf("InsufficientCapacity: needs 2 GPUs")).to.be.greaterThan(0);
    expect(lines.indexOf("Evicted: team/big needs 8 GPUs")).to.be.greaterThan(
      lines.indexOf("InsufficientCapacity: needs 2 GPUs"),
    );
  });

  it("counts nodes that the caller may not list", () => {
    expect(whyText(answer, undefined)).to.contain(
      "Nodes: 1/1 match the job (details need permission to list nodes)",
    );
  });

  it("names each column", () => {
    const candidates = {
      total: 1,
      items: [
        {
          job: "team/a",
          priority: 1,
          borrowing: false,
          gpus: 8,
          pods: 1,
          nodes: ["n1"],
          rule: "LowerPriority" as const,
          chosen: true,
        },
      ],
    };
    expect(whyText({ ...answer, candidates }, undefined)).to.match(
      /^JOB +PRIORITY +GPUS +PODS +NODES +RULE +NEXT DECISION\nteam\/a .* evicts it$/m,
    );
  });

  it("shows a suspended job as suspended", () => {
    const suspended = { ...answer, suspended: true, verdict: null };
    const job = jobWith("Suspended", "spec.suspend is true");
    expect(whyText(suspended, job)).to.match(/^\S*team\/train\S* {2}Suspended /);
  });
});
