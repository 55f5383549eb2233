/** What is told of one waiting job in detail, against brute force. */
import { expect } from "chai";
import * as fc from "fast-check";
import { candidatesFor, diagnose, requestFor } from "../../../src/domain/scheduling/diagnosis.ts";
import { unitOf } from "../../../src/domain/resource-types.ts";
import type { LiveJob, QueuedJob, Snapshot } from "../../../src/domain/scheduling/snapshot.ts";
import { propertyRuns, Reached } from "../../support/property.ts";
import {
  accepts,
  amountOf,
  exceeded,
  isInside,
  podsFitting,
  podsFittingEmpty,
  podsOf,
  ruleOf,
} from "./brute-force.ts";
import { jobOf } from "./oracle.ts";
import { scenarios } from "./scenarios.ts";
import { aJob, aNode, aSnapshot, resources } from "./support.ts";

/** The rule by which it may evict another, whether or not the room would be enough. */
function naiveRule(
  snapshot: Snapshot,
  job: QueuedJob,
  victim: LiveJob,
  live: readonly LiveJob[],
): string | undefined {
  const isLower = victim.priority < job.priority;
  // Siblings of higher priority may not be evicted: with them in the way it stays over its quotas, and can only borrow.
  const lower = live.filter(({ priority }) => priority < job.priority);
  if (job.unplanned || exceeded(snapshot, job, lower).length > 0) {
    const isDisplaced = job.allowsBorrowing && isLower && victim.borrowing;
    return isDisplaced ? "LowerPriority" : undefined;
  }
  return isLower || victim.borrowing ? ruleOf(snapshot, job, victim, false) : undefined;
}

describe("the diagnosis of a waiting job", () => {
  it("names the host port that is in use on a node, beside what is short", () => {
    const job = aJob("j", { perPod: resources(8, 1, 1, 1, 0, 1) });
    const nodes = [
      aNode("n1", { committed: resources(2, 1, 1, 1, 0, 1) }),
      aNode("n2", { committed: resources(0, 1, 1, 1, 0, 1) }),
      aNode("n3"),
    ];
    const { nodes: told } = diagnose(aSnapshot({ nodes, queue: [job] }), job, 9);
    expect(Object.fromEntries(told.map(({ node, message }) => [node, message]))).to.deep.equal({
      n1: "has 6 of 8 GPUs free and host port 8080/TCP in use",
      n2: "has host port 8080/TCP in use",
      n3: undefined,
    });
  });

  it("names candidates and rule, borrowers and lowest priorities first", () => {
    const reached = new Reached<
      "OwnQuota" | "BorrowerReclaimed" | "LowerPriority" | "spared" | "overForGood"
    >();
    fc.assert(
      fc.property(scenarios(3), (scenario) => {
        const { snapshot, live } = scenario;
        const job = jobOf(scenario);
        const told = candidatesFor(snapshot, job, live);
        const expected = live.flatMap((victim) => {
          const rule = naiveRule(snapshot, job, victim, live);
          return rule === undefined ? [] : [{ id: victim.id, rule, pods: podsOf(victim) }];
        });
        expect(
          told.map(({ job: { id }, rule, pods }) => ({ id, rule, pods })),
        ).to.have.deep.members(expected);
        for (const [index, { job: one }] of told.entries()) {
          const next = told[index + 1]?.job;
          if (!next) continue;
          expect(Number(one.borrowing)).to.be.at.least(Number(next.borrowing));
          if (one.borrowing === next.borrowing) expect(one.priority).to.be.at.most(next.priority);
        }
        const isOver = !isInside(snapshot, job);
        const by = (rule: string) => expected.some((one) => one.rule === rule);
        reached.note({
          OwnQuota: by("OwnQuota"),
          BorrowerReclaimed: by("BorrowerReclaimed"),
          LowerPriority: by("LowerPriority"),
          spared: expected.length < live.length,
          overForGood: isOver && !by("OwnQuota") && live.some(({ borrowing }) => borrowing),
        });
      }),
      propertyRuns(1000),
    );
    reached.expectPercent({
      OwnQuota: 3,
      BorrowerReclaimed: 20,
      LowerPriority: 20,
      spared: 30,
      overForGood: 5,
    });
  });

  it("counts nodes, free capacity and quotas", () => {
    fc.assert(
      fc.property(scenarios(3), fc.integer({ min: 1, max: 4 }), (scenario, most) => {
        const { snapshot } = scenario;
        const job = jobOf(scenario);
        const told = diagnose(snapshot, job, most);
        expect(told.nodesTotal).to.equal(snapshot.nodes.length);
        expect(told.nodesAccepting).to.equal(
          snapshot.nodes.filter((node) => accepts(node, job)).length,
        );
        expect(told.nodes).to.have.length(Math.min(most, snapshot.nodes.length));
        for (const view of told.nodes) {
          const nodes = snapshot.nodes.filter(({ name }) => name === view.node);
          const fits = podsFitting({ ...snapshot, nodes }, job, [], "now");
          const isAccepting = nodes.some((node) => accepts(node, job));
          expect(view.fits).to.equal(isAccepting ? fits : 0);
          expect(view.rejection === undefined).to.equal(view.fits > 0);
          expect(view.rejection === "Full").to.equal(isAccepting && fits === 0);
          expect(view.message === undefined).to.equal(view.rejection === undefined);
        }
        const fits = told.nodes.map((view) => view.fits);
        expect(fits).to.deep.equal(fits.toSorted((a, b) => b - a));
        const ranks = told.nodes.map(({ rejection }) =>
          rejection === undefined ? 0 : rejection === "Full" ? 1 : 2,
        );
        expect(ranks).to.deep.equal(ranks.toSorted((a, b) => a - b));
        const over = new Set(exceeded(snapshot, job).map(({ id }) => id));
        for (const { quota, demand, exceeded: isExceeded } of told.quotas) {
          const asked = amountOf(job.perPod, 1, quota);
          expect(demand).to.equal(asked * job.parallelism);
          expect(isExceeded).to.equal(over.has(quota.id));
        }
        expect(told.quotas.map(({ quota }) => quota.id)).to.deep.equal(job.quotas);
      }),
      propertyRuns(1000),
    );
  });

  it("asks the finder about what exceeds capacity, on accepting nodes", () => {
    fc.assert(
      fc.property(scenarios(3), (scenario) => {
        const { snapshot } = scenario;
        const job = jobOf(scenario);
        const request = requestFor(snapshot, job);
        expect(request !== undefined).to.equal(job.preempts);
        if (!request) return;
        const over = job.unplanned ? [] : exceeded(snapshot, job);
        const inside = isInside(snapshot, job);
        expect(request).to.include({ inside, borrows: !inside && job.allowsBorrowing });
        expect(
          request.over.map(({ quotaId, resourceType, excess }) => ({
            quotaId,
            resourceType,
            excess: excess / unitOf(resourceType),
          })),
        ).to.have.deep.members(
          over.map(({ id: quotaId, resourceType, usage, quantity }) => {
            const asked = amountOf(job.perPod, 1, { resourceType });
            return { quotaId, resourceType, excess: usage + asked * job.parallelism - quantity };
          }),
        );
        // Where more pods would fit on the empty node, if the finder cannot know.
        const isKnown = !job.perPod.byName && (job.maxPodsPerNode ?? Infinity) >= job.parallelism;
        const accepting = snapshot.nodes
          .filter((node) => accepts(node, job))
          .filter((node) => {
            const alone = { ...snapshot, nodes: [node] };
            return isKnown || podsFitting(alone, job, []) < podsFittingEmpty(alone, job);
          })
          .map(({ name }) => name);
        const usable = snapshot.nodes.filter(({ schedulable }) => schedulable);
        const short = new Set(request.rooms?.map(({ node }) => node));
        const others = accepting.filter((name) => !short.has(name));
        expect(accepting, "short").to.include.members([...short]);
        expect(request.nodes).to.deep.equal(others.length < usable.length ? others : undefined);
        expect(request.changed, "nothing is decided yet").to.deep.equal([]);
      }),
      propertyRuns(1000),
    );
  });
});
