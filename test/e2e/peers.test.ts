/**
 * What went wrong in other schedulers, named by their issue, on a real control plane. Each comment says which of our
 * mechanisms keeps it from happening here, and what the test shows without it. Each was seen red with this taken away:
 *
 * | failure           | taken away                                                                                    |
 * |-------------------|-----------------------------------------------------------------------------------------------|
 * | Kueue #407        | room per node: GangRoom sums it, the finder and the reservation ask no node whether a pod fits       |
 * | Kueue #6143       | what is known to be leaving                                                                   |
 * | Kueue #6861       | borrowers evict only borrowers                                                                |
 * | Volcano #5984     | the optimum on one node: greed alone                                                          |
 * | Volcano #4947     | reclaim takes only borrowers (in reclaim() and in the finder)                                 |
 * | Volcano #5011     | isPossible in front of the search, and the check in #hold                                     |
 * | s.-plugins #443   | room kept on nodes                                                                            |
 * | Armada #4340      | victims wait again: they end                                                                  |
 * | Armada #5111      | the claim reads states: only rows newer than the last start                                   |
 * | YuniKorn core#660 | plans: they grant nothing; siblings: borrowers count as usage of a plan                       |
 *
 * Failures of one decision or one statement are tested where these are:
 *
 * | failure      | test                                | seen red with                                              |
 * |--------------|-------------------------------------|------------------------------------------------------------|
 * | KAI #1750    | test/unit/scheduling/upstream-bugs.test.ts  | the first 100 candidates only                              |
 * | Armada #4321 | test/integration/audit.test.ts      | a start that reads by status, not by active_project_id     |
 * | Slurm        | test/unit/domain/windows.test.ts    | seconds of the week counted with the offset of winter time |
 *
 * In test/unit/scheduling/preemption.property.test.ts "impossible" is compared with brute force as well.
 */
import { expect } from "chai";
import type { Job } from "../../src/resources/types.ts";
import { owner as pat, plan, priorityClass, project } from "../support/installation.ts";
import { uidsOf, useTeam } from "../support/team.ts";

const sam = { kind: "User", name: "sam" };

describe("other schedulers' bugs on a cluster", function () {
  const team = useTeam({
    objects: [priorityClass("middle", 100), project("other", { owner: sam })],
  });
  const { submit, run, stateOf, podsIn } = team;
  let marks = 0;

  before(() => team.ready("other"));
  afterEach(team.checkInvariants);

  /** The plans are in force: one of the team's owner, then one of the other's. */
  const makePool = async (pool: string, nodes: number, quantities: readonly number[] = [100]) => {
    const { view, cluster } = team;
    for (const [index, quantity] of quantities.entries()) {
      const owner = index === 0 ? pat : sam;
      await view.apply(plan(`${pool}-of-${owner.name}`, { owner, pool, quantity }));
    }
    await cluster.addNodes({ count: nodes, gpus: 8, pool, namePrefix: `${pool}-` });
    await view.until("the plans to be in force", async () => {
      const plans = (await view.plans()).filter(({ name }) => name.startsWith(`${pool}-of-`));
      return plans.every(({ status }) => status.acceptedGeneration !== undefined);
    });
  };
  const uidsIn = async (pool: string): Promise<string[]> => uidsOf(await podsIn(pool));
  const victimsIn = async (pool: string): Promise<string[]> => {
    const { rows } = await team.database.pool.query<{ victim: string }>(
      `SELECT victim FROM preemption_victims JOIN preemptions ON id = preemption_id
       WHERE pool = $1 ORDER BY victim`,
      [pool],
    );
    return rows.map(({ victim }) => victim);
  };
  /** The scheduler has decided on it, whatever that was. */
  const judged = (name: string): Promise<Job> =>
    team.until(name, "be decided on", ({ status }) => {
      return (status.state ?? "Pending") !== "Pending" || status.queuePosition !== undefined;
    });
  /** A job of its own, which needs a node that is not there, is explained only by a later cycle. */
  const laterCycles = async (pool: string, count: number): Promise<void> => {
    for (let turn = 0; turn < count; turn += 1) {
      const name = `mark-${(marks += 1)}`;
      await submit(name, {
        pool,
        spec: { borrowing: "Never", maxRuntime: "1h" },
        parallelism: 900,
      });
      await team.waits(name);
      await team.cancel(name);
    }
  };

  // Room is counted per node. Summed over nodes, the 8 movable GPUs look enough for 8.
  it("Kueue #407: a job without a fit evicts nobody", async () => {
    await makePool("whole", 4);
    for (const node of [1, 2, 3, 4]) {
      await run(`whole-high-${node}`, { pool: "whole", gpus: 6, priorityClassName: "high" });
      await run(`whole-a-${node}`, { pool: "whole" });
      await run(`whole-b-${node}`, { pool: "whole" });
    }
    const before = await uidsIn("whole");
    expect(before).to.have.lengthOf(12);
    await submit("whole-big", { pool: "whole", gpus: 8, priorityClassName: "middle" });
    await judged("whole-big");
    await laterCycles("whole", 1);
    expect(await victimsIn("whole")).to.deep.equal([]);
    expect(await uidsIn("whole")).to.deep.equal(before);
    const waiting = await team.waits("whole-big");
    expect(waiting.status.message).to.match(/needs 8 GPUs on one node/);
  });

  // Evicting jobs keep their allocations, and a node's room knows what is leaving it (`leaving` in the snapshot).
  // Without the latter the second job does not see that space is on its way, and evicts a second victim.
  it("Kueue #6143, #6489: terminating pods count once", async () => {
    await makePool("leaving", 2);
    const slow = { annotations: { "rota.dev/simulate-termination-seconds": "3600" } };
    await run("leaving-a", { pool: "leaving", gpus: 8, ...slow });
    await run("leaving-b", { pool: "leaving", gpus: 8, ...slow });
    await submit("leaving-high", { pool: "leaving", gpus: 8, priorityClassName: "high" });
    await stateOf("leaving-high", "Reserved");
    // One that was not asked to leave yet would run on when its preemptor is gone.
    await team.view.until("the victim to be terminating", async () =>
      (await team.view.pods()).some(({ deleting }) => deleting),
    );
    await laterCycles("leaving", 3);
    expect(await victimsIn("leaving")).to.have.lengthOf(1);
    const { rows } = await team.database.pool.query(
      "SELECT gpus_committed FROM nodes WHERE pool = 'leaving'",
    );
    expect(rows).to.deep.equal([{ gpus_committed: 8 }, { gpus_committed: 8 }]);
    await team.cancel("leaving-high");
    // As long as the queue does not know that it is gone, the space is kept for it.
    await team.view.until("leaving-high to be cancelled", async () => {
      const found = await team.database.pool.query(
        "SELECT FROM jobs WHERE name = 'leaving-high' AND status = 'cancelled'",
      );
      return found.rows.length === 1;
    });
    await submit("leaving-next", { pool: "leaving", gpus: 8, priorityClassName: "high" });
    await team.waits("leaving-next");
    await team.letGo((await victimsIn("leaving"))[0] ?? "");
    await stateOf("leaving-next", "Running");
    expect(await victimsIn("leaving")).to.have.lengthOf(1);
  });

  // A borrower may evict only borrowers of lower priority, whatever its own: without that rule (here and in the finder)
  // the victim, of the higher priority, evicts its preemptor, is evicted again, and so on.
  it("Kueue #6861, PR 13797: a victim does not evict back", async () => {
    await makePool("back", 1, [8, 0]);
    await run("other/back-guest", { pool: "back", gpus: 8, priorityClassName: "high" });
    await run("back-host", { pool: "back", gpus: 8 });
    const guest = await stateOf("other/back-guest", "Evicted");
    expect(guest.status.message).to.match(
      /\. Evicted by a job of another project \(BorrowerReclaimed\)$/,
    );
    await laterCycles("back", 3);
    expect(await victimsIn("back")).to.deep.equal(["other/back-guest"]);
    expect((await team.job("back-host")).status.attempt).to.equal(1);
  });

  // The set is optimal on one node: greed alone, the youngest first as preference goes, takes the eight small ones.
  it("Volcano #5984: where one victim is enough, one is evicted", async () => {
    await makePool("one", 2);
    await run("one-large", { pool: "one", gpus: 8 });
    for (let index = 0; index < 8; index += 1) await run(`one-small-${index}`, { pool: "one" });
    await run("one-urgent", { pool: "one", gpus: 8, priorityClassName: "high" });
    expect(await victimsIn("one")).to.deep.equal(["team/one-large"]);
  });

  // Reclaim takes only what is past the lender's plan. The plans grant more than there is, so that both owners may run
  // more than they get: without that rule both take the same GPUs from each other for ever.
  it("Volcano #4947, #3729: reclaim ends at the lender's quota", async () => {
    await makePool("cycle", 1, [6, 6]);
    for (let index = 0; index < 8; index += 1) await run(`cycle-${index}`, { pool: "cycle" });
    for (let index = 0; index < 6; index += 1)
      await submit(`other/cycle-${index}`, { pool: "cycle" });
    // Queue times are whole seconds, so that nobody knows which of six come first.
    await team.view.until("jobs of the other owner to run", async () => {
      const all = await team.view.jobs();
      const running = all.filter(
        ({ namespace, status }) => namespace === "other" && status.state === "Running",
      );
      return running.filter(({ name }) => name.startsWith("cycle-")).length >= 2;
    });
    await laterCycles("cycle", 3);
    const victims = await victimsIn("cycle");
    expect(victims).to.have.lengthOf(2);
    expect(victims.every((victim) => victim.startsWith("team/"))).to.equal(true);
    const byTeam = Map.groupBy(await podsIn("cycle"), ({ namespace }) => namespace);
    expect([byTeam.get("team")?.length, byTeam.get("other")?.length]).to.deep.equal([6, 2]);
  });

  // Victims are chosen for a placement of the whole gang in all dimensions, node filters included: victims that do
  // not let the preemptor start are never evicted.
  it("Volcano #5011: a job that cannot start evicts nobody", async () => {
    await makePool("vain", 2);
    await run("vain-a", { pool: "vain", gpus: 8 });
    await run("vain-b", { pool: "vain", gpus: 8, priorityClassName: "high" });
    const before = await uidsIn("vain");
    await submit("vain-picky", {
      pool: "vain",
      gpus: 8,
      priorityClassName: "middle",
      parallelism: 2,
    });
    await judged("vain-picky");
    await laterCycles("vain", 1);
    expect(await victimsIn("vain")).to.deep.equal([]);
    const waiting = await team.waits("vain-picky");
    expect(waiting.status.message).to.match(
      /preempting every eligible job would not free enough capacity/,
    );
    expect(await uidsIn("vain")).to.deep.equal(before);
  });

  // The freed capacity is reserved for the preemptor. Without it the small jobs, which fit as soon as the first
  // victim's pod is gone, start there before the last has left.
  it("scheduler-plugins #443: nobody takes the capacity that victims free", async () => {
    await makePool("reserved", 1);
    await run("reserved-quick", { pool: "reserved", gpus: 4 });
    await run("reserved-slow", {
      pool: "reserved",
      gpus: 4,
      annotations: { "rota.dev/simulate-termination-seconds": "3600" },
    });
    await submit("reserved-urgent", { pool: "reserved", gpus: 8, priorityClassName: "middle" });
    await stateOf("reserved-urgent", "Reserved");
    await stateOf("reserved-quick", "Evicted");
    // Of the same priority and later, and of a higher one that need not evict: 4 GPUs are free by now.
    await submit("reserved-thief", { pool: "reserved", gpus: 2, priorityClassName: "middle" });
    const thief = await team.waits("reserved-thief");
    expect(thief.status.message).to.match(/reserved for team\/reserved-urgent/);
    await team.letGo("reserved-slow");
    await stateOf("reserved-urgent", "Running");
    expect((await team.job("reserved-thief")).status.attempt ?? 0).to.equal(0);
  });

  // `evicted` is a state of the queue, with the old queue time: without it the job is a new one at the end, or lost.
  it("Armada #4340: a victim keeps its position and runs again", async () => {
    await makePool("again", 1);
    const first = await run("again-first", { pool: "again", gpus: 8 });
    // Queue times are whole seconds: in the same one, either could be the first.
    await team.view.until("a later queue time", () =>
      Promise.resolve(Date.now() >= Date.parse(first.status.queuedAt ?? "") + 1000),
    );
    await submit("again-second", { pool: "again", gpus: 8 });
    await team.waits("again-second");
    await run("again-urgent", { pool: "again", gpus: 8, priorityClassName: "high" });
    const waiting = await stateOf("again-first", "Evicted");
    expect(waiting.status.queuedAt).to.equal(first.status.queuedAt);
    await team.annotate("again-urgent-1-0", { "rota.dev/simulate-run-seconds": "0" });
    const back = await stateOf("again-first", "Running");
    expect(back.status.attempt).to.equal(2);
    expect((await team.job("again-second")).status.state).to.equal("Pending");
  });

  // The claim reads states, not serial numbers greater than the last one seen: a row that others hold, or commit late,
  // is passed over and found again. With a claim of only what was written after the last start, it waits for ever.
  it("Armada #5111: a row that was locked is not missed", async () => {
    await makePool("late", 1);
    const keeper = await team.database.pool.connect();
    try {
      await run("late-filler", { pool: "late", gpus: 8 });
      await submit("late-first", { pool: "late" });
      await team.waits("late-first");
      await keeper.query("BEGIN");
      await keeper.query("SELECT FROM jobs WHERE name = 'late-first' FOR UPDATE");
      await team.cancel("late-filler");
      await run("late-second", { pool: "late" });
      expect((await team.job("late-first")).status.state).to.equal("Pending");
    } finally {
      await keeper.query("ROLLBACK");
      keeper.release();
    }
    await submit("late-third", { pool: "late" });
    await stateOf("late-first", "Running");
  });

  // Only jobs past the plan are reclaimed. Without it the borrower's owner, who has 8 and is granted 4, loses 6.
  it("YuniKorn core#660: quota is not reclaimed at equal priority", async () => {
    await makePool("floor", 1, [4, 6]);
    for (let index = 0; index < 8; index += 1) await run(`floor-${index}`, { pool: "floor" });
    await submit("other/floor-big", { pool: "floor", gpus: 6 });
    await team.waits("other/floor-big");
    await laterCycles("floor", 2);
    expect(await victimsIn("floor")).to.deep.equal([]);
    await submit("other/floor-small", { pool: "floor", gpus: 4 });
    await team.cancel("other/floor-big");
    await stateOf("other/floor-small", "Running");
    expect(await victimsIn("floor")).to.have.lengthOf(4);
    expect((await podsIn("floor")).filter(({ namespace }) => namespace === "team").length).to.equal(
      4,
    );
  });

  // Borrowers use nothing of a plan's quantity, or the parent's plan would be used up by what one team borrowed.
  it("YuniKorn core#660: a team reclaims its quota from a sibling", async () => {
    const { view } = team;
    const owners = {
      org: { kind: "Group", name: "org" },
      "org-a": { kind: "User", name: "ann" },
      "org-b": { kind: "User", name: "bob" },
    };
    for (const [name, owner] of Object.entries(owners)) {
      const parent = name === "org" ? {} : { parent: "org" };
      await view.apply(project(name, { owner, ...parent }));
      const quantity = name === "org" ? 8 : 4;
      await view.apply(plan(`siblings-of-${name}`, { owner, pool: "siblings", quantity }));
    }
    await makePool("siblings", 1, []);
    await view.until("the projects to be ready", async () => {
      const ready = (await view.projects()).filter(({ status }) => status.namespace !== undefined);
      return ready.filter(({ name }) => name in owners).length === 3;
    });
    for (let index = 0; index < 4; index += 1) {
      await run(`org-a/takes-${index}`, { pool: "siblings", gpus: 2 });
    }
    // Its own plan is used up: it keeps nothing of the parent's for itself, or its team would never give back.
    await submit("org-a/backlog", { pool: "siblings", gpus: 2 });
    await judged("org-a/backlog");
    await run("org-b/wants", { pool: "siblings", gpus: 2 });
    expect(await victimsIn("siblings")).to.deep.equal(["org-a/takes-3"]);
  });
});
