/**
 * PodDisruptionBudgets: shared by several who are to leave, closed between a decision and its evictions, in the way at a
 * window's close.
 */
import { expect } from "chai";
import type { Condition } from "../../src/api/conditions.ts";
import type { Job, Pod } from "../../src/resources/types.ts";
import { closes, closingSoon, type ClosingWindow } from "../support/closing-window.ts";
import { checkInvariants } from "../support/invariants.ts";
import {
  applyTeam,
  type Installation,
  job,
  type JobOptions,
  owner,
  plan,
  startInstallation,
  teamIsReady,
  teamJobIs,
} from "../support/installation.ts";

const budgets = "/apis/policy/v1/namespaces/team/poddisruptionbudgets";
const graceSeconds = 4;
/** What is set up before the close takes some seconds, more on a busy machine. */
const minMilliseconds = 60_000;

describe("disruption budgets", function () {
  let installation: Installation;

  const operate = (env: Readonly<Record<string, string>> = {}) =>
    installation.operate({
      ROTA_WINDOW_WARNING_SECONDS: "7200",
      ROTA_WINDOW_GRACE_SECONDS: String(graceSeconds),
      ROTA_AVOID_NODE_SECONDS: "0",
      ...env,
    });

  before(async () => {
    installation = await startInstallation();
    await applyTeam(installation);
    await operate();
    await teamIsReady(installation);
  });

  after(async () => {
    await installation?.stop();
  });

  afterEach(() => checkInvariants(installation.view, installation.database.pool));

  /** A pool of its own for each test, with a node and a plan that grants all of it. */
  async function makePool(pool: string, spec: Readonly<Record<string, unknown>> = {}) {
    await installation.view.apply(plan(`all-of-${pool}`, { owner, pool, ...spec }));
    await installation.cluster.addNodes({ count: 1, gpus: 8, pool, namePrefix: `${pool}-` });
  }
  const submit = (
    name: string,
    pool: string,
    gpus: number,
    priorityClassName: string,
    options: Partial<JobOptions> = {},
  ) => installation.view.apply(job("team", name, { pool, gpus, priorityClassName, ...options }));
  const stateOf = (name: string, ...states: string[]) => teamJobIs(installation, name, ...states);
  async function run(...asked: Parameters<typeof submit>): Promise<void> {
    await submit(...asked);
    await stateOf(asked[0], "Running");
  }
  const until = (name: string, what: string, is: (found: Job) => boolean): Promise<Job> =>
    installation.view.until(`${name} to ${what}`, async () => {
      const found = await installation.view.job(`team/${name}`);
      return is(found) && found;
    });
  const untilReason = (name: string, reason: string): Promise<Job> =>
    until(name, `say ${reason}`, ({ status }) => status.reason === reason);
  const podsOfJob = async (name: string): Promise<Pod[]> =>
    (await installation.view.pods()).filter(({ jobKey }) => jobKey === `team/${name}`);
  const uidsOfJob = async (name: string): Promise<string[]> =>
    (await podsOfJob(name)).map(({ uid }) => uid).toSorted();

  /** What the preemption log says became of the decisions to evict the job, and of the job. */
  async function decisionsAbout(name: string): Promise<readonly object[]> {
    const { rows } = await installation.database.pool.query(
      `SELECT preemption.outcome, victim.outcome AS of_victim
       FROM preemptions AS preemption JOIN preemption_victims AS victim ON preemption_id = id
       WHERE victim = $1 ORDER BY decided_at`,
      [`team/${name}`],
    );
    return rows;
  }

  /** So many pods of these jobs must stay. Fulfils when the budget counts that many healthy ones. */
  async function protect(
    budget: string,
    jobs: readonly string[],
    healthy: number,
    minAvailable = 1,
  ): Promise<void> {
    const { client } = installation.view;
    await client.raw("POST", budgets, {
      apiVersion: "policy/v1",
      kind: "PodDisruptionBudget",
      metadata: { name: budget },
      spec: {
        minAvailable,
        selector: { matchExpressions: [{ key: "rota.dev/job", operator: "In", values: jobs }] },
      },
    });
    await installation.view.until(`budget ${budget} to be known`, async () => {
      const found = (await client.raw("GET", `${budgets}/${budget}`)) as {
        status?: { currentHealthy?: number };
      };
      return found.status?.currentHealthy === healthy;
    });
  }
  const unprotect = (budget: string) =>
    installation.view.client.raw("DELETE", `${budgets}/${budget}`);

  /** Kills the operator between the decision to evict for `${name}-high` and the evictions, and makes a budget meanwhile. */
  async function decideThenProtect(
    name: string,
    healthy: number,
    env: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    await installation.stopOperators();
    const crashing = await operate({ ...env, ROTA_CRASH_POINT: "preemption-committed" });
    await submit(`${name}-high`, name, 8, "high");
    expect(await crashing.ended).to.equal("SIGKILL");
    await protect(`keep-${name}`, [name], healthy);
    await operate();
  }

  // Each of the two dry runs is allowed.
  it("of jobs that share a budget no more are evicted than it lets go", async () => {
    const names = ["shared-a", "shared-b"];
    await makePool("shared");
    for (const name of names) await run(name, "shared", 4, "low");
    await protect("keep-either", names, 2);
    const before = await Promise.all(names.map(uidsOfJob));
    await submit("shared-high", "shared", 8, "high");
    const waiting = await untilReason("shared-high", "BlockedByDisruptionBudget");
    expect(waiting.status.message).to.match(/protected by PodDisruptionBudget team\/keep-either$/);
    expect(await Promise.all(names.map(uidsOfJob))).to.deep.equal(before);
    await installation.view.remove(job("team", "shared-high", { pool: "shared", gpus: 8 }));
    await run("shared-small", "shared", 4, "high");
    const left = await Promise.all(names.map(podsOfJob));
    expect(left.flat()).to.have.lengthOf(1);
  });

  it("a pod under several budgets, which Kubernetes never evicts, counts as protected by them", async () => {
    await makePool("several");
    await run("several", "several", 8, "low");
    await protect("one", ["several"], 1);
    await protect("other", ["several"], 1);
    const before = await uidsOfJob("several");
    await submit("several-high", "several", 8, "high");
    const waiting = await untilReason("several-high", "BlockedByDisruptionBudget");
    expect(waiting.status.message).to.match(
      /protected by PodDisruptionBudget team\/one, team\/other \(Kubernetes evicts no pod under several\)$/,
    );
    expect(await uidsOfJob("several")).to.deep.equal(before);
    await unprotect("one");
    await unprotect("other");
    await stateOf("several-high", "Running");
  });

  it("an eviction that a new budget holds up says so, and goes on as soon as it may", async () => {
    await makePool("late");
    await run("late", "late", 8, "low");
    await decideThenProtect("late", 1);
    const reserved = await untilReason("late", "EvictionBlocked");
    expect(reserved.status).to.include({ state: "Evicting", attempt: 1 });
    expect(reserved.status.message).to.match(
      /^team\/late-high .*; held up by PodDisruptionBudget team\/keep-late, and asked for again until it allows$/,
    );
    await stateOf("late-high", "Reserved");
    await unprotect("keep-late");
    await stateOf("late", "Evicted");
    await stateOf("late-high", "Running");
  });

  it("a gang of which a new budget lets only a part go stays whole; once it is broken it leaves whole", async () => {
    const { view } = installation;
    await makePool("gang");
    await run("gang", "gang", 4, "low", { parallelism: 2 });
    const before = await uidsOfJob("gang");
    await decideThenProtect("gang", 2);
    const reserved = await untilReason("gang", "EvictionBlocked");
    expect(reserved.status.message).to.include("PodDisruptionBudget team/keep-gang");
    expect(await uidsOfJob("gang")).to.deep.equal(before);

    // Half a gang is of no use to anybody, and would keep its node until the other half may go.
    const [pod] = await podsOfJob("gang");
    await view.client.raw("DELETE", `/api/v1/namespaces/team/pods/${pod?.name ?? ""}`);
    await stateOf("gang", "Evicted");
    await stateOf("gang-high", "Running");
    expect(await podsOfJob("gang")).to.deep.equal([]);
  });

  it("a victim that a budget keeps until its preemptor gives up runs on untouched, and may be chosen again", async () => {
    await makePool("spared");
    await run("spared", "spared", 8, "low");
    const before = await uidsOfJob("spared");
    await decideThenProtect("spared", 1, { ROTA_RESERVATION_SECONDS: "10" });
    const running = await stateOf("spared", "Running");
    expect(running.status.attempt).to.equal(1);
    expect(await uidsOfJob("spared")).to.deep.equal(before);
    const waiting = await untilReason("spared-high", "BlockedByDisruptionBudget");
    expect(waiting.status.message).to.include("PodDisruptionBudget team/keep-spared");

    await unprotect("keep-spared");
    await stateOf("spared-high", "Running");
    expect((await stateOf("spared", "Evicted")).status.attempt).to.equal(1);
    expect(await decisionsAbout("spared")).to.deep.equal([
      { outcome: "Released", of_victim: "EvictionCancelled" },
      { outcome: "Started", of_victim: "Evicted" },
    ]);
  });

  describe("at a window's close", () => {
    let soon: ClosingWindow;

    before(async () => {
      soon = closingSoon(minMilliseconds);
      for (const pool of ["closing", "pair", "surprised"])
        await makePool(pool, { onWindowClose: "Evict", timeWindows: soon.windows });
      await run("kept", "closing", 8, "low");
      await run("pair-dear", "pair", 4, "high");
      await run("pair-cheap", "pair", 4, "low");
      await run("surprised", "surprised", 8, "low");
      await protect("keep-kept", ["kept"], 1);
      await protect("keep-pair", ["pair-dear", "pair-cheap"], 2, 2);
      // Killed as soon as it has decided to evict: the others are protected.
      await installation.stopOperators();
      const crashing = await operate({ ROTA_CRASH_POINT: "cycle-committed" });
      expect(Date.now(), "set up before the close").to.be.below(soon.closesAt);
      await closes(soon);
      expect(await crashing.ended).to.equal("SIGKILL");
      await protect("keep-surprised", ["surprised"], 1);
      await operate();
    });

    const closing = ({ status }: Job): Condition | undefined =>
      status.conditions?.find(({ type }) => type === "WindowClosing");
    const stays = (name: string, budget: string): Promise<Job> =>
      until(name, "say that it stays", (found) =>
        (closing(found)?.message ?? "").endsWith(
          `; the eviction is blocked by PodDisruptionBudget team/${budget}`,
        ),
      );

    it("a job whose budget closes after the decision to evict it is kept like one it protected before", async () => {
      const before = await uidsOfJob("surprised");
      const kept = await stays("surprised", "keep-surprised");
      expect(kept.status).to.include({ state: "Running", attempt: 1 });
      expect(await uidsOfJob("surprised")).to.deep.equal(before);
      await unprotect("keep-surprised");
      await stateOf("surprised", "Evicted");
      expect(await decisionsAbout("surprised")).to.deep.equal([
        { outcome: null, of_victim: "EvictionCancelled" },
        { outcome: null, of_victim: "Evicted" },
      ]);
    });

    it("of two jobs that share a budget the one of lower priority leaves", async () => {
      await stays("pair-cheap", "keep-pair");
      await protect("keep-one", ["pair-dear", "pair-cheap"], 2);
      await unprotect("keep-pair");
      await stateOf("pair-cheap", "Evicted");
      const dear = await stays("pair-dear", "keep-one");
      expect(dear.status).to.include({ state: "Running", attempt: 1 });
      await unprotect("keep-one");
      await stateOf("pair-dear", "Evicted");
    });

    it("a protected job stays, says which budget protects it, and leaves once that is gone", async () => {
      const before = await uidsOfJob("kept");
      const kept = await stays("kept", "keep-kept");
      expect(kept.status).to.include({ state: "Running", attempt: 1 });
      expect(closing(kept)?.message).to.match(/^plan all-of-closing closed .* and evicts/);
      expect(await uidsOfJob("kept")).to.deep.equal(before);
      await unprotect("keep-kept");
      await stateOf("kept", "Evicted");
      expect(await podsOfJob("kept")).to.deep.equal([]);
    });
  });
});
