import { expect } from "chai";
import type { JobReconcile } from "../../../src/controllers/job/context.ts";
import { blockedSeconds, evict } from "../../../src/controllers/job/eviction.ts";
import { KubeError } from "../../../src/kube/errors.ts";

describe("an eviction blocked by a budget", () => {
  it("is retried with doubling, jittered pauses up to 30 s", () => {
    const longest = [0, 2, 6, 14, 30, 3600].map((age) => blockedSeconds(age, () => 1));
    expect(longest).to.deep.equal([2, 4, 8, 16, 30, 30]);
    expect(blockedSeconds(3600, () => 0)).to.equal(15);
    expect(blockedSeconds(-1, () => 0)).to.equal(1);
  });
});

const answer = (status: number, causes: readonly string[] = []) =>
  new KubeError({
    status,
    reason: "",
    verb: "POST",
    resource: "pods",
    name: "team/train",
    explanation: "no",
    causes: causes.map((reason) => ({
      reason,
      field: "",
      message: "The disruption budget keep needs 2 healthy pods",
    })),
  });
const budget = answer(429, ["DisruptionBudget"]);
const webhook = answer(500);

/** Evicts a gang past its budgets. @param errors the API server's answers about its pods */
async function evictPast(...errors: readonly KubeError[]) {
  const deleted: string[] = [];
  const pods = errors.map((_, index) => ({
    name: `train-${index}`,
    namespace: "team",
    uid: `${index}`,
    attempt: 1,
    index,
    phase: "Running",
    nodeName: "",
    graceSeconds: 30,
    deleting: false,
  }));
  const kube = {
    evict: (key: string) => Promise.reject(errors[Number(key.slice("team/train-".length))]),
    delete: (_type: unknown, key: string) => Promise.resolve(deleted.push(key)),
    list: () => Promise.resolve([]),
  };
  const store = { get: () => undefined, byIndex: () => [] };
  const context = {
    kube,
    informers: { nodes: { store }, pods: { store }, projects: { store } },
    settings: { gpuResource: "nvidia.com/gpu", maxGraceSeconds: 3600, stuckPodSeconds: 60 },
    db: { query: () => Promise.resolve({ rows: [] }) },
    counters: { evictionAsked: () => undefined },
    logger: { warn: () => undefined },
    vacatedClock: { secondsToLook: () => 1 },
    checkpoint: () => undefined,
  };
  const eviction = { pastBudget: "team/keep", isSettled: false, ageSeconds: 0 };
  const view = { id: "j", attempt: 1, name: "train", completed: [], placements: [], eviction };
  const job = { spec: { parallelism: pods.length } };
  const gang = { context, key: "team/train", uid: "j", job, view, pods } as unknown as JobReconcile;
  const { blockedBy } = await evict(gang);
  return { deleted, blockedBy };
}

describe("an eviction past a budget", () => {
  it("deletes the pods that only budgets keep", async () => {
    for (const errors of [[budget], [budget, budget]])
      expect((await evictPast(...errors)).deleted).to.have.length(errors.length);
  });

  it("deletes nothing that the API server refuses to evict for another reason", async () => {
    for (const errors of [[webhook], [budget, webhook]]) {
      const { deleted, blockedBy } = await evictPast(...errors);
      expect(deleted).to.deep.equal([]);
      expect(blockedBy).to.match(/^the API server's answer/);
    }
  });
});
