/** The decision on one job, judged by brute force on a small cluster. */
import { expect } from "chai";
import type { PreemptVerdict, Verdict } from "../../../src/domain/scheduling/decision.ts";
import type { LiveJob, Placement, QueuedJob } from "../../../src/domain/scheduling/snapshot.ts";
import {
  accepts,
  allocatableOn,
  amountIn,
  becomesInside,
  bestCost,
  compareCosts,
  costOf,
  DIMENSIONS,
  exceeded,
  isInside,
  isPossibleUnprotected,
  isSufficient,
  mayRun,
  outsideReason,
  podsFitting,
  rejectionOf,
  ruleOf,
} from "./brute-force.ts";
import type { Scenario } from "./scenarios.ts";

export function jobOf({ snapshot }: Scenario): QueuedJob {
  const [job] = snapshot.queue;
  if (!job) throw new Error("no job");
  return job;
}

const among = ({ live }: Scenario, ids: readonly string[]): LiveJob[] =>
  live.filter(({ id }) => ids.includes(id));

const victimsOf = (scenario: Scenario, verdict: PreemptVerdict): LiveJob[] =>
  among(
    scenario,
    verdict.victims.map(({ jobId }) => jobId),
  );

/** Naive greed: borrowers, lowest priority, youngest first, until it is enough. */
function greedyCost(scenario: Scenario): number[][] | undefined {
  const { snapshot } = scenario;
  const job = jobOf(scenario);
  const inOrder = scenario.live
    .filter((one) => !one.protected)
    .filter((one) => one.priority < job.priority || (one.borrowing && !job.unplanned))
    .toSorted(
      (a, b) =>
        Number(b.borrowing) - Number(a.borrowing) ||
        a.priority - b.priority ||
        b.startedAtSeconds - a.startedAtSeconds ||
        (a.id < b.id ? -1 : 1),
    );
  for (let count = 1; count <= inOrder.length; count += 1) {
    const set = inOrder.slice(0, count);
    if (isSufficient(snapshot, job, set)) return costOf(set, snapshot.nowSeconds);
  }
  return undefined;
}

/** The whole gang, each pod where it fits. */
function expectPlaced(
  scenario: Scenario,
  placements: readonly Placement[],
  victims: readonly LiveJob[],
  when: "now" | "later",
): void {
  const job = jobOf(scenario);
  const pods = placements.reduce((sum, one) => sum + one.pods, 0);
  expect(pods, "pods placed").to.equal(job.parallelism);
  for (const placement of placements) {
    const nodes = scenario.snapshot.nodes.filter(({ name }) => name === placement.node);
    const fitting = podsFitting({ ...scenario.snapshot, nodes }, job, victims, when);
    expect(fitting, `pods that fit on ${placement.node}`).to.be.at.least(placement.pods);
  }
}

const reasonOf = (verdict: Verdict): string =>
  verdict.kind === "wait" ? verdict.reason : verdict.kind;

/** What is decided about a job that needs no victims, or can have none: undefined when it needs some. */
function decidedWithoutVictims(scenario: Scenario): string | undefined {
  const { snapshot } = scenario;
  const job = jobOf(scenario);
  const rejection = rejectionOf(snapshot, job);
  if (rejection !== undefined) return rejection;
  if (!mayRun(snapshot, job)) return job.preempts ? undefined : outsideReason(snapshot, job);
  if (podsFitting(snapshot, job, [], "now") >= job.parallelism) return "admit";
  if (podsFitting(snapshot, job, []) >= job.parallelism) return "AwaitingRelease";
  return job.preempts ? undefined : blockedReason(scenario);
}

/** Why a job waits for which nobody can be evicted. */
function blockedReason(scenario: Scenario): string {
  const { snapshot, live } = scenario;
  const job = jobOf(scenario);
  if (!mayRun(snapshot, job)) return outsideReason(snapshot, job);
  if (job.preempts && isPossibleUnprotected(snapshot, job, live))
    return "BlockedByDisruptionBudget";
  const isKept = podsFitting(snapshot, job, [], "free") >= job.parallelism;
  return isKept ? "CapacityReserved" : "InsufficientCapacity";
}

/** Enough, nobody for nothing, by the rules, with true alternatives. */
function expectGoodVictims(scenario: Scenario, verdict: PreemptVerdict): void {
  const { snapshot } = scenario;
  const job = jobOf(scenario);
  const victims = victimsOf(scenario, verdict);
  expect(isSufficient(snapshot, job, victims), "sufficient").to.equal(true);
  for (const victim of victims) {
    const fewer = victims.filter((one) => one !== victim);
    expect(isSufficient(snapshot, job, fewer), `${victim.key} need not go`).to.equal(false);
    const told = verdict.victims.find(({ jobId }) => jobId === victim.id);
    expect(told?.rule).to.equal(ruleOf(snapshot, job, victim, verdict.borrowing));
    expect(told).to.include({ key: victim.key, attempt: victim.attempt });
  }
  if (!verdict.borrowing) expect(becomesInside(snapshot, job, victims)).to.equal(true);
  expectPlaced(scenario, verdict.placements, victims, "later");
  expectDearestFirst(verdict, victims, snapshot.nowSeconds);
  expect(verdict.alternatives.length, "alternatives").to.be.at.most(3);
  const sets = [victims, ...verdict.alternatives.map((one) => among(scenario, one.victims))];
  for (const [index, set] of sets.entries()) {
    expect(isSufficient(snapshot, job, set), "an alternative is sufficient").to.equal(true);
    const before = sets[index - 1];
    const costs = [before ?? set, set].map((one) => costOf(one, snapshot.nowSeconds));
    expect(compareCosts(costs[0] ?? [], costs[1] ?? []), "order").to.be.at.most(0);
  }
  const members = sets.map((set) => set.map(({ id }) => id).join());
  expect(new Set(members).size, "different sets").to.equal(sets.length);
}

/** The first victim's rule is the preemption log's for the whole: alone it would cost the most. */
function expectDearestFirst(
  { victims: [first] }: PreemptVerdict,
  victims: LiveJob[],
  nowSeconds: number,
): void {
  const named = victims.find(({ id }) => id === first?.jobId);
  for (const victim of victims) {
    const [one, other] = [named ?? victim, victim].map((job) => costOf([job], nowSeconds));
    expect(compareCosts(one ?? [], other ?? []), `${victim.key} is dearer`).to.be.at.least(0);
  }
}

/**
 * Throws unless the verdict on the scenario's job is right. `isBest` is false when not all live jobs were known: then the
 * victims need not be the cheapest.
 */
export function judge(scenario: Scenario, verdict: Verdict, isBest = true): void {
  const { snapshot, live } = scenario;
  const job = jobOf(scenario);
  const plain = decidedWithoutVictims(scenario);
  if (plain !== undefined) {
    expect(reasonOf(verdict)).to.equal(plain);
    if (verdict.kind !== "admit") return;
    expect(verdict.borrowing).to.equal(!isInside(snapshot, job));
    expectPlaced(scenario, verdict.placements, [], "now");
    return;
  }
  const best = bestCost(snapshot, job, live);
  expect(reasonOf(verdict)).to.equal(best ? "preempt" : blockedReason(scenario));
  if (verdict.kind !== "preempt" || !best) return;
  expectGoodVictims(scenario, verdict);
  if (isBest)
    expectCheap(scenario, costOf(victimsOf(scenario, verdict), snapshot.nowSeconds), best);
}

/** Not dearer than greed, and nobody of a higher priority than needed; the optimum for a single pod, and on a single node. */
function expectCheap(scenario: Scenario, cost: number[][], best: number[][]): void {
  const job = jobOf(scenario);
  const greed = greedyCost(scenario);
  if (greed) expect(compareCosts(cost, greed), "dearer than greed").to.be.at.most(0);
  expect(compareCosts(cost.slice(0, 2), best.slice(0, 2)), "highest priorities").to.equal(0);
  const nodes = scenario.snapshot.nodes.filter((node) => accepts(node, job));
  if (job.parallelism === 1 || nodes.length === 1)
    expect(compareCosts(cost, best), "the optimum").to.equal(0);
}

/** No node has all of the gang, because none may. */
const isSpread = (placements: readonly Placement[], job: QueuedJob): boolean =>
  placements.length > 1 &&
  (job.maxPodsPerNode === 1 || amountIn(job.perPod, "ports") > 0) &&
  job.parallelism > 1;

/** Of what kinds a case is, for the shares that a property must reach. */
export function kindsOf(scenario: Scenario, verdict: Verdict) {
  const { snapshot } = scenario;
  const job = jobOf(scenario);
  const victims = verdict.kind === "preempt" ? victimsOf(scenario, verdict) : [];
  const isBlocked = decidedWithoutVictims(scenario) === undefined;
  const accepting = snapshot.nodes.filter((node) => accepts(node, job));
  const short = DIMENSIONS.filter((one) =>
    accepting.every(
      (node) =>
        allocatableOn(node, one) -
          amountIn(node.otherUsage, one) -
          amountIn(node.committed, one) +
          amountIn(node.leaving, one) <
        amountIn(job.perPod, one),
    ),
  );
  const preempts = verdict.kind === "preempt";
  return {
    admitted: verdict.kind === "admit",
    preemption: preempts,
    "several victims": victims.length > 1,
    "gang among the victims": victims.some(({ allocations }) => allocations.length > 1),
    "gang evicts": preempts && job.parallelism > 1,
    "gang on several nodes evicts": preempts && verdict.placements.length > 1,
    alternatives: preempts && verdict.alternatives.length > 0,
    impossible: isBlocked && verdict.kind === "wait",
    protected: reasonOf(verdict) === "BlockedByDisruptionBudget",
    "evicts beside a protected one":
      preempts && scenario.live.some((one) => one.protected !== undefined),
    leaving: reasonOf(verdict) === "AwaitingRelease",
    kept: reasonOf(verdict) === "CapacityReserved",
    "own quota relieved": preempts && victims.length > 0 && exceeded(snapshot, job).length > 0,
    "two quotas exceeded": isBlocked && exceeded(snapshot, job).length > 1,
    "CPU quota exceeded": exceeded(snapshot, job).some((one) => one.resourceType === "CPU"),
    "borrower evicts": preempts && verdict.borrowing,
    "borrower of no lower priority evicted": victims.some((one) => one.priority >= job.priority),
    "equal priority spared":
      isBlocked && scenario.live.some((one) => one.priority === job.priority),
    "never preempts": !job.preempts && verdict.kind === "wait",
    "some nodes refuse":
      accepting.length > 0 && accepting.length < snapshot.nodes.length && isBlocked,
    "no node": reasonOf(verdict) === "NoMatchingNode",
    "too large": reasonOf(verdict) === "TooLargeForPool",
    "nodes unavailable": reasonOf(verdict) === "AwaitingNodes",
    "window closed": reasonOf(verdict) === "WindowClosed",
    "closes too soon": reasonOf(verdict) === "WindowTooShort",
    "over plan": reasonOf(verdict) === "QuotaExceeded",
    "CPU short": preempts && short.includes("cpuMillis"),
    "memory short": preempts && short.includes("memoryBytes"),
    "slots short": preempts && short.includes("pods"),
    "port short": preempts && short.includes("ports"),
    "spread by a limit": verdict.kind === "admit" && isSpread(verdict.placements, job),
    "spread by a limit evicts": preempts && isSpread(verdict.placements, job),
    "two dimensions short": preempts && short.length > 1,
    "without GPUs": preempts && job.perPod.gpus === 0,
  };
}

export type Kind = keyof ReturnType<typeof kindsOf>;

/** Least percentages, at about half of what was measured. */
export const minPercent: Readonly<Record<Kind, number>> = {
  admitted: 10,
  preemption: 12,
  "several victims": 2.5,
  "gang among the victims": 5,
  "gang evicts": 0,
  "gang on several nodes evicts": 0,
  alternatives: 0.5,
  impossible: 12,
  protected: 0.7,
  "evicts beside a protected one": 2,
  leaving: 1.5,
  kept: 0.2,
  "own quota relieved": 1,
  "two quotas exceeded": 1.5,
  "CPU quota exceeded": 10,
  "borrower evicts": 0.8,
  "borrower of no lower priority evicted": 2,
  "equal priority spared": 10,
  "never preempts": 4,
  "some nodes refuse": 9,
  "no node": 4,
  "too large": 4,
  "nodes unavailable": 2,
  "window closed": 2,
  "closes too soon": 1.5,
  "over plan": 3,
  "CPU short": 1,
  "memory short": 0.6,
  "slots short": 0.5,
  "port short": 0.3,
  "spread by a limit": 0,
  "spread by a limit evicts": 0,
  "two dimensions short": 0.7,
  "without GPUs": 1,
};

export const minPercentOfGangs: Readonly<Record<Kind, number>> = {
  ...minPercent,
  "port short": 0.1,
  "spread by a limit": 0.5,
  "spread by a limit evicts": 0.5,
  "gang evicts": 8,
  "gang on several nodes evicts": 3,
};
