/** A database brought back to an earlier state while the cluster went on: the cluster is the newer truth. */
import { expect } from "chai";
import { Client } from "pg";
import { nodesOf } from "../../src/resources/types.ts";
import { databaseUrl } from "../support/database.ts";
import { commit, type JobOptions } from "../support/installation.ts";
import { acceptPresentDatabase } from "../support/ownership.ts";
import { podType, useTeam } from "../support/team.ts";

const nodeType = nodesOf("nvidia.com/gpu");
const pools = ["default", "again", "swap", "ends", "makes-way"];

describe("the restore of an old backup", () => {
  // Before the hook that stops the installation, and the server with it.
  after(async () => {
    const all = Array.from({ length: backups }, (_, at) => `rota_backup_${process.pid}_${at + 1}`);
    const drops = all.map((name) => `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
    await administer(...drops).catch(() => undefined);
  });

  const team = useTeam();
  const { stateOf, runs, suspend } = team;
  let backups = 0;
  const backup = (): string => `rota_backup_${process.pid}_${backups}`;

  const submit = (name: string, gpus: number, options: Partial<JobOptions> = {}): Promise<void> =>
    team.submit(name, { gpus, ...options });
  const cordon = (node: string, unschedulable: boolean) =>
    team.view.client.patch(nodeType, node, { spec: { unschedulable } });
  /** Lets the pods end, and removes what is left of them: only the Job can say that it has ended. */
  async function endWell(name: string): Promise<void> {
    await team.annotate(`${name}-1-0`, { "rota.dev/simulate-run-seconds": "0" });
    await stateOf(name, "Succeeded");
    await team.view.client.delete(podType, `team/${name}-1-0`);
  }

  /** Statements that nobody may be connected for. */
  async function administer(...statements: readonly string[]): Promise<void> {
    const admin = new Client({
      connectionString: databaseUrl(team.database.url, "postgres"),
    });
    await admin.connect();
    try {
      for (const statement of statements) await admin.query(statement);
    } finally {
      await admin.end();
    }
  }
  const databaseName = (): string => new URL(team.database.url).pathname.slice(1);
  const withoutOthers = (name: string): string =>
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${name}' AND pid <> pg_backend_pid()`;

  /** The operator is away for that: a copy of a database wants it for itself. */
  async function takeBackup(): Promise<void> {
    await team.operator.stop();
    backups += 1;
    const name = databaseName();
    await administer(withoutOthers(name), `CREATE DATABASE ${backup()} TEMPLATE ${name}`);
    await team.operate();
  }
  async function restore(): Promise<void> {
    await team.operator.stop();
    const name = databaseName();
    await administer(
      `DROP DATABASE ${name} WITH (FORCE)`,
      `CREATE DATABASE ${name} TEMPLATE ${backup()}`,
    );
    await team.operate({}, { untilReady: false });
    await acceptPresentDatabase(team);
  }

  const podsThere = async (): Promise<string[]> =>
    (await team.view.pods()).map(({ name, uid }) => `${name} ${uid}`).toSorted();
  async function rows(): Promise<Record<string, string>> {
    const { rows: found } = await team.database.pool.query<{
      name: string;
      status: string;
      attempt: number;
    }>("SELECT name, status::text, attempt FROM jobs ORDER BY name");
    return Object.fromEntries(
      found.map(({ name, status, attempt }) => [name, `${status} ${attempt}`]),
    );
  }
  /** What the row and the pods of the job are, once the rows say what they are expected to. */
  const rowsBecome = (expected: Readonly<Record<string, string>>): Promise<unknown> =>
    team.view
      .until("the database to say what the cluster says", async () => {
        const found = await rows();
        return Object.entries(expected).every(([name, words]) => found[name] === words);
      })
      .catch(async (error: unknown) => {
        expect(await rows()).to.deep.include(expected);
        throw error;
      });

  before(async () => {
    for (const pool of pools) await team.pool(pool, { count: pool === "swap" ? 2 : 1 });
    await team.view.apply(commit("first", { content: { rate: 1 }, tag: "v1" }));
  });

  it("finds what started, went on and ended since", async () => {
    const { view, database } = team;
    const gang = { parallelism: 2, spec: { configRef: { tag: "v1" } } };
    // As the backup knows them: running, or waiting.
    await submit("leaves", 6);
    await stateOf("leaves", "Running");
    await submit("starts", 2, gang);
    await submit("again", 2, { ...gang, pool: "again" });
    await submit("swaps-1", 8, { pool: "swap" });
    await stateOf("swaps-1", "Running");
    await submit("swaps-2", 8, { pool: "swap" });
    await submit("ends", 4, { pool: "ends" });
    await submit("passes", 4, { pool: "ends", spec: { suspend: true } });
    await submit("victim", 8, { pool: "makes-way" });
    await Promise.all(
      ["again", "swaps-2", "ends", "victim"].map((name) => stateOf(name, "Running")),
    );
    await stateOf("starts", "Pending");
    await stateOf("passes", "Suspended");
    await takeBackup();

    // A job that waited runs, one runs in a later attempt, two have changed places.
    await team.cancel("leaves");
    await stateOf("starts", "Running");
    await view.client.delete(podType, "team/again-1-0");
    await runs("again", 2);
    const [first = ""] = (await team.job("swaps-1")).status.nodes ?? [];
    const [second = ""] = (await team.job("swaps-2")).status.nodes ?? [];
    for (const name of ["swaps-1", "swaps-2"]) {
      await suspend(name, true);
      await stateOf(name, "Suspended");
    }
    await cordon(first, true);
    await suspend("swaps-1", false);
    await runs("swaps-1", 2);
    await cordon(first, false);
    await suspend("swaps-2", false);
    await runs("swaps-2", 2);
    expect((await team.job("swaps-1")).status.nodes).to.deep.equal([second]);
    // One has ended, another has run and ended, one was evicted and waits.
    await endWell("ends");
    await suspend("passes", false);
    await stateOf("passes", "Running");
    await endWell("passes");
    await submit("urgent", 8, { pool: "makes-way", priorityClassName: "high" });
    await stateOf("urgent", "Running");
    await stateOf("victim", "Evicted");
    // Two are new.
    await submit("new", 4);
    await stateOf("new", "Running");
    await submit("waits", 8);
    await stateOf("waits", "Pending");
    const before = await podsThere();
    const ended = (await team.job("ends")).status;
    await restore();

    await rowsBecome({
      again: "running 2",
      ends: "succeeded 1",
      leaves: "cancelled 1",
      new: "running 1",
      passes: "succeeded 1",
      starts: "running 1",
      "swaps-1": "running 2",
      "swaps-2": "running 2",
      urgent: "running 1",
      victim: "evicted 1",
      waits: "pending 0",
    });
    expect(await podsThere(), "the same pods").to.deep.equal(before);
    await team.checkInvariants();
    expect((await team.job("ends")).status).to.deep.include({
      state: "Succeeded",
      finishedAt: ended.finishedAt,
      message: ended.message,
    });
    const { rows: ends } = await database.pool.query<{ at: Temporal.Instant }>(
      "SELECT at FROM job_events WHERE name = 'ends' AND to_status = 'succeeded'",
    );
    expect(ends.map(({ at }) => at.round("second").toString())).to.deep.equal([ended.finishedAt]);

    await team.cancel("new");
    await team.cancel("starts");
    await team.cancel("urgent");
    await stateOf("waits", "Running");
    await runs("victim", 2);
    expect(await rows()).to.deep.include({ again: "running 2", "swaps-1": "running 2" });
  });

  it("is noticed by a running operator, which starts nothing twice", async () => {
    const { view } = team;
    const nodes = async (): Promise<string[]> =>
      (await view.client.list(nodeType))
        .filter(({ metadata }) => metadata.labels?.["rota.dev/pool"] === "under")
        .map(({ metadata }) => metadata.name ?? "");
    await team.pool("under", { count: 2 });
    for (const node of await nodes()) await cordon(node, true);
    await submit("under-first", 8, { pool: "under" });
    await team.reasonOf("under-first", "AwaitingNodes");
    await takeBackup();
    for (const node of await nodes()) await cordon(node, false);
    await stateOf("under-first", "Running");
    await submit("under-late", 8, { pool: "under" });
    await stateOf("under-late", "Running");
    const before = await podsThere();

    const name = databaseName();
    await administer(
      `DROP DATABASE ${name} WITH (FORCE)`,
      `CREATE DATABASE ${name} TEMPLATE ${backup()}`,
    );
    await acceptPresentDatabase(team);
    await rowsBecome({ "under-first": "running 1", "under-late": "running 1" });
    expect(await podsThere(), "the same pods").to.deep.equal(before);
    await submit("under-next", 8, { pool: "under" });
    await team.reasonOf("under-next", "InsufficientCapacity");
    await team.cancel("under-first");
    await stateOf("under-next", "Running");
    await team.checkInvariants();
  });
});
