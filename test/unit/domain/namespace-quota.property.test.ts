/** ResourceQuotas: whom they count, and how much of them is used, against pods counted one by one. */
import { expect } from "chai";
import * as fc from "fast-check";
import {
  countsUnder,
  type NamespaceQuota,
  type Occupant,
  quotaInUse,
  type ScopeSelector,
  usageUnder,
} from "../../../src/domain/namespace-quota.ts";
import {
  namespaceQuotaText,
  quotaRefusalOf,
  quotaRefusalText,
} from "../../../src/domain/namespace-quota-text.ts";
import type { PodScope, PodUsage } from "../../../src/domain/pod-usage.ts";
import { propertyRuns, Reached } from "../../support/property.ts";

const gpu = "nvidia.com/gpu";
const aUsage = (changes: Partial<PodUsage> = {}): PodUsage => ({
  requests: {},
  limits: {},
  scopes: ["NotTerminating", "NotBestEffort"],
  priorityClassName: "",
  ...changes,
});

describe("an entry of a ResourceQuota", () => {
  const usage = aUsage({
    requests: { cpu: 1n, memory: 2n, "ephemeral-storage": 3n, [gpu]: 4n, "hugepages-2Mi": 5n },
    limits: { cpu: 6n, memory: 7n, "ephemeral-storage": 8n },
  });
  const amounts: Readonly<Record<string, bigint>> = {
    pods: 1000n,
    "count/pods": 1000n,
    cpu: 1n,
    "requests.cpu": 1n,
    "limits.cpu": 6n,
    memory: 2n,
    "requests.memory": 2n,
    "limits.memory": 7n,
    "ephemeral-storage": 3n,
    "requests.ephemeral-storage": 3n,
    "limits.ephemeral-storage": 8n,
    [`requests.${gpu}`]: 4n,
    "hugepages-2Mi": 5n,
    "requests.hugepages-2Mi": 5n,
    "requests.example.com/none": 0n,
    // Not of pods, or not a quota of Kubernetes.
    [gpu]: 0n,
    [`limits.${gpu}`]: 0n,
    "requests.storage": 0n,
    "count/jobs.batch": 0n,
    persistentvolumeclaims: 0n,
    configmaps: 0n,
  };
  for (const [entry, amount] of Object.entries(amounts)) {
    it(`${entry} counts ${amount} thousandths`, () => {
      expect(usageUnder(entry, usage)).to.equal(amount);
    });
  }
});

describe("the scopes of a ResourceQuota", () => {
  const ofClass = (operator: string, ...values: string[]): ScopeSelector => ({
    scopeName: "PriorityClass",
    operator,
    values,
  });
  const scope = (scopeName: string): ScopeSelector => ({ scopeName, operator: "Exists" });
  const high = aUsage({ priorityClassName: "high" });
  const none = aUsage();
  const cases: readonly (readonly [string, readonly ScopeSelector[], PodUsage, boolean])[] = [
    ["no scope", [], none, true],
    ["its scope", [scope("NotTerminating")], none, true],
    ["another scope", [scope("Terminating")], none, false],
    ["one of two scopes", [scope("NotTerminating"), scope("BestEffort")], none, false],
    ["an unknown scope", [scope("Weekends")], none, false],
    ["any class, with one", [ofClass("Exists")], high, true],
    ["any class, without one", [ofClass("Exists")], none, false],
    ["no class, with one", [ofClass("DoesNotExist")], high, false],
    ["no class, without one", [ofClass("DoesNotExist")], none, true],
    ["its class", [ofClass("In", "low", "high")], high, true],
    ["another class", [ofClass("In", "low")], high, false],
    ["a class, without one", [ofClass("In", "low")], none, false],
    ["all but its class", [ofClass("NotIn", "high")], high, false],
    ["all but another class", [ofClass("NotIn", "low")], high, true],
    ["all but a class, without one", [ofClass("NotIn", "low")], none, true],
    ["an unknown operator", [ofClass("Like", "high")], high, false],
  ];
  for (const [what, selectors, usage, isCounted] of cases) {
    it(`of ${what} ${isCounted ? "count" : "do not count"} a pod`, () => {
      expect(countsUnder({ selectors }, usage)).to.equal(isCounted);
    });
  }
});

const entries = ["pods", "count/pods", "requests.cpu", "limits.cpu", `requests.${gpu}`];
const amount = fc.bigInt({ min: 0n, max: 9n }).map((units) => units * 500n);
const thousandths = (names: readonly string[]) => fc.dictionary(fc.constantFrom(...names), amount);
const usages: fc.Arbitrary<PodUsage> = fc.record({
  requests: thousandths(["cpu", gpu]),
  limits: thousandths(["cpu"]),
  scopes: fc.constantFrom<readonly PodScope[]>(["Terminating"], ["NotTerminating"]),
  priorityClassName: fc.constantFrom("", "high"),
});
const selectors = fc.constantFrom<readonly ScopeSelector[]>(
  [],
  [{ scopeName: "NotTerminating", operator: "Exists" }],
  [{ scopeName: "PriorityClass", operator: "In", values: ["high"] }],
);

/** A pod of a job: to be made, running, leaving, or ended. */
const stages = ["missing", "running", "leaving", "ended"] as const;
const gangs = fc.array(
  fc.record({ usage: usages, pods: fc.array(fc.constantFrom(...stages), { maxLength: 4 }) }),
  { maxLength: 4 },
);
type Gang = typeof gangs extends fc.Arbitrary<readonly (infer One)[]> ? One : never;

const occupantOf = ({ usage, pods }: Gang): Occupant => ({
  usage,
  missing: pods.filter((stage) => stage === "missing").length,
  counted: pods.filter((stage) => stage === "running").length,
  existing: pods.filter((stage) => stage !== "missing").length,
});

describe("the use of a ResourceQuota", () => {
  it("is what the API server counts, however old its count is, and what is yet to come", () => {
    const reached = new Reached<"stale" | "fresh" | "pending">();
    const property = fc.property(
      gangs,
      thousandths(entries),
      thousandths(entries),
      selectors,
      (all, hard, told, ofScope) => {
        const quota: NamespaceQuota = {
          namespace: "team",
          name: "q",
          hard,
          used: told,
          selectors: ofScope,
        };
        const inUse = quotaInUse(quota, all.map(occupantOf));
        for (const entry of Object.keys(hard)) {
          const counted = all.filter(({ usage }) => countsUnder(quota, usage));
          const pods = counted.flatMap(({ usage, pods: stagesOf }) =>
            stagesOf.map((stage) => ({ stage, amount: usageUnder(entry, usage) })),
          );
          let seen = 0n;
          let pending = 0n;
          for (const { stage, amount: one } of pods) {
            if (stage === "missing") pending += one;
            else if (entry === "count/pods" || stage === "running") seen += one;
          }
          const before = told[entry] ?? 0n;
          expect(inUse.pending[entry]).to.equal(pending);
          expect(inUse.used[entry]).to.equal(seen > before ? seen : before);
          reached.note({ stale: seen > before, fresh: seen < before, pending: pending > 0n });
        }
      },
    );
    fc.assert(property, propertyRuns(500));
    reached.expectPercent({ stale: 20, fresh: 20, pending: 20 });
  });
});

describe("a ResourceQuota without room", () => {
  const text = (entry: string, used: bigint, limit: bigint, need: bigint) =>
    namespaceQuotaText({ key: "team/q", entry, used, limit, need });
  const gib = 1024n ** 3n * 1000n;

  it("is told with its numbers", () => {
    expect(text(`requests.${gpu}`, 8000n, 8000n, 4000n)).to.equal(
      "ResourceQuota team/q: requests.nvidia.com/gpu 8 of 8 used, the job needs 4",
    );
    expect(text("limits.cpu", 1500n, 2000n, 750n)).to.equal(
      "ResourceQuota team/q: limits.cpu 1.5 of 2 used, the job needs 0.75",
    );
    expect(text("requests.memory", 4n * gib, 16n * gib, 16n * gib)).to.equal(
      "ResourceQuota team/q: requests.memory 4 GiB of 16 GiB used, the job needs 16 GiB",
    );
  });

  it("is told as a limit when it can never hold the job", () => {
    expect(text(`requests.${gpu}`, 0n, 5000n, 8000n)).to.equal(
      "ResourceQuota team/q: requests.nvidia.com/gpu at most 5, the job needs 8",
    );
  });

  it("is told of the whole gang when the API server refuses one pod", () => {
    const explanation = (requested: string, used: string, limited: string) =>
      `pods "a" is forbidden: exceeded quota: few, requested: ${requested}, used: ${used}, limited: ${limited}`;
    const told = (words: string, parallelism: number) => {
      const refusal = quotaRefusalOf(words);
      return refusal && quotaRefusalText(refusal, "team", parallelism);
    };
    const two = explanation(
      `pods=1,requests.${gpu}=4`,
      `pods=6,requests.${gpu}=8`,
      `pods=6,requests.${gpu}=8`,
    );
    expect(told(two, 1)).to.equal("ResourceQuota team/few: pods 6 of 6 used, the job needs 1");
    expect(told(two, 3)).to.equal(
      "ResourceQuota team/few: requests.nvidia.com/gpu at most 8, the job needs 12",
    );
    const memory = explanation(
      "requests.memory=2Gi",
      "requests.memory=1536Mi",
      "requests.memory=3Gi",
    );
    expect(told(memory, 1)).to.equal(
      "ResourceQuota team/few: requests.memory 1.5 GiB of 3 GiB used, the job needs 2 GiB",
    );
    expect(told("failed quota: few: must specify limits.cpu for: main", 1)).to.equal(undefined);
  });
});
