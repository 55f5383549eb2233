import { expect } from "chai";
import { systemClock } from "../../../src/runtime/clock.ts";
import {
  type BudgetUse,
  type Candidate,
  EvictionProbe,
  type GangAnswer,
} from "../../../src/scheduler/eviction-probe.ts";

const signal = new AbortController().signal;

const candidate = (jobId: string): Candidate => ({ jobId, key: `team/${jobId}`, attempt: 1 });
const uses = (...of: readonly BudgetUse[]): GangAnswer => ({ rejectedBy: undefined, uses: of });
const ids = (candidates: readonly Candidate[]): string[] => candidates.map(({ jobId }) => jobId);

describe("eviction probe", () => {
  /** Has asked about all of these. */
  async function asked(answers: Readonly<Record<string, GangAnswer>>): Promise<EvictionProbe> {
    const probe = new EvictionProbe(
      (jobId) => Promise.resolve(answers[jobId] ?? uses()),
      systemClock,
    );
    await probe.ask(Object.keys(answers).map(candidate), signal);
    return probe;
  }

  it("admits evictions in order while every budget allows", async () => {
    const shared = { budget: "team/shared", pods: 1, allowed: 2 };
    const own = { budget: "team/own", pods: 3, allowed: 3 };
    const probe = await asked({
      a: uses(shared),
      b: uses(own, shared),
      c: uses(shared),
      d: uses(),
    });
    const { allowed, unknown } = probe.together(["a", "b", "c", "d"].map(candidate));
    expect(ids(allowed)).to.deep.equal(["a", "b", "d"]);
    expect(unknown).to.deep.equal([]);
    expect([...probe.rejections()]).to.deep.equal([
      ["c", { budget: "team/shared", isOverdue: false, attempt: 1 }],
    ]);
  });

  it("uses no budget for a gang that another budget blocks", async () => {
    const shared = { budget: "team/shared", pods: 1, allowed: 1 };
    const tight = { budget: "team/tight", pods: 2, allowed: 1 };
    const probe = await asked({ a: uses(shared, tight), b: uses(shared) });
    expect(ids(probe.together(["a", "b"].map(candidate)).allowed)).to.deep.equal(["b"]);
  });

  it("names the pods it has not asked about", async () => {
    const probe = await asked({ a: { rejectedBy: "team/guard", uses: [] }, b: uses() });
    const { allowed, unknown } = probe.together(["a", "b", "new"].map(candidate));
    expect([ids(allowed), ids(unknown)]).to.deep.equal([["b"], ["new"]]);
  });

  it("does not count a budget's allowance twice", async () => {
    const shared = { budget: "team/shared", pods: 1, allowed: 1 };
    const probe = await asked({ a: uses(shared), b: uses(shared), c: uses() });
    const [a, b, c] = ["a", "b", "c"].map(candidate) as [Candidate, Candidate, Candidate];
    expect(ids(probe.together([a]).allowed)).to.deep.equal(["a"]);
    probe.spend([a]);
    expect(ids(probe.together([b, c]).allowed)).to.deep.equal(["c"]);
    expect([...probe.rejections()]).to.deep.equal([
      ["b", { budget: "team/shared", isOverdue: false, attempt: 1 }],
    ]);
  });

  it("takes a refusal for an answer, which is good for a while", async () => {
    const probe = await asked({ a: { isRefused: true, rejectedBy: undefined, uses: [] } });
    expect(probe.together([candidate("a")])).to.deep.equal({ allowed: [], unknown: [] });
    expect([...probe.rejections()]).to.deep.equal([
      ["a", { budget: undefined, isOverdue: false, attempt: 1 }],
    ]);
  });

  it("counts how long a budget has blocked at every question", async () => {
    let seconds = 0;
    let answer: GangAnswer = { rejectedBy: "team/guard", uses: [] };
    const clock = { ...systemClock, monotonicSeconds: () => seconds };
    const probe = new EvictionProbe(() => Promise.resolve(answer), clock, 60);
    const ask = async (): Promise<boolean | undefined> => {
      await probe.ask([candidate("a")], signal);
      return probe.rejections().get("a")?.isOverdue;
    };
    for (; seconds < 60; seconds += 20) expect(await ask(), `${seconds} s`).to.equal(false);
    expect(await ask()).to.equal(true);
    const past = { ...candidate("a"), pastBudget: "team/guard" };
    expect(ids(probe.together([past]).allowed)).to.deep.equal(["a"]);
    answer = uses();
    seconds += 20;
    expect(await ask(), "it allows it").to.equal(undefined);
    answer = { rejectedBy: "team/guard", uses: [] };
    seconds += 20;
    expect(await ask(), "it begins anew").to.equal(false);
    seconds += 1000;
    expect(await ask(), "nobody has asked for long").to.equal(false);
  });
});
