/** Opening the database: migrations, transactions with retries, errors by name, the schema's own rules. */
import { appendFileSync, cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { migrate, migrationsDirectory } from "../../src/db/client/migrate.ts";
import {
  createPool,
  run,
  withTransaction,
  type DatabasePool,
} from "../../src/db/client/connection-pool.ts";
import { knownConstraints, mapDatabaseError } from "../../src/db/client/constraint-errors.ts";
import { createEmptyDatabase, createTestDatabase, type TestDatabase } from "../support/database.ts";
import { addProject, rejection } from "../support/fixtures.ts";

/** Updates two counters, the second after all have updated their first. */
const both = (pool: DatabasePool, first: string, second: string, meet: () => Promise<void>) =>
  withTransaction(pool, async (client) => {
    await client.query("UPDATE counters SET value = value + 1 WHERE name = $1", [first]);
    await meet();
    await client.query("UPDATE counters SET value = value + 1 WHERE name = $1", [second]);
  });

describe("database migrations", () => {
  let database: TestDatabase;
  before(async () => {
    database = await createEmptyDatabase();
  });
  after(() => database.drop());

  it("run once, also when several operators start at once", async () => {
    await Promise.all([migrate(database.url), migrate(database.url), migrate(database.url)]);
    const { rows } = await database.pool.query(
      "SELECT count(*)::int AS applied FROM migrations WHERE id > 0",
    );
    const files = readdirSync(migrationsDirectory).filter((name) => name.endsWith(".sql"));
    expect(rows[0].applied).to.equal(files.length);
  });

  it("give way to a session that holds a lock", async () => {
    const other = await createEmptyDatabase();
    const later = mkdtempSync(join(tmpdir(), "rota-migrations-"));
    try {
      await migrate(other.url);
      cpSync(migrationsDirectory, later, { recursive: true });
      const next = readdirSync(later).filter((name) => name.endsWith(".sql")).length + 1;
      const file = join(later, `${String(next).padStart(4, "0")}_probe.sql`);
      writeFileSync(file, "ALTER TABLE jobs ADD COLUMN probe integer;");
      const dump = await other.pool.connect();
      await dump.query("BEGIN; SELECT count(*) FROM jobs");
      const blocked = await rejection(migrate(other.url, later));
      expect(blocked.code).to.equal("TimedOut");
      expect(blocked.message).to.match(/held by session \d+ \(.*SELECT count/);
      await dump.query("COMMIT");
      dump.release();
      await migrate(other.url, later);
    } finally {
      rmSync(later, { recursive: true });
      await other.drop();
    }
  });

  it("refuse a database that is newer than the program", async () => {
    const newer = mkdtempSync(join(tmpdir(), "rota-migrations-"));
    cpSync(migrationsDirectory, newer, { recursive: true });
    const next = readdirSync(newer).filter((name) => name.endsWith(".sql")).length + 1;
    writeFileSync(join(newer, `${String(next).padStart(4, "0")}_later.sql`), "SELECT 1;");
    await migrate(database.url, newer);
    rmSync(newer, { recursive: true });
    expect((await rejection(migrate(database.url))).code).to.equal("DatabaseTooNew");
  });

  it("refuse a database that an earlier schema made", async () => {
    const other = await createEmptyDatabase();
    const earlier = mkdtempSync(join(tmpdir(), "rota-migrations-"));
    cpSync(migrationsDirectory, earlier, { recursive: true });
    const first = readdirSync(earlier).find((name) => name.endsWith(".sql")) ?? "";
    appendFileSync(join(earlier, first), "-- an earlier text\n");
    await migrate(other.url, earlier);
    rmSync(earlier, { recursive: true });
    const error = await rejection(migrate(other.url));
    expect(error.code).to.equal("SchemaChanged");
    expect(error.message).to.contain("use an empty database");
    await other.drop();
  });

  it("fail when no server answers", async () => {
    const error = await rejection(migrate("postgres://nobody@127.0.0.1:1/none"));
    expect(error.code).to.equal("DatabaseUnavailable");
  });
});

describe("the database", () => {
  let database: TestDatabase;
  const pool = () => database.pool;
  before(async () => {
    database = await createTestDatabase();
    await database.pool.query("CREATE TABLE counters (name text PRIMARY KEY, value int NOT NULL)");
    await database.pool.query("INSERT INTO counters VALUES ('a', 0), ('b', 0)");
  });
  after(() => database.drop());

  it("retries transactions after serialisation failures", async () => {
    const increment = () =>
      withTransaction(
        pool(),
        async (client) => {
          const { rows } = await client.query("SELECT value FROM counters WHERE name = 'a'");
          await client.query("UPDATE counters SET value = $1 WHERE name = 'a'", [
            rows[0].value + 1,
          ]);
        },
        { isolation: "SERIALIZABLE", attempts: 200 },
      );
    await Promise.all(Array.from({ length: 10 }, increment));
    const { rows } = await pool().query("SELECT value FROM counters WHERE name = 'a'");
    expect(rows[0].value).to.equal(10);
  });

  it("gives up after the last attempt, with a named error", async () => {
    let turns = 0;
    const fail = withTransaction(
      pool(),
      async (client) => {
        turns += 1;
        await client.query("DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '40001'; END $$");
      },
      { attempts: 3, random: () => 0 },
    );
    expect((await rejection(fail)).code).to.equal("SerializationFailed");
    expect(turns).to.equal(3);
  });

  it("resolves deadlocks by a retry", async () => {
    const values = async (): Promise<number[]> => {
      const { rows } = await pool().query<{ value: number }>(
        "SELECT value FROM counters WHERE name IN ('a', 'b') ORDER BY name",
      );
      return rows.map(({ value }) => value);
    };
    const before = await values();
    let here = 0;
    const everyone = Promise.withResolvers<void>();
    const meet = () => {
      here += 1;
      if (here >= 2) everyone.resolve();
      return everyone.promise;
    };
    await Promise.all([both(pool(), "a", "b", meet), both(pool(), "b", "a", meet)]);
    // PostgreSQL ends one of them, or both where the two find the deadlock at once.
    expect(here).to.be.at.least(3);
    expect(await values()).to.deep.equal(before.map((value) => value + 2));
  });

  it("does nothing half when the connection dies in a statement", async () => {
    const statements = 4;
    for (let dies = 0; dies < statements; dies += 1) {
      const work = withTransaction(pool(), async (client) => {
        for (let index = 0; index < statements; index += 1) {
          await client.query("INSERT INTO counters VALUES ($1, 1)", [`half-${dies}-${index}`]);
          if (index === dies) await client.query("SELECT pg_terminate_backend(pg_backend_pid())");
        }
      });
      expect((await rejection(work)).code).to.equal("DatabaseUnavailable");
    }
    const { rows } = await pool().query(
      "SELECT count(*)::int AS half FROM counters WHERE name LIKE 'half%'",
    );
    expect(rows[0].half).to.equal(0);
  });

  it("ends statements and waits for locks that take too long", async () => {
    const hasty = createPool(database.url, {
      statementTimeoutSeconds: 0.1,
      lockTimeoutSeconds: 0.05,
    });
    expect((await rejection(run(hasty, "SELECT pg_sleep(10)"))).code).to.equal("TimedOut");
    const holder = await pool().connect();
    await holder.query("BEGIN");
    await holder.query("UPDATE counters SET value = 0");
    expect((await rejection(run(hasty, "UPDATE counters SET value = 1"))).code).to.equal(
      "TimedOut",
    );
    await holder.query("ROLLBACK");
    holder.release();
    await hasty.end();
  });

  it("has a named error for every constraint", async () => {
    const { rows } = await pool().query<{ name: string }>(`
      SELECT conname AS name FROM pg_constraint
      JOIN pg_class ON pg_class.oid = conrelid
      WHERE pg_constraint.connamespace = 'public'::regnamespace AND contype IN ('c', 'f', 'p', 'u', 'x')
        AND relname NOT IN ('migrations', 'counters')
      UNION
      SELECT pg_class.relname FROM pg_index
      JOIN pg_class ON pg_class.oid = indexrelid
      WHERE indisunique AND indpred IS NOT NULL AND relnamespace = 'public'::regnamespace
      UNION
      SELECT (regexp_matches(prosrc, 'CONSTRAINT = ''(\\w+)''', 'g'))[1] FROM pg_proc WHERE pronamespace = 'public'::regnamespace
      UNION
      SELECT (regexp_matches(pg_get_triggerdef(oid), 'EXECUTE FUNCTION \\w+\\(''(\\w+)'''))[1] FROM pg_trigger WHERE NOT tgisinternal
    `);
    const names = rows.map(({ name }) => name);
    expect(names.filter((name) => !knownConstraints.includes(name))).to.deep.equal([]);
    expect(knownConstraints.filter((name) => !names.includes(name))).to.deep.equal([]);
  });

  it("explains every table and column", async () => {
    const { rows } = await pool().query<{ thing: string }>(`
      SELECT relname || coalesce('.' || attname, '') AS thing
      FROM pg_class
      LEFT JOIN LATERAL (
        SELECT attname, attnum FROM pg_attribute WHERE attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
        UNION ALL SELECT NULL, 0
      ) AS part ON true
      WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v') AND relname NOT IN ('migrations', 'counters')
        AND coalesce(col_description(pg_class.oid, attnum), CASE WHEN attnum = 0 THEN obj_description(pg_class.oid, 'pg_class') END) IS NULL
        AND NOT EXISTS (
          SELECT FROM pg_depend
          WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e'
        )
    `);
    expect(rows.map(({ thing }) => thing)).to.deep.equal([]);
  });

  it("has an index for each foreign key", async () => {
    const { rows } = await pool().query<{ name: string }>(`
      SELECT conname AS name
      FROM pg_constraint AS key
      WHERE contype = 'f' AND NOT EXISTS (
        SELECT FROM pg_index
        WHERE indrelid = key.conrelid AND indkey[0] = ANY (key.conkey)
      )
    `);
    expect(rows.map(({ name }) => name)).to.deep.equal(["config_commits_author_fkey"]); // owners are never deleted
  });

  it("keeps an unknown error as the cause", async () => {
    await addProject(pool(), "known");
    const error = mapDatabaseError(await rejection(pool().query("SELECT * FROM nowhere")));
    expect(error.code).to.equal("InternalError");
    expect(error.cause).to.have.property("code", "42P01");
  });
});
