import { expect } from "chai";
import type { OverQuotaJob } from "../../../src/domain/scheduling/entitlement.ts";
import { judgeCloses } from "../../../src/domain/scheduling/window-close.ts";
import type { QuotaCloses, ClosesInput } from "../../../src/domain/scheduling/window-close.ts";
import { decide } from "../../../src/domain/scheduling/decide.ts";
import type { WindowClose } from "../../../src/domain/window-schedule.ts";
import { WindowNotices } from "../../../src/scheduler/windows/notices.ts";
import { aQuota, aJob, aNode, aSnapshot } from "./support.ts";

const closedAt = 10_000;
const grace = 300;

const overQuota = (id: string, changes: Partial<OverQuotaJob> = {}): OverQuotaJob => ({
  id,
  key: `team/${id}`,
  attempt: 1,
  status: "running",
  admittedAtSeconds: closedAt - 1000,
  overQuota: ["c"],
  ...changes,
});

const office = (seconds: number): WindowClose => ({
  plan: "office",
  at: Temporal.Instant.fromEpochMilliseconds(closedAt * 1000).toZonedDateTimeISO("UTC"),
  atSecond: 64_800,
  seconds,
});

const closed = (nowSeconds: number): QuotaCloses => ({
  quotaId: "c",
  last: office(nowSeconds - closedAt),
});

function judge(
  nowSeconds: number,
  jobs: readonly OverQuotaJob[],
  changes: Partial<ClosesInput> = {},
): ReturnType<typeof judgeCloses> {
  return judgeCloses({
    nowSeconds,
    graceSeconds: grace,
    quotas: [closed(nowSeconds)],
    overQuota: jobs,
    noticedSince: () => closedAt - 900,
    ...changes,
  });
}

const evicted = (decision: ReturnType<typeof judgeCloses>): string[] =>
  decision.evictions.flatMap(({ jobs }) => jobs.map(({ id }) => id));

describe("evictions when a window closes", () => {
  it("warn before, naming plan, time and grace", () => {
    const close = office(600);
    const decision = judge(closedAt - 600, [], {
      quotas: [
        {
          quotaId: "c",
          next: { close, overQuota: [overQuota("a"), overQuota("b", { overQuota: ["d"] })] },
        },
      ],
    });
    expect(decision.notices.map(({ job, reason }) => [job.id, reason])).to.deep.equal([
      ["a", "WindowClosesSoon"],
    ]);
    expect(decision.notices[0]?.message).to.equal(
      "plan office closes Mon 18:00; the job is evicted 5 min later unless it has finished",
    );
    expect(evicted(decision)).to.deep.equal([]);
  });

  it("leave the grace period, and name the instant it ends", () => {
    const during = judge(closedAt + 100, [overQuota("a")]);
    expect(evicted(during)).to.deep.equal([]);
    expect(during.notices.map(({ reason }) => reason)).to.deep.equal(["WindowClosed"]);
    expect(during.nextInstantSeconds).to.equal(200);
    const after = judge(closedAt + grace, [overQuota("a")]);
    expect(evicted(after)).to.deep.equal(["a"]);
    expect(after.evictions[0]?.reason).to.match(
      /^plan office closed Mon 18:00; jobs over its quota are evicted/,
    );
  });

  it("spare jobs admitted after the close or over another quota", () => {
    const jobs = [
      overQuota("later", { admittedAtSeconds: closedAt }),
      overQuota("elsewhere", { overQuota: ["d"] }),
      overQuota("meant"),
    ];
    expect(evicted(judge(closedAt + grace, jobs))).to.deep.equal(["meant"]);
  });

  it("always leave a whole grace period after the notice", () => {
    const jobs = [overQuota("a")];
    const first = judge(closedAt + 5000, jobs, { noticedSince: () => undefined });
    expect(evicted(first)).to.deep.equal([]);
    expect(first.nextInstantSeconds).to.equal(grace);
    const then = judge(closedAt + 5000 + grace, jobs, { noticedSince: () => closedAt + 5000 });
    expect(evicted(then)).to.deep.equal(["a"]);
  });

  it("release reservations beyond the closed plan", () => {
    const decision = judge(closedAt + 1, [
      overQuota("h", { status: "reserved", admittedAtSeconds: undefined }),
    ]);
    expect(decision.releases.map(({ job }) => job.id)).to.deep.equal(["h"]);
    expect(decision.notices).to.deep.equal([]);
  });
});

describe("the notices of window closes", () => {
  it("are passed on once per attempt, with their time", () => {
    const notices = new WindowNotices();
    const notice = { job: overQuota("a"), reason: "WindowClosesSoon" as const, message: "soon" };
    expect(notices.replace("p", [notice], 10)).to.deep.equal(["team/a"]);
    expect(notices.replace("p", [notice], 20)).to.deep.equal([]);
    expect(notices.since("p", overQuota("a"))).to.equal(10);
    expect(notices.since("p", overQuota("a", { attempt: 2 }))).to.equal(undefined);
    expect(notices.replace("p", [{ ...notice, message: "closed" }], 30)).to.deep.equal(["team/a"]);
    expect(notices.since("p", overQuota("a"))).to.equal(10);
    // The plan changed, or the job is inside again: its status must not go on to warn.
    expect(notices.replace("p", [], 40)).to.deep.equal(["team/a"]);
    expect(notices.replace("p", [], 50)).to.deep.equal([]);
    expect(notices.get("p", "a")).to.equal(undefined);
  });

  it("begin anew with another term", () => {
    const notices = new WindowNotices();
    const notice = { job: overQuota("a"), reason: "WindowClosesSoon" as const, message: "soon" };
    notices.replace("p", [notice], 10);
    notices.clear();
    expect(notices.since("p", overQuota("a"))).to.equal(undefined);
    expect(notices.replace("p", [notice], 500)).to.deep.equal(["team/a"]);
    expect(notices.since("p", overQuota("a"))).to.equal(500);
  });
});

describe("a plan after an evicting close", () => {
  const shut = aQuota("c", 0, 0, { isShut: true, opensAtText: "plan office opens Mon 08:00" });
  const open = aSnapshot({
    nodes: [aNode("n1")],
    quotas: [shut],
    queue: [aJob("evicted", { quotas: ["c"] }), aJob("elsewhere")],
  });

  it("lets nothing start, borrowers included", () => {
    const [verdict, other] = decide(open).verdicts;
    expect(verdict).to.include({ kind: "wait", reason: "WindowClosed" });
    expect(verdict?.kind === "wait" && verdict.message).to.match(/^plan office opens Mon 08:00;/);
    expect(other).to.include({ kind: "admit" });
  });

  it("lets borrowers start with Finish", () => {
    const { isShut, ...finish } = shut;
    expect(isShut).to.equal(true);
    const [verdict] = decide({ ...open, quotas: [finish] }).verdicts;
    expect(verdict).to.include({ kind: "admit", borrowing: true });
  });
});
