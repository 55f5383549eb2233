/**
 * The decision on one job against brute force on small clusters.
 */
import { expect } from "chai";
import * as fc from "fast-check";
import { decide } from "../../../src/domain/scheduling/decide.ts";
import type { Verdict } from "../../../src/domain/scheduling/decision.ts";
import { propertyRuns, Reached } from "../../support/property.ts";
import { judge, type Kind, kindsOf, minPercent, minPercentOfGangs } from "./oracle.ts";
import { type Scenario, scenarios } from "./scenarios.ts";

function verdictOf({ snapshot }: Scenario): Verdict {
  const [verdict] = decide(snapshot).verdicts;
  if (!verdict) throw new Error("no verdict");
  return verdict;
}

/** Judges the decision on each of many scenarios with gangs of at most so many pods. */
function judgeAll(parallelism: number, floors: Readonly<Record<Kind, number>>): void {
  const reached = new Reached<Kind>();
  fc.assert(
    fc.property(scenarios(parallelism), (scenario) => {
      const verdict = verdictOf(scenario);
      expect(verdictOf(scenario), "the same twice").to.deep.equal(verdict);
      judge(scenario, verdict);
      reached.note(kindsOf(scenario, verdict));
    }),
    propertyRuns(2000),
  );
  reached.expectPercent(floors);
}

describe("preemption against brute force", () => {
  it("is optimal for one pod, impossible without a sufficient set", () => {
    judgeAll(1, minPercent);
  });

  it("is sufficient, inclusion-minimal, never worse than greedy for gangs", () => {
    judgeAll(4, minPercentOfGangs);
  });
});
