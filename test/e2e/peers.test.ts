/**
 * What went wrong in other schedulers, named by their issue, on a real control plane. Each comment says which of our
 * mechanisms keeps it from happening here, and what the test shows without it. Each was seen red with this taken away:
 *
 * | failure           | taken away                                                                                    |
 * |-------------------|-----------------------------------------------------------------------------------------------|
 * | Kueue #407        | room per node: GangRoom sums it, the finder and the hold ask no node whether a pod fits       |
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
 * In test/unit/scheduling/preemption.property.test.ts "impossible" is held against brute force as well.
 */
import { expect } from "chai";
import type { Job, Pod } from "../../src/resources/types.ts";
import { checkInvariants } from "../support/invariants.ts";
import {
  type Installation,
  job,
  type JobOptions,
  plan,
  priorityClass,
  project,
  startInstallation,
  teamJobIs,
} from "../support/installation.ts";

const pat = { kind: "User", name: "pat" };
const sam = { kind: "User", name: "sam" };

describe("failures of peers", function () {
  let installation: Installation;
  let marks = 0;

  before(async () => {
    installation = await startInstallation();
    const { view } = installation;
    for (const object of [
      priorityClass("low", 10),
      priorityClass("middle", 100),
      priorityClass("high", 1000),
      project("team", { owner: pat }),
      project("other", { owner: sam }),
    ]) {
      await view.apply(object);
    }
    await installation.operate();
    await view.until("both projects to be ready", async () => {
      const all = await view.projects();
      return all.length === 2 && all.every(({ status }) => status.namespace !== undefined);
    });
  });

  after(async () => {
    await installation?.stop();
  });

  afterEach(() => checkInvariants(installation.view, installation.database.pool));

  const makePool = async (pool: string, nodes: number, quantities: readonly number[] = [100]) => {
    const { view, cluster } = installation;
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
  const submit = (
    name: string,
    pool: string,
    gpus: number,
    priorityClassName: string,
    { namespace = "team", ...options }: Partial<JobOptions> & { readonly namespace?: string } = {},
  ) => installation.view.apply(job(namespace, name, { pool, gpus, priorityClassName, ...options }));
  const stateOf = (name: string, ...states: string[]) => teamJobIs(installation, name, ...states);
  const otherIs = (name: string, state: string): Promise<Job> =>
    installation.view.until(`job other/${name} to be ${state}`, async () => {
      const found = await installation.view.job(`other/${name}`);
      return found.status.state === state && found;
    });
  const run = async (...[name, ...rest]: Parameters<typeof submit>): Promise<Job> => {
    await submit(name, ...rest);
    return stateOf(name, "Running");
  };
  const podsOfPool = async (pool: string): Promise<Pod[]> =>
    (await installation.view.pods()).filter(({ nodeName }) => nodeName.startsWith(`${pool}-`));
  const uidsOf = async (pool: string): Promise<string[]> =>
    (await podsOfPool(pool)).map(({ uid }) => uid).toSorted();
  const victimsIn = async (pool: string): Promise<string[]> => {
    const { rows } = await installation.database.pool.query<{ victim: string }>(
      `SELECT victim FROM preemption_victims JOIN preemptions ON id = preemption_id
       WHERE pool = $1 ORDER BY victim`,
      [pool],
    );
    return rows.map(({ victim }) => victim);
  };
  const explained = (name: string): Promise<Job> =>
    installation.view.until(`job ${name} to say why it waits`, async () => {
      const found = await installation.view.job(`team/${name}`);
      return found.status.queuePosition !== undefined && found;
    });
  /** The scheduler has decided on it, whatever that was. */
  const judged = (name: string): Promise<Job> =>
    installation.view.until(`a decision on job ${name}`, async () => {
      const found = await installation.view.job(`team/${name}`);
      const { state = "Pending", queuePosition } = found.status;
      return (state !== "Pending" || queuePosition !== undefined) && found;
    });
  /** A job of its own, which needs a node that is not there, is explained only by a later cycle. */
  const laterCycles = async (pool: string, count: number): Promise<void> => {
    for (let turn = 0; turn < count; turn += 1) {
      const name = `mark-${(marks += 1)}`;
      await submit(name, pool, 1, "low", {
        spec: { borrowing: "Never", maxRuntime: "1h" },
        parallelism: 900,
      });
      await explained(name);
      await installation.view.remove(job("team", name, { pool, gpus: 1 }));
    }
  };

  // Room is counted per node. Summed over nodes, the 8 movable GPUs look enough for 8.
  it("Kueue #407: eight jobs on four nodes are not killed for a job that still would not fit", async () => {
    await makePool("whole", 4);
    for (const node of [1, 2, 3, 4]) {
      await run(`whole-high-${node}`, "whole", 6, "high");
      await run(`whole-a-${node}`, "whole", 1, "low");
      await run(`whole-b-${node}`, "whole", 1, "low");
    }
    const before = await uidsOf("whole");
    expect(before).to.have.lengthOf(12);
    await submit("whole-big", "whole", 8, "middle");
    await judged("whole-big");
    await laterCycles("whole", 1);
    expect(await victimsIn("whole")).to.deep.equal([]);
    expect(await uidsOf("whole")).to.deep.equal(before);
    const waiting = await explained("whole-big");
    expect(waiting.status.message).to.match(/needs 8 GPUs on one node/);
  });

  // Evicting jobs keep their allocations, and a node's room knows what is leaving it (`leaving` in the snapshot).
  // Without the latter the second job does not see that space is on its way, and evicts a second victim.
  it("Kueue #6143, #6489: pods that are terminating count once, over many cycles", async () => {
    await makePool("leaving", 2);
    // Longer than all that follows takes on a slow machine: once it has left, it starts again.
    const slow = { annotations: { "rota.dev/simulate-termination-seconds": "20" } };
    await run("leaving-a", "leaving", 8, "low", slow);
    await run("leaving-b", "leaving", 8, "low", slow);
    await submit("leaving-high", "leaving", 8, "high");
    await stateOf("leaving-high", "Reserved");
    // One that was not asked to leave yet would run on when its preemptor is gone.
    await installation.view.until("the victim to be terminating", async () =>
      (await installation.view.pods()).some(({ deleting }) => deleting),
    );
    await laterCycles("leaving", 3);
    expect(await victimsIn("leaving")).to.have.lengthOf(1);
    const { rows } = await installation.database.pool.query(
      "SELECT gpus_committed FROM nodes WHERE pool = 'leaving'",
    );
    expect(rows).to.deep.equal([{ gpus_committed: 8 }, { gpus_committed: 8 }]);
    await installation.view.remove(job("team", "leaving-high", { pool: "leaving", gpus: 8 }));
    // As long as the queue does not know that it is gone, the space is kept for it.
    await installation.view.until("leaving-high to be cancelled", async () => {
      const found = await installation.database.pool.query(
        "SELECT FROM jobs WHERE name = 'leaving-high' AND status = 'cancelled'",
      );
      return found.rows.length === 1;
    });
    await run("leaving-next", "leaving", 8, "high");
    expect(await victimsIn("leaving")).to.have.lengthOf(1);
  });

  // A borrower may evict only borrowers of lower priority, whatever its own: without that rule (here and in the finder)
  // the victim, of the higher priority, evicts its preemptor, is evicted again, and so on.
  it("Kueue PR 13797, #6861: a victim does not evict its preemptor back", async () => {
    await makePool("back", 1, [8, 0]);
    await submit("back-guest", "back", 8, "high", { namespace: "other" });
    await otherIs("back-guest", "Running");
    await run("back-host", "back", 8, "low");
    const guest = await otherIs("back-guest", "Evicted");
    expect(guest.status.message).to.match(/^evicted: a job of another project \(priority/);
    await laterCycles("back", 3);
    expect(await victimsIn("back")).to.deep.equal(["other/back-guest"]);
    expect((await installation.view.job("team/back-host")).status.attempt).to.equal(1);
  });

  // The set is optimal on one node: greed alone, the youngest first as preference goes, takes the eight small ones.
  it("Volcano #5984: where one victim is enough, one is evicted", async () => {
    await makePool("one", 2);
    await run("one-large", "one", 8, "low");
    for (let index = 0; index < 8; index += 1) await run(`one-small-${index}`, "one", 1, "low");
    await run("one-urgent", "one", 8, "high");
    expect(await victimsIn("one")).to.deep.equal(["team/one-large"]);
  });

  // Reclaim takes only what is past the lender's plan. The plans grant more than there is, so that both owners may run
  // more than they get: without that rule both take the same GPUs from each other for ever.
  it("Volcano #4947, #3729: reclaim comes to an end when the lender is at what its plan grants", async () => {
    await makePool("cycle", 1, [6, 6]);
    for (let index = 0; index < 8; index += 1) await run(`cycle-${index}`, "cycle", 1, "low");
    for (let index = 0; index < 6; index += 1)
      await submit(`cycle-${index}`, "cycle", 1, "low", { namespace: "other" });
    // Queue times are whole seconds, so that nobody knows which of six come first.
    await installation.view.until("jobs of the other owner to run", async () => {
      const all = await installation.view.jobs();
      const running = all.filter(
        ({ namespace, status }) => namespace === "other" && status.state === "Running",
      );
      return running.filter(({ name }) => name.startsWith("cycle-")).length >= 2;
    });
    await laterCycles("cycle", 3);
    const victims = await victimsIn("cycle");
    expect(victims).to.have.lengthOf(2);
    expect(victims.every((victim) => victim.startsWith("team/"))).to.equal(true);
    const byTeam = Map.groupBy(await podsOfPool("cycle"), ({ namespace }) => namespace);
    expect([byTeam.get("team")?.length, byTeam.get("other")?.length]).to.deep.equal([6, 2]);
  });

  // Victims are chosen for a placement of the whole gang in all dimensions, node filters included: victims that do
  // not let the preemptor start are never evicted.
  it("Volcano #5011: nobody is evicted for a job that cannot start even then", async () => {
    await makePool("vain", 2);
    await run("vain-a", "vain", 8, "low");
    await run("vain-b", "vain", 8, "high");
    const before = await uidsOf("vain");
    await submit("vain-picky", "vain", 8, "middle", { parallelism: 2 });
    await judged("vain-picky");
    await laterCycles("vain", 1);
    expect(await victimsIn("vain")).to.deep.equal([]);
    const waiting = await explained("vain-picky");
    expect(waiting.status.message).to.match(
      /preempting every eligible job would not free enough capacity/,
    );
    expect(await uidsOf("vain")).to.deep.equal(before);
  });

  // The freed space belongs to the preemptor's hold. Without holds the small jobs, which fit as soon as the first
  // victim's pod is gone, start there before the last has left.
  it("scheduler-plugins #443: the space its victims free is not taken by others", async () => {
    await makePool("hold", 1);
    await run("hold-quick", "hold", 4, "low");
    await run("hold-slow", "hold", 4, "low", {
      annotations: { "rota.dev/simulate-termination-seconds": "4" },
    });
    await submit("hold-urgent", "hold", 8, "middle");
    await stateOf("hold-urgent", "Reserved");
    await stateOf("hold-quick", "Evicted");
    // Of the same priority and later, and of a higher one that need not evict: 4 GPUs are free by now.
    await submit("hold-thief", "hold", 2, "middle");
    const thief = await explained("hold-thief");
    expect(thief.status.message).to.match(/reserved for team\/hold-urgent/);
    await stateOf("hold-urgent", "Running");
    expect((await installation.view.job("team/hold-thief")).status.attempt ?? 0).to.equal(0);
  });

  // `evicted` is a state of the queue, with the old queue time: without it the job is a new one at the end, or lost.
  it("Armada #4340: what was preempted waits with its old place and runs again", async () => {
    await makePool("again", 1);
    const first = await run("again-first", "again", 8, "low");
    // Queue times are whole seconds: in the same one, either could be the first.
    await installation.view.until("a later queue time", () =>
      Promise.resolve(Date.now() >= Date.parse(first.status.queuedAt ?? "") + 1000),
    );
    await submit("again-second", "again", 8, "low");
    await explained("again-second");
    await run("again-urgent", "again", 8, "high", {
      annotations: { "rota.dev/simulate-run-seconds": "2" },
    });
    const waiting = await stateOf("again-first", "Evicted");
    expect(waiting.status.queuedAt).to.equal(first.status.queuedAt);
    const back = await stateOf("again-first", "Running");
    expect(back.status.attempt).to.equal(2);
    expect((await installation.view.job("team/again-second")).status.state).to.equal("Pending");
  });

  // The claim reads states, not serial numbers greater than the last one seen: a row that others hold, or commit late,
  // is passed over and found again. With a claim of only what was written after the last start, it waits for ever.
  it("Armada #5111: a row that could not be seen in time is not missed", async () => {
    await makePool("late", 1);
    const keeper = await installation.database.pool.connect();
    try {
      await submit("late-filler", "late", 8, "low");
      await stateOf("late-filler", "Running");
      await submit("late-first", "late", 1, "low");
      await explained("late-first");
      await keeper.query("BEGIN");
      await keeper.query("SELECT FROM jobs WHERE name = 'late-first' FOR UPDATE");
      await installation.view.remove(job("team", "late-filler", { pool: "late", gpus: 8 }));
      await run("late-second", "late", 1, "low");
      expect((await installation.view.job("team/late-first")).status.state).to.equal("Pending");
    } finally {
      await keeper.query("ROLLBACK");
      keeper.release();
    }
    await submit("late-third", "late", 1, "low");
    await stateOf("late-first", "Running");
  });

  // Only jobs past the plan are reclaimed. Without it the borrower's owner, who has 8 and is granted 4, loses 6.
  it("YuniKorn core#660: nobody is taken below what the plan grants by a job of no higher priority", async () => {
    await makePool("floor", 1, [4, 6]);
    for (let index = 0; index < 8; index += 1) await run(`floor-${index}`, "floor", 1, "low");
    await submit("floor-big", "floor", 6, "low", { namespace: "other" });
    await installation.view.until("the job to say why it waits", async () => {
      const { status } = await installation.view.job("other/floor-big");
      return status.queuePosition !== undefined;
    });
    await laterCycles("floor", 2);
    expect(await victimsIn("floor")).to.deep.equal([]);
    await submit("floor-small", "floor", 4, "low", { namespace: "other" });
    await installation.view.remove(job("other", "floor-big", { pool: "floor", gpus: 6 }));
    await otherIs("floor-small", "Running");
    expect(await victimsIn("floor")).to.have.lengthOf(4);
    expect(
      (await podsOfPool("floor")).filter(({ namespace }) => namespace === "team").length,
    ).to.equal(4);
  });

  // Borrowers use nothing of a plan's quantity, or the parent's plan would be used up by what one team borrowed.
  it("YuniKorn core#660: a team gets back what its plan grants though a sibling borrowed all of their parent's", async () => {
    const { view } = installation;
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
    const runs = (name: string) =>
      view.until(
        `job ${name} to run`,
        async () => (await view.job(name)).status.state === "Running",
      );
    for (let index = 0; index < 4; index += 1) {
      await submit(`takes-${index}`, "siblings", 2, "low", { namespace: "org-a" });
      await runs(`org-a/takes-${index}`);
    }
    await submit("wants", "siblings", 2, "low", { namespace: "org-b" });
    await runs("org-b/wants");
    expect(await victimsIn("siblings")).to.deep.equal(["org-a/takes-3"]);
  });
});
