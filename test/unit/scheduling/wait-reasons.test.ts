import { expect } from "chai";
import { collectRound } from "../../../src/scheduler/wait-reasons/collect.ts";
import { PublishLoop } from "../../../src/scheduler/wait-reasons/publish-loop.ts";
import type { ExplainedJob } from "../../../src/scheduler/wait-reasons/publisher.ts";
import { WaitReasonPublisher } from "../../../src/scheduler/wait-reasons/publisher.ts";
import { createManualClock } from "../../support/manual-clock.ts";
import { aJob, aSnapshot } from "./support.ts";

const explained = (id: string, position: number, changes: Partial<ExplainedJob> = {}) => ({
  jobId: id,
  key: `team/${id}`,
  reason: "InsufficientCapacity" as const,
  message: "needs 8",
  position,
  ...changes,
});

const all = (jobs: readonly ExplainedJob[]) => ({ explained: jobs, settled: [], isComplete: true });

describe("the explanations of waiting jobs", () => {
  it("show a new reason at once, and no repetition", () => {
    const explanations = new WaitReasonPublisher();
    explanations.record("p", all([explained("a", 1)]));
    expect(explanations.get("a"), "not before it is taken").to.equal(undefined);
    expect(explanations.take(100)).to.deep.equal(["team/a"]);
    expect(explanations.get("a")?.position).to.equal(1);
    explanations.record("p", all([explained("a", 1)]));
    expect(explanations.take(101)).to.deep.equal([]);
    explanations.record("p", all([explained("a", 1, { reason: "QuotaExceeded" })]));
    expect(explanations.take(101)).to.deep.equal(["team/a"]);
  });

  it("show new words and positions after a pause", () => {
    const explanations = new WaitReasonPublisher();
    explanations.record("p", all([explained("a", 5)]));
    explanations.take(100);
    explanations.record("p", all([explained("a", 4)]));
    expect(explanations.take(101)).to.deep.equal([]);
    expect(explanations.secondsToNext(101)).to.equal(9);
    explanations.record("p", all([explained("a", 3)]));
    expect(explanations.get("a")?.position, "as it is written").to.equal(5);
    expect(explanations.take(110)).to.deep.equal(["team/a"]);
    expect(explanations.get("a")?.position).to.equal(3);
    expect(explanations.secondsToNext(110)).to.equal(undefined);
  });

  it("do not show small moves deep in the queue", () => {
    const explanations = new WaitReasonPublisher();
    explanations.record("p", all([explained("deep", 500)]));
    explanations.take(100);
    explanations.record("p", all([explained("deep", 480)]));
    expect(explanations.take(200)).to.deep.equal([]);
    explanations.record("p", all([explained("deep", 450)]));
    expect(explanations.take(200)).to.deep.equal(["team/deep"]);
  });

  it("are limited per second, and each is fresh in turn", () => {
    const explanations = new WaitReasonPublisher();
    const count = 3000;
    const ids = Array.from({ length: count }, (_, index) => `j${index}`);
    const seen = new Map<string, number>();
    let most = 0;
    for (let second = 0; second < 200; second += 1) {
      const jobs = ids.map((id, index) =>
        explained(id, index + 1, { message: `as of second ${second}` }),
      );
      explanations.record("p", all(jobs));
      const taken = explanations.take(second);
      most = Math.max(most, taken.length);
      for (const key of taken) seen.set(key, second);
    }
    expect(most, "writes a second").to.be.at.most(120);
    expect(seen.size, "all have been told").to.equal(count);
    const oldest = Math.min(...seen.values());
    expect(199 - oldest, "seconds since the stalest was told").to.be.at.most(count / 20 + 10);
  });

  it("forget jobs that wait no more, not those unseen", () => {
    const explanations = new WaitReasonPublisher();
    explanations.record("p", all([explained("a", 1), explained("b", 2), explained("c", 3)]));
    explanations.take(100);
    explanations.record("p", {
      explained: [explained("b", 1)],
      settled: ["a"],
      isComplete: false,
    });
    expect(explanations.get("a")).to.equal(undefined);
    expect(explanations.get("c")?.position).to.equal(3);
    explanations.record("p", all([explained("b", 1)]));
    expect(explanations.get("c")).to.equal(undefined);
  });

  it("begin anew with another term, whatever an earlier one showed", () => {
    const explanations = new WaitReasonPublisher();
    explanations.record("p", all([explained("a", 1), explained("b", 2)]));
    explanations.take(100);
    explanations.record("p", all([explained("a", 1, { reason: "QuotaExceeded" })]));
    explanations.clear();
    expect(explanations.get("a")).to.equal(undefined);
    expect(explanations.secondsToNext(200)).to.equal(undefined);
    explanations.record("p", all([explained("a", 1)]));
    expect(explanations.take(200)).to.deep.equal(["team/a"]);
  });

  it("wake the loop that writes them", async () => {
    const clock = createManualClock();
    const explanations = new WaitReasonPublisher();
    const passed: string[] = [];
    const loop = new PublishLoop(explanations, clock, (keys) => passed.push(...keys));
    const ending = new AbortController();
    const running = loop.run(ending.signal);
    await clock.settle();
    explanations.record("p", all([explained("a", 1)]));
    loop.wake();
    await clock.settle();
    expect(passed).to.deep.equal(["team/a"]);
    explanations.record("p", all([explained("a", 2)]));
    loop.wake();
    await clock.advance(5);
    expect(passed).to.have.length(1);
    await clock.advance(6);
    expect(passed).to.have.length(2);
    ending.abort();
    await clock.settle();
    await running;
  });
});

describe("the explanations of one cycle", () => {
  const snapshot = aSnapshot({ queue: [aJob("seen"), aJob("started")] });
  const decision = {
    verdicts: [
      {
        kind: "wait" as const,
        jobId: "seen",
        reason: "InsufficientCapacity" as const,
        message: "m",
        position: 1,
      },
      { kind: "admit" as const, jobId: "started", attempt: 0, borrowing: false, placements: [] },
    ],
    order: [],
    wantsVictims: [],
    inVain: new Map(),
    requests: [],
  };
  const place = (id: string, position: number, isBackingOff = false) => ({
    id,
    key: `team/${id}`,
    position,
    isBackingOff,
  });

  it("give unexamined jobs their queue position", () => {
    const places = [
      place("first", 1),
      place("seen", 2),
      place("failed", 3, true),
      place("last", 4),
    ];
    const { explained: said, isComplete } = collectRound(snapshot, decision, places, false);
    expect(isComplete).to.equal(true);
    expect(said.map(({ jobId, reason, position }) => [jobId, reason, position])).to.deep.equal([
      ["seen", "InsufficientCapacity", 2],
      ["first", "Queued", 1],
      ["last", "Queued", 4],
    ]);
  });

  it("name jobs that wait no more, examined or not", () => {
    const round = collectRound(snapshot, decision, undefined, true);
    expect(round).to.deep.include({ settled: ["started"], isComplete: false });
  });
});
