/**
 * ResourceQuotas in decisions: they hold for all that starts, and a job that they hold back is as if it were not
 * there.
 */
import { expect } from "chai";
import * as fc from "fast-check";
import { usageUnder } from "../../../src/domain/namespace-quota.ts";
import type { QuotaInUse } from "../../../src/domain/namespace-quota.ts";
import type { PodUsage } from "../../../src/domain/pod-usage.ts";
import { decide } from "../../../src/domain/scheduling/decide.ts";
import type { Verdict } from "../../../src/domain/scheduling/decision.ts";
import { requestFor } from "../../../src/domain/scheduling/diagnosis.ts";
import type { QueuedJob, ReservedJob, Snapshot } from "../../../src/domain/scheduling/snapshot.ts";
import { propertyRuns, Reached } from "../../support/property.ts";
import { aJob, aLiveJob, aNode, aQuota, aSnapshot, resources, withVictims } from "./support.ts";

const gpuEntry = "requests.nvidia.com/gpu";

const usageOf = (gpus: number): PodUsage => ({
  requests: { "nvidia.com/gpu": BigInt(gpus) * 1000n },
  limits: {},
  scopes: ["NotTerminating", "BestEffort"],
  priorityClassName: "",
});

const gpus = (count: number) => ({ perPod: resources(count, 0, 1), podUsage: usageOf(count) });

/** In units. */
const aNamespaceQuota = (
  namespace: string,
  hard: Readonly<Record<string, number>>,
  used: Readonly<Record<string, number>> = {},
  pending: Readonly<Record<string, number>> = {},
): QuotaInUse => {
  const exact = (amounts: Readonly<Record<string, number>>) =>
    Object.fromEntries(
      Object.entries(amounts).map(([name, units]) => [name, BigInt(units) * 1000n]),
    );
  return {
    quota: { namespace, name: "q", hard: exact(hard), used: exact(used), selectors: [] },
    used: exact(used),
    pending: exact(pending),
  };
};

const verdictOf = (snapshot: Snapshot, id: string): Verdict | undefined =>
  decide(snapshot).verdicts.find(({ jobId }) => jobId === id);

const starts = (verdict: Verdict | undefined): boolean =>
  verdict?.kind === "admit" || verdict?.kind === "preempt";

const namespaces = ["team", "other"] as const;

const jobs = fc.array(
  fc.record({
    namespace: fc.constantFrom(...namespaces),
    gpus: fc.integer({ min: 0, max: 4 }),
    parallelism: fc.integer({ min: 1, max: 3 }),
    priority: fc.constantFrom(0, 100),
    allowsBorrowing: fc.boolean(),
    isPlanned: fc.boolean(),
  }),
  { minLength: 1, maxLength: 6 },
);

const units = fc.integer({ min: 0, max: 8 });
const namespaceQuotas = fc.array(
  fc
    .record({
      namespace: fc.constantFrom(...namespaces),
      entry: fc.constantFrom("pods", gpuEntry),
      hard: units,
      used: units,
      pending: fc.integer({ min: 0, max: 2 }),
    })
    .map(({ namespace, entry, hard, used, pending }) =>
      aNamespaceQuota(namespace, { [entry]: hard }, { [entry]: used }, { [entry]: pending }),
    ),
  { maxLength: 3 },
);

const snapshots: fc.Arbitrary<Snapshot> = fc
  .record({
    jobs,
    namespaceQuotas,
    free: fc.array(units, { minLength: 1, maxLength: 2 }),
    planned: units,
  })
  .map(({ jobs: asked, namespaceQuotas: quotas, free, planned }) => {
    const queue = asked
      .map(({ namespace, isPlanned, ...fields }, index) =>
        aJob(`j${index}`, {
          ...fields,
          ...gpus(fields.gpus),
          key: `${namespace}/j${index}`,
          queuedAtSeconds: index,
          quotas: isPlanned ? ["c"] : [],
        }),
      )
      .toSorted((one, other) => other.priority - one.priority);
    const live = free.map((count, index) =>
      aLiveJob(`l${index}`, [{ node: `n${index}`, pods: 1 }], {
        perPod: resources(8 - count, 0, 1),
        priority: -1,
      }),
    );
    const nodes = free.map((_count, index) => aNode(`n${index}`));
    const snapshot = aSnapshot({
      nodes,
      queue,
      namespaceQuotas: quotas,
      quotas: [aQuota("c", planned, 0)],
    });
    return withVictims(snapshot, live);
  });

const needOf = (entry: string, { podUsage, parallelism }: QueuedJob): bigint =>
  podUsage === undefined ? 0n : usageUnder(entry, podUsage) * BigInt(parallelism);

const isOf = (job: Pick<QueuedJob, "key">, { quota }: QuotaInUse): boolean =>
  job.key.startsWith(`${quota.namespace}/`);

/** In thousandths. */
const roomUnder = ({ quota, used, pending }: QuotaInUse, entry: string): bigint =>
  (quota.hard[entry] ?? 0n) - (used[entry] ?? 0n) - (pending[entry] ?? 0n);

function isHeldBack(job: QueuedJob, quotas: readonly QuotaInUse[]): boolean {
  return quotas
    .filter((one) => isOf(job, one))
    .some((one) =>
      Object.keys(one.quota.hard).some((entry) => {
        const need = needOf(entry, job);
        return need > 0n && need > roomUnder(one, entry);
      }),
    );
}

/** Without what depends on who else is in the queue. */
const outcomes = (snapshot: Snapshot, ids: ReadonlySet<string>) =>
  decide(snapshot)
    .verdicts.filter(({ jobId }) => ids.has(jobId))
    .map((verdict) => ({ ...verdict, position: 0 }));

describe("ResourceQuotas in a decision", () => {
  it("hold for all that starts", () => {
    const reached = new Reached<"starts" | "held back" | "preempts">();
    const property = fc.property(snapshots, (snapshot) => {
      const { verdicts } = decide(snapshot);
      const started = new Set(verdicts.filter(starts).map(({ jobId }) => jobId));
      const { namespaceQuotas: quotas = [], queue } = snapshot;
      for (const one of quotas) {
        for (const entry of Object.keys(one.quota.hard)) {
          const needs = queue
            .filter((job) => started.has(job.id) && isOf(job, one))
            .map((job) => needOf(entry, job));
          const total = needs.reduce((sum, need) => sum + need, 0n);
          if (total > 0n) expect(total <= roomUnder(one, entry), entry).to.equal(true);
        }
      }
      reached.note({
        starts: started.size > 0,
        preempts: verdicts.some(({ kind }) => kind === "preempt"),
        "held back": verdicts.some(
          (verdict) => verdict.kind === "wait" && verdict.message.startsWith("ResourceQuota "),
        ),
      });
    });
    fc.assert(property, propertyRuns(1000));
    reached.expectPercent({ starts: 50, "held back": 20, preempts: 5 });
  });

  it("hold back jobs as if these were not there", () => {
    const reached = new Reached<"held back">();
    const property = fc.property(snapshots, (snapshot) => {
      const { namespaceQuotas: quotas = [], queue } = snapshot;
      const others = queue.filter((job) => !isHeldBack(job, quotas));
      const ids = new Set(others.map(({ id }) => id));
      const without = { ...snapshot, queue: others };
      expect(outcomes(snapshot, ids)).to.deep.equal(outcomes(without, ids));
      reached.note({ "held back": others.length < queue.length });
    });
    fc.assert(property, propertyRuns(1000));
    reached.expectPercent({ "held back": 20 });
  });

  it("name a quota that can never hold the gang, and evict nobody for it", () => {
    const live = aLiveJob("l", [{ node: "n1", pods: 1 }], { perPod: resources(8, 0, 1) });
    const job = aJob("large", { ...gpus(4), parallelism: 2, priority: 1000 });
    const nodes = [aNode("n1"), aNode("n2")];
    const quotas = [
      aNamespaceQuota("team", { pods: 2 }, { pods: 2 }),
      aNamespaceQuota("team", { [gpuEntry]: 5 }),
    ];
    const snapshot = withVictims(aSnapshot({ nodes, queue: [job], namespaceQuotas: quotas }), [
      live,
    ]);
    expect(verdictOf(snapshot, "large")).to.include({
      kind: "wait",
      reason: "QuotaExceeded",
      message: "ResourceQuota team/q: requests.nvidia.com/gpu at most 5, the job needs 8",
    });
    expect(requestFor(snapshot, job)).to.equal(undefined);
  });

  it("are shared by the jobs of a namespace, in the order of the queue", () => {
    const queue = ["a", "b"].map((id) => aJob(id, gpus(3)));
    const small = aJob("small", { ...gpus(1), priority: 0 });
    const elsewhere = aJob("x", { ...gpus(3), key: "elsewhere/x", priority: 0 });
    const namespaceQuotas = [
      aNamespaceQuota("team", { [gpuEntry]: 8 }, { [gpuEntry]: 2 }, { [gpuEntry]: 1 }),
    ];
    const snapshot = aSnapshot({
      nodes: [aNode("n1"), aNode("n2")],
      queue: [...queue, small, elsewhere],
      namespaceQuotas,
    });
    expect(verdictOf(snapshot, "a")?.kind).to.equal("admit");
    expect(verdictOf(snapshot, "b")).to.include({
      kind: "wait",
      message: "ResourceQuota team/q: requests.nvidia.com/gpu 6 of 8 used, the job needs 3",
    });
    for (const id of ["small", "x"]) expect(verdictOf(snapshot, id)?.kind).to.equal("admit");
  });

  describe("of a reserved job", () => {
    const reserved: ReservedJob = {
      id: "r",
      key: "team/r",
      priority: 100,
      attempt: 0,
      placements: [{ node: "n1", pods: 2 }],
      ...gpus(2),
      borrowing: false,
      allowsBorrowing: true,
      quotas: [],
      expiresAtSeconds: 5000,
    };
    const nodes = [aNode("n1", { reserved: resources(4, 0, 2) })];
    const snapshot = (quota: QuotaInUse, queue: readonly QueuedJob[] = []) =>
      aSnapshot({ nodes, reserved: [reserved], namespaceQuotas: [quota], queue });

    it("include it already: it starts", () => {
      const quota = aNamespaceQuota("team", { pods: 3 }, { pods: 1 }, { pods: 2 });
      expect(verdictOf(snapshot(quota), "r")?.kind).to.equal("activate");
      expect(verdictOf(snapshot(quota, [aJob("next", gpus(1))]), "next")?.kind).to.equal("wait");
    });

    it("release it when they have no room for it any more", () => {
      const quota = aNamespaceQuota("team", { pods: 3 }, { pods: 2 }, { pods: 2 });
      const told = snapshot(quota, [aJob("next", gpus(1))]);
      expect(verdictOf(told, "r")).to.include({
        kind: "release",
        reason: "QuotaExceeded",
        message: "reservation released: ResourceQuota team/q: pods 2 of 3 used, the job needs 2",
      });
      expect(verdictOf(told, "next")?.kind).to.equal("admit");
    });
  });
});
