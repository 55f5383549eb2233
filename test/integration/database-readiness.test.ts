/** Whether the operator's database is ready: asked in the background, answered from memory. */
import { expect } from "chai";
import {
  createPool,
  type DatabasePool,
  withTransaction,
} from "../../src/db/client/connection-pool.ts";
import { databaseComponent } from "../../src/operator/database.ts";
import { AnchoredClock, systemClock } from "../../src/runtime/clock.ts";
import type { Component } from "../../src/runtime/lifecycle.ts";
import { readSettings } from "../../src/settings/read.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { silentLogger } from "../../src/runtime/logger.ts";
import { waitFor } from "../../dev/local/wait.ts";

describe("readiness of the database", () => {
  let database: TestDatabase;
  let pool: DatabasePool;
  let component: Component;
  let statements = 0;
  const refusals: string[] = [];
  const stopping = new AbortController();

  before(async () => {
    database = await createTestDatabase();
    const onStatement = (): void => {
      statements += 1;
    };
    pool = createPool(database.url, { onStatement, onError: () => undefined });
    const settings = readSettings({ DATABASE_URL: database.url }, false);
    component = databaseComponent({
      settings,
      db: pool,
      logger: silentLogger,
      clock: new AnchoredClock(systemClock),
      onRefused: (reason) => refusals.push(reason),
    });
    await component.start?.(stopping.signal);
  });
  after(async () => {
    stopping.abort(new Error("the test has ended"));
    await component.stop?.(5);
    await database.drop();
  });

  const becomes = (ready: boolean) =>
    waitFor(async () => (await component.ready?.()) === ready, {
      what: `the database to be ${ready ? "ready" : "unready"}`,
      timeoutMs: 30_000,
    });
  const reconnect = () =>
    database.pool.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
  const writable = (setting: "on" | "off") =>
    database.pool.query(
      `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = ${setting}', current_database()); END $$`,
    );

  it("costs no statement when it is asked", async () => {
    const before = statements;
    for (let turn = 0; turn < 1000; turn += 1) expect(component.ready?.()).to.equal(true);
    expect(statements).to.equal(before);
  });

  it("returns with new connections after a failover", async () => {
    const single = createPool(database.url, { maxConnections: 1, onError: () => undefined });
    const write = () =>
      withTransaction(single, (client) => client.query("UPDATE jobs SET message = '' WHERE false"));
    try {
      await writable("on");
      expect(await write().catch((error: unknown) => error)).to.include({
        code: "DatabaseUnavailable",
      });
      await writable("off");
      await write();
    } finally {
      await single.end();
    }
  });

  it("is lost while the database is read-only", async () => {
    await writable("on");
    await reconnect();
    await becomes(false);
    await writable("off");
    await reconnect();
    await becomes(true);
  });

  it("ends the operator when its password has changed", async () => {
    const url = new URL(database.url);
    url.username = `reader_${url.pathname.slice(-12)}`;
    url.password = "one";
    const role = `"${url.username}"`;
    await database.pool.query(`CREATE ROLE ${role} LOGIN SUPERUSER PASSWORD 'one'`);
    const other = createPool(url.href, { onError: () => undefined });
    const told: string[] = [];
    const rotated = databaseComponent({
      settings: { databaseUrl: url.href, databaseLoginSeconds: 1 },
      db: other,
      logger: silentLogger,
      clock: new AnchoredClock(systemClock),
      onRefused: (reason) => told.push(reason),
    });
    const end = new AbortController();
    try {
      await rotated.start?.(end.signal);
      await database.pool.query(`ALTER ROLE ${role} PASSWORD 'two'`);
      await database.pool.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1",
        [url.username],
      );
      await waitFor(async () => told.length > 0, { what: "the refusal", timeoutMs: 30_000 });
      expect(told[0]).to.include("DATABASE_URL");
      expect(await rotated.ready?.()).to.equal(false);
      expect(refusals).to.deep.equal([]);
    } finally {
      end.abort(new Error("the test has ended"));
      await rotated.stop?.(5);
      await database.pool.query(`DROP ROLE ${role}`);
    }
  });
});
