/** Decisions against brute force on small clusters. */
import { expect } from "chai";
import * as fc from "fast-check";
import { decide } from "../../../src/domain/scheduling/decide.ts";
import type { LiveJob, PreemptVerdict, Verdict } from "../../../src/domain/scheduling/types.ts";
import { propertyRuns } from "../../support/property.ts";
import {
  bestCost,
  compareCosts,
  costOf,
  isInside,
  isSufficient,
  podsFitting,
} from "./brute-force.ts";
import { resources, type Scenario, scenarios } from "./support.ts";

function verdictOf({ snapshot }: Scenario): Verdict {
  const [verdict] = decide(snapshot).verdicts;
  if (!verdict) throw new Error("no verdict");
  return verdict;
}

function jobOf({ snapshot }: Scenario) {
  const [job] = snapshot.queue;
  if (!job) throw new Error("no job");
  return job;
}

const victimsOf = ({ live }: Scenario, verdict: PreemptVerdict): LiveJob[] =>
  live.filter(({ id }) => verdict.victims.some(({ jobId }) => jobId === id));

/** Whether it could run, now or when leaving pods are gone, without an eviction. */
function needsNoVictims(scenario: Scenario): boolean {
  const job = jobOf(scenario);
  const mayRun = isInside(scenario.snapshot, job) || job.allowsBorrowing;
  return mayRun && podsFitting(scenario.snapshot, job, []) >= job.parallelism;
}

/** It starts when there is room now, and waits for leaving pods rather than evict others. */
function expectNoVictims(scenario: Scenario, verdict: Verdict): void {
  const nodes = scenario.snapshot.nodes.map((node) =>
    Object.assign({}, node, {
      leaving: resources(0),
      held: resources(Math.max(0, node.held.gpus - node.leaving.gpus)),
    }),
  );
  const job = jobOf(scenario);
  const now = podsFitting({ ...scenario.snapshot, nodes }, job, []) >= job.parallelism;
  if (now) expect(verdict.kind).to.equal("admit");
  else expect(verdict).to.include({ kind: "wait", reason: "SpaceIsLeaving" });
}

/** Naive greed: borrowers, lowest priority, youngest first, until it is enough. */
function greedyCost(scenario: Scenario): number[][] | undefined {
  const job = jobOf(scenario);
  const inOrder = scenario.live
    .filter((one) => isAlwaysAllowed(scenario, one))
    .toSorted(
      (a, b) =>
        Number(b.borrowing) - Number(a.borrowing) ||
        a.priority - b.priority ||
        b.startedAtSeconds - a.startedAtSeconds ||
        (a.id < b.id ? -1 : 1),
    );
  for (let count = 1; count <= inOrder.length; count += 1) {
    const set = inOrder.slice(0, count);
    if (isSufficient(scenario.snapshot, job, set)) return costOf(set);
  }
  return undefined;
}

function isAlwaysAllowed({ snapshot }: Scenario, victim: LiveJob): boolean {
  const [job] = snapshot.queue;
  if (!job || victim.protected) return false;
  if (victim.priority < job.priority) return true;
  return victim.borrowing && !job.unplanned;
}

describe("preemption, against brute force", () => {
  it("is the optimum for a single pod, and impossible only when no set is enough", () => {
    fc.assert(
      fc.property(scenarios(1), (scenario) => {
        const verdict = verdictOf(scenario);
        if (needsNoVictims(scenario)) {
          expectNoVictims(scenario, verdict);
          return;
        }
        const best = bestCost(scenario.snapshot, jobOf(scenario), scenario.live);
        expect(verdict.kind).to.equal(best ? "preempt" : "wait");
        if (verdict.kind !== "preempt" || !best) return;
        expect(compareCosts(costOf(victimsOf(scenario, verdict)), best)).to.equal(0);
      }),
      propertyRuns(2000),
    );
  });

  it("is sufficient, inclusion-minimal and never worse than greed for gangs", () => {
    fc.assert(
      fc.property(scenarios(4), (scenario) => {
        const verdict = verdictOf(scenario);
        const job = jobOf(scenario);
        if (needsNoVictims(scenario)) {
          expectNoVictims(scenario, verdict);
          return;
        }
        const best = bestCost(scenario.snapshot, job, scenario.live);
        expect(verdict.kind).to.equal(best ? "preempt" : "wait");
        if (verdict.kind !== "preempt") return;
        const victims = victimsOf(scenario, verdict);
        expect(isSufficient(scenario.snapshot, job, victims)).to.equal(true);
        for (const victim of victims) {
          const fewer = victims.filter((one) => one !== victim);
          const stillEnough = isSufficient(scenario.snapshot, job, fewer);
          expect(stillEnough, `${victim.key} need not go`).to.equal(false);
        }
        const greed = greedyCost(scenario);
        if (greed) expect(compareCosts(costOf(victims), greed)).to.be.at.most(0);
      }),
      propertyRuns(2000),
    );
  });

  it("places the gang whole, within what is or becomes free, and decides the same twice", () => {
    fc.assert(
      fc.property(scenarios(4), (scenario) => {
        const verdict = verdictOf(scenario);
        expect(verdictOf(scenario)).to.deep.equal(verdict);
        if (verdict.kind !== "admit" && verdict.kind !== "preempt") return;
        const job = jobOf(scenario);
        const pods = verdict.placements.reduce((sum, one) => sum + one.pods, 0);
        expect(pods).to.equal(job.parallelism);
        const victims = verdict.kind === "preempt" ? victimsOf(scenario, verdict) : [];
        for (const placement of verdict.placements) {
          const only = scenario.snapshot.nodes.filter(({ name }) => name === placement.node);
          const fitting = podsFitting({ ...scenario.snapshot, nodes: only }, job, victims);
          expect(fitting).to.be.at.least(placement.pods);
        }
      }),
      propertyRuns(2000),
    );
  });
});
