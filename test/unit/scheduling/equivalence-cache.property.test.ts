/**
 * What a decision remembers of jobs of one shape changes nothing: with a toleration of its own, which no taint asks for,
 * each job is of a shape of its own, and nothing is remembered from one to the next.
 */
import { expect } from "chai";
import * as fc from "fast-check";
import { decide } from "../../../src/domain/scheduling/decide.ts";
import type { Verdict } from "../../../src/domain/scheduling/decision.ts";
import { propertyRuns, Reached } from "../../support/property.ts";
import { queues } from "./scenarios.ts";

/**
 * Reasons and numbers are those of when the first of a shape was looked at: what was kept for it since then, or which
 * budget was in its way, is not told to the others.
 */
const withoutWords = (verdict: Verdict) => {
  if (verdict.kind === "wait") return { kind: verdict.kind, jobId: verdict.jobId };
  if (verdict.kind === "preempt") return { ...verdict, reason: "", redactables: [] };
  return verdict;
};

describe("the equivalence cache", () => {
  it("does not change any decision", () => {
    const reached = new Reached<"alike" | "preempts" | "waits">();
    fc.assert(
      fc.property(queues, fc.boolean(), ({ snapshot }, alike) => {
        const [first] = snapshot.queue;
        const queue = snapshot.queue.map((job) =>
          alike && first
            ? Object.assign({}, first, {
                id: job.id,
                key: job.key,
                queuedAtSeconds: job.queuedAtSeconds,
              })
            : job,
        );
        const apart = queue.map((job) =>
          Object.assign({}, job, {
            tolerations: [...job.tolerations, { key: job.id, operator: "Exists" }],
          }),
        );
        const victimsFor = queue.map(({ id }) => id);
        const together = decide({ ...snapshot, queue, victimsFor }).verdicts;
        const alone = decide({ ...snapshot, queue: apart, victimsFor }).verdicts;
        expect(together.map(withoutWords)).to.deep.equal(alone.map(withoutWords));
        reached.note({
          alike,
          preempts: together.some(({ kind }) => kind === "preempt"),
          waits: together.filter(({ kind }) => kind === "wait").length > 1,
        });
      }),
      propertyRuns(1000),
    );
    reached.expectPercent({ alike: 30, preempts: 20, waits: 30 });
  });
});
