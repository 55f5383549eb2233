/** The decision case by case: order, borrowing, protection of the head, holds, and the sentences people read. */
import { expect } from "chai";
import { sameProjectAs, redactFor } from "../../../src/domain/redaction.ts";
import { decide } from "../../../src/domain/scheduling/decide.ts";
import type { Verdict, WaitVerdict } from "../../../src/domain/scheduling/decision.ts";
import type {
  NodeSnapshot,
  QueuedJob,
  QuotaClose,
  Resources,
  Snapshot,
} from "../../../src/domain/scheduling/snapshot.ts";
import {
  aQuota,
  aJob,
  aLiveJob,
  aNode,
  aSnapshot,
  FPGA,
  resources,
  withVictims,
} from "./support.ts";

function verdicts(snapshot: Snapshot): Record<string, Verdict> {
  return Object.fromEntries(decide(snapshot).verdicts.map((one) => [one.jobId, one]));
}

function waits(id: string, snapshot: Snapshot): WaitVerdict {
  const verdict = verdicts(snapshot)[id];
  if (verdict?.kind !== "wait") throw new Error(JSON.stringify(verdict));
  return verdict;
}

const gpus = (count: number) => ({ perPod: resources(count, 1, 1, 1) });
const used = (count: number) => ({ committed: resources(count, count, count, count) });

describe("a scheduling decision", () => {
  it("starts jobs within quota before any borrowers", () => {
    const queue = [
      aJob("borrower", { ...gpus(8), priority: 900, unplanned: true }),
      aJob("inside", { ...gpus(8), priority: 1, quotas: ["c"] }),
    ];
    const result = verdicts(
      aSnapshot({ nodes: [aNode("n1")], quotas: [aQuota("c", 8, 0)], queue }),
    );
    expect(result["inside"]).to.include({ kind: "admit", borrowing: false });
    expect(result["borrower"]?.kind).to.equal("wait");
  });

  it("admits beyond the quantity only as a borrower", () => {
    const job = { ...gpus(4), quotas: ["c"] };
    const queue = [aJob("a", job), aJob("b", { ...job, allowsBorrowing: false, preempts: false })];
    const quotas = [aQuota("c", 7, 4)];
    const result = verdicts(aSnapshot({ nodes: [aNode("n1")], quotas, queue: queue.slice(0, 1) }));
    expect(result["a"]).to.include({ kind: "admit", borrowing: true });
    const wait = waits("b", aSnapshot({ nodes: [aNode("n1")], quotas, queue: queue.slice(1) }));
    expect(wait.reason).to.equal("QuotaExceeded");
    expect(wait.message).to.include("plan plan-c: 4 of 7 GPUs in use; the job needs 4 GPUs");
  });

  it("hides others' jobs from readers of one project", () => {
    const shown = (key: string, { message, redactables }: WaitVerdict) =>
      redactFor(sameProjectAs(key), message, redactables);
    const large = aJob("large", { ...gpus(4), quotas: ["c"], allowsBorrowing: false });
    const queue = [
      { ...large, key: "vision/large", preempts: false },
      { ...aJob("sibling", { ...gpus(1), quotas: ["c"], priority: 1 }), key: "vision/sibling" },
      { ...aJob("other", { ...gpus(1), quotas: ["c"], priority: 1 }), key: "speech/other" },
    ];
    const quotas = [aQuota("c", 8, 6)];
    const blocked = aSnapshot({ nodes: [aNode("n1")], quotas, queue });
    expect(shown("vision/sibling", waits("sibling", blocked))).to.match(/^vision\/large is ahead/);
    expect(shown("speech/other", waits("other", blocked))).to.match(
      /^a job of another project is ahead in the queue under the same quota \(plan plan-c: 6 of 8 GPUs/,
    );

    const reservation = {
      id: "h",
      key: "vision/held",
      priority: 1,
      attempt: 2,
      placements: ["n1", "n2"].map((node) => ({ node, pods: 1 })),
      ...gpus(8),
      quotas: [],
      borrowing: false,
      allowsBorrowing: true,
      expiresAtSeconds: 5000,
    };
    const small = aJob("small", { ...gpus(8), preempts: false });
    const nodes = [aNode("n1", { reserved: resources(8, 1, 1, 1) }), aNode("n2", used(8))];
    const other = { ...small, key: "speech/small" };
    const kept = waits("small", aSnapshot({ nodes, reserved: [reservation], queue: [other] }));
    expect(kept.message).to.contain("enough capacity on n1, but reserved for vision/held");
    expect(shown("speech/small", kept)).to.contain(
      "enough capacity on n1, but reserved for a job of another project",
    );
    expect(shown("vision/small", kept)).to.equal(kept.message);
  });

  it("starts no job within quota whose place a borrower took", () => {
    const queue = [
      aJob("large", { ...gpus(4), quotas: ["c"], priority: 100 }),
      aJob("small", { ...gpus(1), quotas: ["c"], priority: 1, allowsBorrowing: false }),
    ];
    const full = aSnapshot({ nodes: [aNode("n1")], quotas: [aQuota("c", 8, 5)], queue });
    expect(verdicts(full)["large"]).to.include({ kind: "admit", borrowing: true });
    const { reason, message } = waits("small", full);
    expect(reason).to.equal("QuotaExceeded");
    expect(message).to.equal(
      "plan plan-c: 5 of 8 GPUs in use, 4 more borrowed; the job needs 1 GPU; borrowing jobs may rank ahead of it, and it may not borrow",
    );
    const wide = aSnapshot({ ...full, quotas: [aQuota("c", 8, 3), aQuota("d", 8, 8)] });
    const [large, ...others] = queue;
    const under = large ? [{ ...large, quotas: ["c", "d"] }, ...others] : [];
    expect(verdicts({ ...wide, queue: under })["small"]).to.include({ kind: "admit" });
  });

  it("reserves quota for the first job that waits for it", () => {
    const queue = [
      aJob("large", { ...gpus(4), quotas: ["c"], allowsBorrowing: false, preempts: false }),
      aJob("small", { ...gpus(1), quotas: ["c"], priority: 1 }),
      aJob("elsewhere", { ...gpus(1), quotas: ["d"], priority: 1 }),
    ];
    const quotas = [aQuota("c", 8, 6), aQuota("d", 8, 0)];
    const result = verdicts(aSnapshot({ nodes: [aNode("n1")], quotas, queue }));
    expect(result["small"]).to.include({ kind: "wait", reason: "BehindHeadOfQueue" });
    expect(result["elsewhere"]?.kind).to.equal("admit");
  });

  it("lets a borrower pass jobs that wait for another quota", () => {
    const own = { ...gpus(8), quotas: ["own", "above"] };
    const quotas = [aQuota("own", 4, 0), aQuota("above", 20, 20)];
    const behind = { ...gpus(6), quotas: ["above"], priority: 1, preempts: false };
    for (const allowsBorrowing of [true, false]) {
      const queue = [
        aJob("first", { ...own, priority: 900 }),
        aJob("second", { ...behind, allowsBorrowing }),
      ];
      const result = verdicts(aSnapshot({ nodes: [aNode("n1")], quotas, queue }));
      expect(result["first"], JSON.stringify(result)).to.include({
        kind: "admit",
        borrowing: true,
      });
      expect(result["second"]?.kind).to.equal("wait");
      const full = aSnapshot({ nodes: [aNode("n1", used(8))], quotas, queue });
      expect(waits("first", full).reason).to.equal("InsufficientCapacity");
    }
  });

  describe("of a job that its own owner's quota blocks", () => {
    const team = (name: string) => ({ ...gpus(8), quotas: [name, "org"], priority: 1 });
    const quotas = [aQuota("a", 8, 8), aQuota("c", 8, 0), aQuota("org", 16, 8)];
    const blocked = aJob("blocked", { ...team("a"), priority: 900, preempts: false });

    it("nothing is reserved under its parents: a sibling starts", () => {
      const queue = [
        { ...blocked, allowsBorrowing: false },
        aJob("sibling", { ...team("c"), allowsBorrowing: false }),
      ];
      const nodes = [aNode("n1", used(8)), aNode("n2")];
      const result = verdicts(aSnapshot({ nodes, quotas, queue }));
      expect(result["blocked"]).to.include({ kind: "wait", reason: "QuotaExceeded" });
      expect(result["sibling"]).to.include({ kind: "admit", borrowing: false });
    });

    it("a sibling comes first where it would borrow", () => {
      const queue = [blocked, aJob("sibling", team("c"))];
      const nodes = [aNode("n1", used(8)), aNode("n2")];
      const result = verdicts(aSnapshot({ nodes, quotas, queue }));
      expect(result["sibling"]).to.include({ kind: "admit", borrowing: false });
      expect(result["blocked"]?.kind).to.equal("wait");
    });

    it("a sibling takes back what its owner's jobs have borrowed", () => {
      const queue = [blocked, aJob("sibling", team("c"))];
      const nodes = [aNode("n1"), aNode("n2")];
      const own = aLiveJob("own", [{ node: "n1", pods: 1 }], { ...team("a"), priority: 900 });
      const lent = aLiveJob("lent", [{ node: "n2", pods: 1 }], {
        ...team("a"),
        priority: 900,
        borrowing: true,
      });
      const result = verdicts(withVictims(aSnapshot({ nodes, quotas, queue }), [own, lent]));
      expect(result["sibling"]).to.have.nested.property("victims[0].jobId", "lent");
    });

    it("evicts nobody for a job that it would then outrank", () => {
      const queue = [
        { ...blocked, preempts: true },
        aJob("never", { ...gpus(8), quotas: ["org"], priority: 500, allowsBorrowing: false }),
      ];
      const nodes = [aNode("n1"), aNode("n2"), aNode("n3")];
      const full = [aQuota("a", 8, 8), aQuota("org", 8, 8)];
      const own = aLiveJob("own", [{ node: "n1", pods: 1 }], { ...team("a"), priority: 1 });
      const other = { ...blocked, priority: 1, preempts: false };
      const both = verdicts(withVictims(aSnapshot({ nodes, quotas: full, queue }), [own]));
      expect(both["blocked"]).to.include({ kind: "admit", borrowing: true });
      expect(both["never"]).to.include({ kind: "wait", reason: "BehindHeadOfQueue" });
      const alone = aSnapshot({ nodes, quotas: full, queue: [...queue.slice(1), other] });
      expect(verdicts(withVictims(alone, [own]))["never"]?.kind).to.equal("preempt");
    });

    it("waits a cycle where it would outrank a job that may not borrow and starts", () => {
      const queue = [
        { ...blocked, preempts: false },
        aJob("never", { ...gpus(8), quotas: ["org"], priority: 500, allowsBorrowing: false }),
      ];
      const nodes = [aNode("n1", used(8)), aNode("n2"), aNode("n3")];
      const result = verdicts(aSnapshot({ nodes, quotas, queue }));
      expect(result["never"]).to.include({ kind: "admit", borrowing: false });
      expect(result["blocked"]).to.include({ kind: "wait", reason: "QuotaExceeded" });
      const next = aSnapshot({ nodes, quotas, queue: queue.slice(0, 1) });
      expect(verdicts(next)["blocked"]).to.include({ kind: "admit", borrowing: true });
    });

    it("its own owner's jobs behind it still wait", () => {
      const wider = quotas.map((one) => (one.id === "a" ? { ...one, usage: 4 } : one));
      const queue = [
        { ...blocked, allowsBorrowing: false },
        aJob("smaller", { ...team("a"), ...gpus(2), allowsBorrowing: false }),
      ];
      const nodes = [aNode("n1", used(4)), aNode("n2")];
      expect(waits("smaller", aSnapshot({ nodes, quotas: wider, queue })).reason).to.equal(
        "BehindHeadOfQueue",
      );
    });
  });

  it("reserves quota for a job that waits for capacity", () => {
    const queue = [
      aJob("borrower", { ...gpus(6), quotas: ["own", "above"], priority: 900 }),
      aJob("inside", { ...gpus(8), quotas: ["above"], priority: 1, preempts: false }),
    ];
    const quotas = [aQuota("own", 4, 0), aQuota("above", 12, 0)];
    const nodes = [aNode("n1", used(4)), aNode("n2", used(2))];
    expect(waits("borrower", aSnapshot({ nodes, quotas, queue })).message).to.match(
      /^team\/inside is ahead in the queue under the same quota/,
    );
  });

  it("starts nobody behind a job with unseen equals", () => {
    const queue = [
      aJob("first"),
      aJob("last-seen", { hasMore: true }),
      aJob("other", { priority: 1 }),
    ];
    const verdicts = decide(aSnapshot({ nodes: [aNode("n1")], queue })).verdicts;
    expect(verdicts.map(({ jobId, kind }) => [jobId, kind])).to.deep.equal([
      ["first", "admit"],
      ["last-seen", "admit"],
    ]);
  });

  it("passes a job whose unseen equals cannot start either", () => {
    const big = { perPod: resources(8, 1, 1, 1), hasMore: true };
    const nodes = [
      aNode("n1", { committed: resources(4) }),
      aNode("n2", { labels: { disk: "fast" } }),
    ];
    const queue = [aJob("big", { ...big, nodeSelector: { none: "such" } }), aJob("small")];
    const verdicts = decide(aSnapshot({ nodes, queue })).verdicts;
    expect(verdicts.map(({ jobId, kind }) => [jobId, kind])).to.deep.equal([
      ["big", "wait"],
      ["small", "admit"],
    ]);
  });

  it("blocks nobody for a job that its quota never holds", () => {
    const queue = [
      aJob("huge", { ...gpus(8), quotas: ["c"], allowsBorrowing: false }),
      aJob("small", { ...gpus(1), quotas: ["c"], priority: 1 }),
    ];
    const quotas = [aQuota("c", 4, 0)];
    const result = verdicts(aSnapshot({ nodes: [aNode("n1")], quotas, queue }));
    expect(result["small"]?.kind).to.equal("admit");
  });

  it("reserves the nearest node for the head of the queue", () => {
    const nodes = [aNode("n1", used(6)), aNode("n2", used(3))];
    const queue = [
      aJob("large", { ...gpus(8), preempts: false }),
      aJob("small", { ...gpus(1), priority: 1 }),
      aJob("wide", { ...gpus(4), priority: 1, preempts: false }),
    ];
    const result = verdicts(aSnapshot({ nodes, queue }));
    expect(result["small"]).to.deep.include({ placements: [{ node: "n1", pods: 1 }] });
    expect(result["wide"]).to.include({ kind: "wait", reason: "CapacityReserved" });
  });

  it("asks the finder once per signature that may preempt", () => {
    const queue = [
      aJob("never", { ...gpus(8), preempts: false }),
      aJob("first", gpus(4)),
      aJob("alike", gpus(4)),
      aJob("other", gpus(5)),
    ];
    const decision = decide(aSnapshot({ nodes: [aNode("n1", used(8))], queue }));
    expect(decision.wantsVictims).to.deep.equal(["first", "other"]);
    expect(decision.requests[0]).to.include({ jobId: "first", inside: true, borrows: false });
  });

  it("evicts many borrowers rather than one job within quota", () => {
    const inside = aLiveJob("inside", [{ node: "n1", pods: 1 }], { ...gpus(8), priority: 1 });
    const borrowers = Array.from({ length: 8 }, (_, index) =>
      aLiveJob(`borrower-${index}`, [{ node: "n2", pods: 1 }], {
        ...gpus(1),
        priority: 1000,
        borrowing: true,
      }),
    );
    const nodes = [aNode("n1"), aNode("n2")];
    const snapshot = aSnapshot({ nodes, queue: [aJob("job", { ...gpus(8), priority: 500 })] });
    const verdict = verdicts(withVictims(snapshot, [inside, ...borrowers]))["job"];
    expect(verdict?.kind === "preempt" && verdict.victims.length).to.equal(8);
  });

  it("evicts lower priorities under its own quota", () => {
    const live = [
      aLiveJob("old", [{ node: "n1", pods: 1 }], { ...gpus(2), quotas: ["c"] }),
      aLiveJob("young", [{ node: "n1", pods: 1 }], {
        ...gpus(2),
        quotas: ["c"],
        startedAtSeconds: 9,
      }),
    ];
    const queue = [aJob("j", { ...gpus(2), quotas: ["c"], allowsBorrowing: false })];
    const snapshot = aSnapshot({ nodes: [aNode("n1")], quotas: [aQuota("c", 4, 4)], queue });
    const verdict = verdicts(withVictims(snapshot, live))["j"];
    if (verdict?.kind !== "preempt") throw new Error(JSON.stringify(verdict));
    expect(verdict.victims).to.deep.equal([
      { jobId: "young", key: "other/young", attempt: 1, rule: "OwnQuota" },
    ]);
    expect(verdict.borrowing).to.equal(false);
    expect(verdict.reason).to.match(/team\/j \(priority 100, within quota\).*1 pod of 1 job/);
    expect(verdict.reason).to.contain("its quota: 4 of 4 GPUs in use; the job needs 2 GPUs");
    expect(verdict.reason, "victims may belong to others").not.to.contain("plan-c");
  });

  describe("a decision while a job leaves its quota", () => {
    const quotas = [aQuota("a", 8, 4, { leaving: 2 })];
    const decided = (job: Parameters<typeof aJob>[1]) => {
      const queue = [aJob("j", { ...gpus(3), quotas: ["a"], priority: 9, ...job })];
      const live = [aLiveJob("low", [{ node: "n1", pods: 1 }], { ...gpus(4), quotas: ["a"] })];
      return verdicts(withVictims(aSnapshot({ nodes: [aNode("n1")], quotas, queue }), live))["j"];
    };

    it("starts what fits beside it", () => {
      expect(decided(gpus(2))).to.include({ kind: "admit", borrowing: false });
    });

    it("lets a job borrow meanwhile", () => {
      expect(decided({ allowsBorrowing: true })).to.include({ kind: "admit", borrowing: true });
    });

    it("makes one that may not borrow wait, evicting nobody", () => {
      expect(decided({ allowsBorrowing: false })).to.deep.include({
        kind: "wait",
        reason: "AwaitingRelease",
        message:
          "plan plan-a: 4 of 8 GPUs in use, 2 more by jobs that are leaving; the job needs 3 GPUs",
      });
    });
  });

  describe("a decision where siblings share their parent's plan", () => {
    const under = (team: string) => ({ ...gpus(2), quotas: ["both", team] });
    const borrowers = [1, 2, 3, 4].map((index) =>
      aLiveJob(`borrows-${index}`, [{ node: "n2", pods: 1 }], {
        ...under("a"),
        priority: 900,
        borrowing: true,
        startedAtSeconds: index,
      }),
    );
    const inside = [1, 2, 3, 4].map((index) =>
      aLiveJob(`inside-${index}`, [{ node: "n1", pods: 1 }], { ...under("a"), priority: 100 }),
    );
    const quotas = [
      aQuota("both", 16, 8, { borrowed: 8 }),
      aQuota("a", 8, 8, { borrowed: 8 }),
      aQuota("b", 8, 0),
    ];
    const nodes = [aNode("n1"), aNode("n2")];
    const decided = (job: Parameters<typeof aJob>[1]) => {
      const snapshot = aSnapshot({ nodes, quotas, queue: [aJob("j", job)] });
      return verdicts(withVictims(snapshot, [...inside, ...borrowers]))["j"];
    };

    it("reclaims what a sibling borrows, and no more than needed", () => {
      const verdict = decided({ ...under("b"), priority: 1 });
      if (verdict?.kind !== "preempt") throw new Error(JSON.stringify(verdict));
      expect(verdict.victims.map(({ jobId, rule }) => [jobId, rule])).to.deep.equal([
        ["borrows-4", "BorrowerReclaimed"],
      ]);
      expect(verdict.borrowing).to.equal(false);
    });

    it("reclaims nothing from jobs within quota", () => {
      const verdict = decided({ ...under("b"), perPod: resources(10, 1, 1, 1), priority: 1 });
      expect(verdict?.kind).to.equal("wait");
    });

    it("lets a borrower reclaim nothing from other borrowers", () => {
      const verdict = decided({ ...under("a"), priority: 100, allowsBorrowing: false });
      expect(verdict).to.include({ kind: "wait", reason: "QuotaExceeded" });
    });

    it("over quota evicts within it, borrowers only for capacity", () => {
      const verdict = decided({ ...under("a"), priority: 500 });
      if (verdict?.kind !== "preempt") throw new Error(JSON.stringify(verdict));
      expect(verdict.victims.map(({ rule }) => rule)).to.deep.equal(["OwnQuota"]);
    });
  });

  it("releases an expired reservation, or one whose node is gone", () => {
    const reservation = {
      id: "h",
      key: "team/h",
      priority: 1,
      attempt: 2,
      placements: [{ node: "n1", pods: 1 }],
      ...gpus(8),
      borrowing: false,
      allowsBorrowing: true,
      quotas: [],
      expiresAtSeconds: 500,
    };
    const full = aNode("n1", used(8));
    expect(verdicts(aSnapshot({ nodes: [full], reserved: [reservation] }))["h"]).to.include({
      kind: "release",
      reason: "ReservationExpired",
    });
    expect(verdicts(aSnapshot({ nodes: [], reserved: [reservation] }))["h"]).to.include({
      kind: "release",
      reason: "NodeUnavailable",
    });
    const later = { ...reservation, expiresAtSeconds: 5000 };
    expect(verdicts(aSnapshot({ nodes: [full], reserved: [later] }))["h"]).to.equal(undefined);
  });

  it("releases a reservation that quota no longer covers", () => {
    const reservation = {
      id: "h",
      key: "team/h",
      priority: 1,
      attempt: 0,
      placements: [{ node: "n1", pods: 1 }],
      ...gpus(8),
      borrowing: true,
      quotas: ["c"],
      expiresAtSeconds: 5000,
    };
    const nodes = [aNode("n1", { reserved: resources(8, 1, 1, 1) })];
    const settled = (allowsBorrowing: boolean) =>
      verdicts(aSnapshot({ nodes, reserved: [{ ...reservation, allowsBorrowing }] }))["h"];
    expect(settled(true)).to.include({ kind: "activate", borrowing: true });
    expect(settled(false)).to.include({ kind: "release", reason: "QuotaExceeded" });
  });

  it("uses quota that a released reservation returns before it evicts", () => {
    const reservation = {
      id: "h",
      key: "team/h",
      priority: 1000,
      attempt: 2,
      placements: [{ node: "n1", pods: 1 }],
      ...gpus(4),
      borrowing: false,
      allowsBorrowing: true,
      quotas: ["c"],
      expiresAtSeconds: 500,
    };
    const sibling = aLiveJob("sibling", [{ node: "n2", pods: 1 }], { ...gpus(4), quotas: ["c"] });
    const snapshot = aSnapshot({
      nodes: [aNode("n1", used(8)), aNode("n2")],
      quotas: [aQuota("c", 8, 8)],
      queue: [aJob("j", { ...gpus(4), quotas: ["c"], allowsBorrowing: false })],
      reserved: [reservation],
    });
    const result = verdicts(withVictims(snapshot, [sibling]));
    expect(result["h"]).to.include({ kind: "release", reason: "ReservationExpired" });
    expect(result["j"]).to.include({ kind: "admit", borrowing: false });
  });

  it("keeps room for the first that waits for GPUs, whatever waits for cores before it", () => {
    const node = (name: string, gpusUsed: number, coresUsed: number) =>
      aNode(name, {
        allocatable: resources(8, 16, 20, 64),
        committed: resources(gpusUsed, coresUsed, 8, 8),
      });
    const nodes = [node("n1", 8, 4), node("n2", 7, 8)];
    const job = (id: string, gpuCount: number, cores: number) =>
      aJob(id, { perPod: resources(gpuCount, cores, 1), preempts: false });
    const [cores, large, small] = [job("cores", 0, 16), job("large", 8, 1), job("small", 1, 1)];
    const result = verdicts(aSnapshot({ nodes, queue: [cores, large, small] }));
    expect(result["small"]).to.include({ kind: "wait", reason: "CapacityReserved" });
    const alone = verdicts(aSnapshot({ nodes, queue: [cores, small] }));
    expect(alone["small"], "of the cores' node alone").to.include({ kind: "admit" });
  });

  it("lets wishes decide among nodes that are equally good otherwise", () => {
    const nodeOn = (nodes: readonly NodeSnapshot[], changes: Partial<QueuedJob> = {}) => {
      const queue = [aJob("j", { ...gpus(4), ...changes })];
      const [verdict] = decide(aSnapshot({ nodes, queue })).verdicts;
      return verdict?.kind === "admit" ? verdict.placements.map(({ node }) => node) : [];
    };
    const taints = [{ key: "spare", effect: "PreferNoSchedule" }];
    const fast = { labels: { disk: "fast" } };
    const wanting = (value: string, weight: number) => ({
      weight,
      preference: { matchExpressions: [{ key: "disk", operator: "In", values: [value] }] },
    });
    const preferredTerms = [wanting("fast", 10), wanting("slow", 5)];
    expect(nodeOn([aNode("a", { taints }), aNode("b")])).to.deep.equal(["b"]);
    const tolerations = [{ key: "spare", operator: "Exists" }];
    expect(nodeOn([aNode("a", { taints }), aNode("b")], { tolerations })).to.deep.equal(["a"]);
    expect(nodeOn([aNode("a"), aNode("b", fast)], { preferredTerms })).to.deep.equal(["b"]);
    const fuller = aNode("a", { committed: resources(4, 1, 1, 1) });
    expect(nodeOn([fuller, aNode("b", fast)], { preferredTerms }), "less is left").to.deep.equal([
      "a",
    ]);
    const three = [aNode("a", { taints, ...fast }), aNode("b"), aNode("c", fast)];
    const gang = { parallelism: 4, preferredTerms };
    expect(nodeOn(three, gang), "a gang's nodes").to.deep.equal(["b", "c"]);
  });

  it("keeps room for the first that waits for GPUs, whatever all ask for a share of disks or huge pages", () => {
    const named = (amount: number) => ({
      byName: { "ephemeral-storage": amount, "hugepages-2Mi": amount },
    });
    const node = (name: string, gpusUsed: number, coresUsed: number) =>
      aNode(name, {
        allocatable: { ...resources(8, 16, 20, 64), ...named(64) },
        committed: { ...resources(gpusUsed, coresUsed, 8, 8), ...named(8) },
      });
    const nodes = [node("n1", 8, 4), node("n2", 7, 8)];
    const job = (id: string, gpuCount: number, cores: number) =>
      aJob(id, { perPod: { ...resources(gpuCount, cores, 1), ...named(1) }, preempts: false });
    const queue = [job("cores", 0, 16), job("large", 8, 1), job("small", 1, 1)];
    const result = verdicts(aSnapshot({ nodes, queue }));
    expect(result["small"]).to.include({ kind: "wait", reason: "CapacityReserved" });
  });

  it("keeps cores for the first that waits for them, however many wait with host ports of their own", () => {
    const nodes = ["n1", "n2", "n3"].map((name) =>
      aNode(name, { allocatable: resources(0, 16, 20, 64), committed: resources(0, 8, 1, 8) }),
    );
    const large = [8080, 8081, 8082].map((port) =>
      aJob(`large${port}`, {
        perPod: { ...resources(0, 16, 1), byName: { [`hostport:TCP:${port}`]: 1 } },
        preempts: false,
      }),
    );
    const small = aJob("small", { perPod: resources(0, 4, 1), preempts: false });
    const result = verdicts(aSnapshot({ nodes, queue: [...large, small] }));
    expect(result["small"], "n2 and n3 are idle otherwise").to.include({ kind: "admit" });
  });

  it("searches again for a job whose search was in vain before its priority was raised", () => {
    const nodes = [aNode("n1", used(8))];
    const asked = (priority: number) => {
      const inVain = new Map([
        ["j", { withinQuota: true, priority: 100, budgets: [], refused: [] }],
      ]);
      const queue = [aJob("j", { ...gpus(1), priority })];
      return decide(aSnapshot({ nodes, queue, inVain })).wantsVictims;
    };
    expect(asked(100)).to.deep.equal([]);
    expect(asked(50)).to.deep.equal([]);
    expect(asked(101)).to.deep.equal(["j"]);
  });

  it("plans around a PodDisruptionBudget, else names it", () => {
    const guarded = aLiveJob("guarded", [{ node: "n1", pods: 1 }], {
      ...gpus(8),
      protected: "team/keep-two",
    });
    const dearer = aLiveJob("dearer", [{ node: "n2", pods: 2 }], { ...gpus(4), priority: 50 });
    const queue = [aJob("j", gpus(8))];
    const two = aSnapshot({ nodes: [aNode("n1"), aNode("n2")], queue });
    expect(verdicts(withVictims(two, [guarded, dearer]))["j"]).to.include({ kind: "preempt" });
    const wait = waits("j", withVictims(aSnapshot({ nodes: [aNode("n1")], queue }), [guarded]));
    expect(wait.reason).to.equal("BlockedByDisruptionBudget");
    expect(wait.message).to.include("PodDisruptionBudget team/keep-two");
    const hidden = redactFor(() => false, wait.message, wait.redactables);
    expect(hidden).to.match(/protected by PodDisruptionBudget \(of another project\)$/);
  });

  it("plans around what the API server refuses to evict, else names it", () => {
    const on = (node: string) => [{ node, pods: 1 }];
    const refused = aLiveJob("refused", on("n1"), { ...gpus(8), refused: true });
    const dearer = aLiveJob("dearer", on("n2"), { ...gpus(8), priority: 50 });
    const queue = [aJob("j", gpus(8))];
    const two = aSnapshot({ nodes: [aNode("n1"), aNode("n2")], queue });
    expect(verdicts(withVictims(two, [refused, dearer]))["j"]).to.deep.include({
      victims: [{ jobId: "dearer", key: "other/dearer", attempt: 1, rule: "LowerPriority" }],
    });
    const wait = waits("j", withVictims(aSnapshot({ nodes: [aNode("n1")], queue }), [refused]));
    expect(wait.reason).to.equal("EvictionRefused");
    expect(wait.message).to.match(/; the API server refuses to evict other\/refused$/);
    const hidden = redactFor(() => false, wait.message, wait.redactables);
    expect(hidden).to.match(/refuses to evict a job of another project$/);
  });
});

const only = (changes: Partial<Snapshot>): WaitVerdict => waits("j", aSnapshot(changes));

describe("the reason why a job waits", () => {
  it("names the closest node and what it has", () => {
    const nodes = [aNode("node-3", used(7)), aNode("node-7", used(3))];
    const wait = only({ nodes, queue: [aJob("j", { ...gpus(8), preempts: false })] });
    expect(wait.message).to.equal(
      "needs 8 GPUs on one node; the closest fit, node-7, has 5 free; its priority class does not preempt (preemptionPolicy: Never)",
    );
  });

  it("names every resource that is short", () => {
    const nodes = [aNode("n1", { committed: resources(0, 60, 1, 0) })];
    const queue = [aJob("j", { perPod: resources(2, 8, 1, 1), preempts: false })];
    expect(only({ nodes, queue }).message).to.include(
      "needs 2 GPUs and 8 cores on one node; the closest fit, n1, has 8 GPUs and 4 cores free",
    );
  });

  it("counts the pods of a gang that fit", () => {
    const nodes = [aNode("n1"), aNode("n2", used(3))];
    const queue = [aJob("j", { ...gpus(8), parallelism: 2, preempts: false })];
    expect(only({ nodes, queue }).message).to.include(
      "needs 2 pods with 8 GPUs each; 1 can be placed, and the closest fit for another, n2, has 5 free",
    );
  });

  it("names a host port in use, and the pods of a gang that one node may have", () => {
    const port = resources(1, 1, 1, 1, 0, 1);
    const taken = { committed: resources(2, 1, 1, 1, 0, 1) };
    const queue = [aJob("j", { perPod: port, preempts: false })];
    expect(only({ nodes: [aNode("n1", taken)], queue }).message).to.include(
      "needs 1 GPU and host port 8080/TCP on one node; the closest fit, n1, has 6 GPUs free and host port 8080/TCP in use",
    );
    const foreign = { otherUsage: resources(0, 0, 1, 0, 0, 1) };
    expect(only({ nodes: [aNode("n1", foreign)], queue })).to.include({
      reason: "TooLargeForPool",
      message:
        "needs 1 GPU and host port 8080/TCP on one node; the largest matching node, n1, has 8 GPUs and host port 8080/TCP in use",
    });
    const gang = { parallelism: 4, preempts: false };
    const nodes = [aNode("n1"), aNode("n2")];
    for (const limit of [
      { maxPodsPerNode: 1 },
      { perPod: { ...port, byName: { "podantiaffinity:1": 1 } } },
    ]) {
      expect(only({ nodes, queue: [aJob("j", { ...gang, ...limit })] })).to.include({
        reason: "TooLargeForPool",
        message:
          "needs 4 pods with 1 GPU each, at most 1 on a node; 2 nodes match and fit 2 even when empty",
      });
    }
    const full = [...nodes, aNode("n3"), aNode("n4", used(8))];
    const waiting = aJob("j", { ...gang, ...gpus(1), maxPodsPerNode: 1 });
    expect(only({ nodes: full, queue: [waiting] }).message).to.include(
      "needs 4 pods with 1 GPU each, at most 1 on a node; 3 can be placed, and the closest fit for another, n4, has 0 free",
    );
  });

  it("tells when the plan opens, or closes too soon", () => {
    const closed = aQuota("c", 0, 0, { opensAtText: "plan vision-weekdays opens Mon 08:00" });
    const job = { ...gpus(1), quotas: ["c"], allowsBorrowing: false };
    const waiting = only({ nodes: [aNode("n1")], quotas: [closed], queue: [aJob("j", job)] });
    expect(waiting.reason).to.equal("WindowClosed");
    expect(waiting.message).to.include("plan vision-weekdays opens Mon 08:00");
    const closing = aQuota("c", 8, 0, {
      evictCloses: [{ inSeconds: 1800, atText: "Tue 20:00", quantity: 0 }],
    });
    const long = aJob("j", { ...job, maxRuntimeSeconds: 3600 });
    const tooLong = only({ nodes: [aNode("n1")], quotas: [closing], queue: [long] });
    expect(tooLong.reason).to.equal("WindowTooShort");
    expect(tooLong.message).to.equal(
      "maxRuntime (60 min) exceeds the time left before plan plan-c closes and evicts (Tue 20:00)",
    );
  });

  it("minds a close only if too little is granted after it", () => {
    const close = (inSeconds: number, quantity: number) => ({
      inSeconds,
      atText: "then",
      quantity,
    });
    const job = aJob("j", { ...gpus(4), quotas: ["c"], maxRuntimeSeconds: 3600 });
    const outcome = (usage: number, ...evictCloses: readonly QuotaClose[]) => {
      const quotas = [aQuota("c", 8, usage, { evictCloses })];
      const [verdict] = decide(aSnapshot({ nodes: [aNode("n1")], quotas, queue: [job] })).verdicts;
      return verdict?.kind === "wait" ? verdict.reason : verdict?.kind;
    };
    expect(outcome(4, close(1800, 8)), "as much as now").to.equal("admit");
    expect(outcome(0, close(1800, 4)), "less, and enough").to.equal("admit");
    expect(outcome(4, close(1800, 4)), "less, and used by others").to.equal("WindowTooShort");
    expect(outcome(0, close(1800, 3)), "less than it needs").to.equal("WindowTooShort");
    expect(outcome(0, close(1800, 8), close(2400, 0)), "the second").to.equal("WindowTooShort");
    expect(outcome(0, close(3600, 0)), "when it has ended").to.equal("admit");
  });

  it("distinguishes never from not yet", () => {
    const large = aJob("j", gpus(16));
    expect(only({ nodes: [aNode("n1", used(8))], queue: [large] })).to.include({
      reason: "TooLargeForPool",
      message: "needs 16 GPUs on one node; the largest matching node, n1, has 8",
    });
    const picky = aJob("j", { nodeSelector: { gpu: "h100" } });
    expect(only({ nodes: [aNode("n1")], queue: [picky] })).to.include({
      reason: "NoMatchingNode",
      message: "0/1 nodes in pool default match the job's node selector, affinity and tolerations",
    });
    const unlucky = aJob("j", { avoidNodes: ["n1"] });
    const pressed = { key: "node.kubernetes.io/memory-pressure", effect: "NoSchedule" };
    const nodes = [aNode("n1"), aNode("n2", { taints: [pressed] })];
    expect(only({ nodes, queue: [unlucky] })).to.include({
      reason: "AwaitingNodes",
      message:
        "needs 1 GPU on one node; nodes that match are unavailable: 1 with untolerated taint node.kubernetes.io/memory-pressure:NoSchedule; avoided for now after a failed start: n1",
    });
    const [down, broken] = [
      { schedulable: false },
      { unhealthyGpus: 8, allocatable: resources(0, 64, 110, 512) },
    ];
    expect(
      only({ nodes: [aNode("n1", down), aNode("n2", broken)], queue: [aJob("j", gpus(8))] }),
    ).to.include({
      reason: "AwaitingNodes",
      message:
        "needs 8 GPUs on one node; nodes that match are unavailable: 1 cordoned or not ready; n2 with 0 of 8 GPUs healthy",
    });
  });

  it("names the devices that it waits for, and no others", () => {
    const mended = aNode("n1", {
      allocatable: resources(6, 64, 110, 512),
      unhealthyGpus: 2,
      unhealthyByName: { [FPGA]: 4 },
    });
    const job = (perPod: Resources) => aJob("j", { perPod });
    expect(only({ nodes: [mended], queue: [job(resources(0, 1, 1, 1, 2))] })).to.include({
      reason: "AwaitingNodes",
      message: `needs 2 ${FPGA} on one node; nodes that match are unavailable: n1 with 0 of 4 ${FPGA} healthy`,
    });
    const down = aNode("n1", { schedulable: false });
    expect(only({ nodes: [down], queue: [job(resources(0, 1, 1, 1))] })).to.include({
      message:
        "needs 1 core and 1 GiB of memory on one node; nodes that match are unavailable: 1 cordoned or not ready",
    });
  });

  it("gives the position among those that wait", () => {
    const nodes = [aNode("n1", used(7))];
    const queue = [
      aJob("a", gpus(2)),
      aJob("b", gpus(3)),
      aJob("c", { ...gpus(0) }),
      aJob("d", gpus(4)),
    ];
    const positions = decide(aSnapshot({ nodes, queue })).verdicts.flatMap((one) =>
      one.kind === "wait" ? [`${one.jobId} ${one.position}`] : [],
    );
    expect(positions).to.deep.equal(["a 1", "b 2", "d 3"]);
  });
});

describe("the search for the victims of gangs", () => {
  /** The search for the cheapest victims is exponential in the number of different jobs on a node. */
  it("takes bounded CPU time for gangs among many different jobs", () => {
    const nodes = Array.from({ length: 32 }, (_, index) => aNode(`n${index}`));
    const live = Array.from({ length: 1_280 }, (_, index) => {
      const perPod = {
        ...resources(0, 0, 1, 4 + ((index * 7) % 13)),
        cpuMillis: 500 + ((index * 611) % 2_003),
      };
      return aLiveJob(`v${index}`, [{ node: `n${index % 32}`, pods: 1 }], { perPod });
    });
    const queue = [4, 5, 6].map((parallelism) =>
      aJob(`g${parallelism}`, { parallelism, perPod: resources(1, 24, 1, 160) }),
    );
    const before = process.threadCpuUsage();
    const { verdicts: found } = decide(withVictims(aSnapshot({ nodes, queue }), live));
    const { user, system } = process.threadCpuUsage(before);
    expect(found.map(({ kind }) => kind)).to.deep.equal(["preempt", "preempt", "preempt"]);
    expect((user + system) / 1e6, "seconds of CPU; 13 without a bound").to.be.below(3);
  });
});
