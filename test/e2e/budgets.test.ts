/**
 * PodDisruptionBudgets: shared by several who are to leave, closed between a decision and its evictions, in the way at a
 * window's close.
 */
import { expect } from "chai";
import type { Condition } from "../../src/api/conditions.ts";
import type { Job } from "../../src/resources/types.ts";
import { closes, closingSoon, type ClosingWindow } from "../support/closing-window.ts";
import { owner, plan } from "../support/installation.ts";
import { useTeam } from "../support/team.ts";

const budgets = "/apis/policy/v1/namespaces/team/poddisruptionbudgets";
const graceSeconds = 4;
/** An operator starts before the close. One that starts later gives the same notice. */
const minMilliseconds = 20_000;

describe("a PodDisruptionBudget on a cluster", function () {
  const settings = {
    ROTA_WINDOW_WARNING_SECONDS: "7200",
    ROTA_WINDOW_GRACE_SECONDS: String(graceSeconds),
    ROTA_AVOID_NODE_SECONDS: "0",
  };
  const team = useTeam({ operator: settings });
  const { submit, run, stateOf, until, uids } = team;

  afterEach(team.checkInvariants);

  /** What the preemption log says became of the decisions to evict the job, and of the job. */
  async function decisionsAbout(name: string): Promise<readonly object[]> {
    const { rows } = await team.database.pool.query(
      `SELECT preemption.outcome, victim.outcome AS of_victim
       FROM preemptions AS preemption JOIN preemption_victims AS victim ON preemption_id = id
       WHERE victim = $1 ORDER BY preemption.decided_at`,
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
    const { client } = team.view;
    await client.raw("POST", budgets, {
      apiVersion: "policy/v1",
      kind: "PodDisruptionBudget",
      metadata: { name: budget },
      spec: {
        minAvailable,
        selector: { matchExpressions: [{ key: "rota.dev/job", operator: "In", values: jobs }] },
      },
    });
    await team.view.until(`budget ${budget} to be known`, async () => {
      const found = (await client.raw("GET", `${budgets}/${budget}`)) as {
        status?: { currentHealthy?: number };
      };
      return found.status?.currentHealthy === healthy;
    });
  }
  const unprotect = (budget: string) => team.view.client.raw("DELETE", `${budgets}/${budget}`);

  /** Kills the operator between the decision to evict for `${name}-high` and the evictions, and makes a budget meanwhile. */
  async function decideThenProtect(
    name: string,
    healthy: number,
    env: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    await team.stopOperators();
    const crashing = await team.operate({
      ...settings,
      ...env,
      ROTA_CRASH_POINT: "preemption-committed",
    });
    await submit(`${name}-high`, { pool: name, gpus: 8, priorityClassName: "high" });
    expect(await crashing.ended).to.equal("SIGKILL");
    await protect(`keep-${name}`, [name], healthy);
    await team.operate(settings);
  }

  // Each of the two dry runs is allowed.
  it("allows several jobs no more disruptions than one", async () => {
    const names = ["shared-a", "shared-b"];
    await team.pool("shared");
    for (const name of names) await run(name, { pool: "shared", gpus: 4 });
    await protect("keep-either", names, 2);
    const before = await Promise.all(names.map(uids));
    await submit("shared-high", { pool: "shared", gpus: 8, priorityClassName: "high" });
    const waiting = await team.reasonOf("shared-high", "BlockedByDisruptionBudget");
    expect(waiting.status.message).to.match(/protected by PodDisruptionBudget team\/keep-either$/);
    expect(await Promise.all(names.map(uids))).to.deep.equal(before);
    await team.cancel("shared-high");
    await run("shared-small", { pool: "shared", gpus: 4, priorityClassName: "high" });
    const left = await Promise.all(names.map(team.pods));
    expect(left.flat()).to.have.lengthOf(1);
  });

  it("protects a pod that several budgets select", async () => {
    await team.pool("several");
    await run("several", { pool: "several", gpus: 8 });
    await protect("one", ["several"], 1);
    await protect("other", ["several"], 1);
    const before = await uids("several");
    await submit("several-high", { pool: "several", gpus: 8, priorityClassName: "high" });
    const waiting = await team.reasonOf("several-high", "BlockedByDisruptionBudget");
    expect(waiting.status.message).to.match(
      /protected by PodDisruptionBudget team\/one, team\/other \(Kubernetes evicts no pod under several\)$/,
    );
    expect(await uids("several")).to.deep.equal(before);
    await unprotect("one");
    await unprotect("other");
    await stateOf("several-high", "Running");
  });

  it("blocks an eviction when new, until it allows it", async () => {
    await team.pool("late");
    await run("late", { pool: "late", gpus: 8 });
    await decideThenProtect("late", 1);
    const reserved = await team.reasonOf("late", "EvictionBlocked");
    expect(reserved.status).to.include({ state: "Evicting", attempt: 1 });
    expect(reserved.status.message).to.match(
      /^PodDisruptionBudget team\/keep-late blocks the eviction, which is retried\. Evicted by team\/late-high \(LowerPriority\)$/,
    );
    await stateOf("late-high", "Reserved");
    await unprotect("keep-late");
    await stateOf("late", "Evicted");
    await stateOf("late-high", "Running");
  });

  it("keeps a gang whole, or lets it leave whole", async () => {
    const { view } = team;
    await team.pool("gang");
    await run("gang", { pool: "gang", gpus: 4, parallelism: 2 });
    const before = await uids("gang");
    await decideThenProtect("gang", 2);
    const reserved = await team.reasonOf("gang", "EvictionBlocked");
    expect(reserved.status.message).to.include("PodDisruptionBudget team/keep-gang");
    expect(await uids("gang")).to.deep.equal(before);

    // Half a gang is of no use to anybody, and would keep its node until the other half may go.
    const [pod] = await team.pods("gang");
    await view.client.raw("DELETE", `/api/v1/namespaces/team/pods/${pod?.name ?? ""}`);
    await stateOf("gang", "Evicted");
    await stateOf("gang-high", "Running");
    expect(await team.pods("gang")).to.deep.equal([]);
  });

  it("spares a victim until its preemptor's reservation expires", async () => {
    await team.pool("spared");
    await run("spared", { pool: "spared", gpus: 8 });
    const before = await uids("spared");
    await decideThenProtect("spared", 1, { ROTA_RESERVATION_SECONDS: "10" });
    const running = await stateOf("spared", "Running");
    expect(running.status.attempt).to.equal(1);
    expect(await uids("spared")).to.deep.equal(before);
    const waiting = await team.reasonOf("spared-high", "BlockedByDisruptionBudget");
    expect(waiting.status.message).to.include("PodDisruptionBudget team/keep-spared");

    await unprotect("keep-spared");
    await stateOf("spared-high", "Running");
    expect((await stateOf("spared", "Evicted")).status.attempt).to.equal(1);
    expect(await decisionsAbout("spared")).to.deep.equal([
      { outcome: "Released", of_victim: "EvictionCancelled" },
      { outcome: "Started", of_victim: "Evicted" },
    ]);
  });

  describe("a PodDisruptionBudget at a window's close", () => {
    let soon: ClosingWindow;

    before(async () => {
      const pools = ["closing", "pair", "surprised"];
      for (const pool of pools) await team.pool(pool);
      await run("kept", { pool: "closing", gpus: 8 });
      await run("pair-dear", { pool: "pair", gpus: 4, priorityClassName: "high" });
      await run("pair-cheap", { pool: "pair", gpus: 4 });
      await run("surprised", { pool: "surprised", gpus: 8 });
      await protect("keep-kept", ["kept"], 1);
      await protect("keep-pair", ["pair-dear", "pair-cheap"], 2, 2);
      // Killed as soon as it has decided to evict: the others are protected.
      await team.stopOperators();
      soon = closingSoon(minMilliseconds);
      for (const pool of pools) {
        const window = { onWindowClose: "Evict", timeWindows: soon.windows };
        await team.view.apply(plan(`all-of-${pool}`, { owner, pool, ...window }));
      }
      const crashing = await team.operate({ ...settings, ROTA_CRASH_POINT: "cycle-committed" });
      await closes(soon);
      expect(await crashing.ended).to.equal("SIGKILL");
      await protect("keep-surprised", ["surprised"], 1);
      await team.operate(settings);
    });

    const closing = ({ status }: Job): Condition | undefined =>
      status.conditions?.find(({ type }) => type === "WindowClosing");
    const stays = (name: string, budget: string): Promise<Job> =>
      until(name, "say that it stays", (found) =>
        (closing(found)?.message ?? "").endsWith(
          `; the eviction is blocked by PodDisruptionBudget team/${budget}`,
        ),
      );

    it("protects a job selected after the decision to evict", async () => {
      const before = await uids("surprised");
      const kept = await stays("surprised", "keep-surprised");
      expect(kept.status).to.include({ state: "Running", attempt: 1 });
      expect(await uids("surprised")).to.deep.equal(before);
      await unprotect("keep-surprised");
      await stateOf("surprised", "Evicted");
      expect(await decisionsAbout("surprised")).to.deep.equal([
        { outcome: null, of_victim: "EvictionCancelled" },
        { outcome: null, of_victim: "Evicted" },
      ]);
    });

    it("lets the job of lower priority leave first", async () => {
      await stays("pair-cheap", "keep-pair");
      await protect("keep-one", ["pair-dear", "pair-cheap"], 2);
      await unprotect("keep-pair");
      await stateOf("pair-cheap", "Evicted");
      const dear = await stays("pair-dear", "keep-one");
      expect(dear.status).to.include({ state: "Running", attempt: 1 });
      await unprotect("keep-one");
      await stateOf("pair-dear", "Evicted");
    });

    it("keeps a job, is named, and lets it leave later", async () => {
      const before = await uids("kept");
      const kept = await stays("kept", "keep-kept");
      expect(kept.status).to.include({ state: "Running", attempt: 1 });
      expect(closing(kept)?.message).to.match(/^plan all-of-closing closed .*; the job is evicted/);
      expect(await uids("kept")).to.deep.equal(before);
      await unprotect("keep-kept");
      await stateOf("kept", "Evicted");
      expect(await team.pods("kept")).to.deep.equal([]);
    });
  });
});
