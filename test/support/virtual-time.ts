/**
 * A database whose now() is set by the test, so that days pass in milliseconds. Everything else is real: functions of
 * the same names precede PostgreSQL's on the search path, and column defaults, which were bound when the tables were
 * created, are bound to them as well.
 */
import type { DatabasePool } from "../../src/db/client/connection-pool.ts";
import { createPool } from "../../src/db/client/connection-pool.ts";
import type { TestDatabase } from "./database.ts";

export interface VirtualTime {
  /** Connections with virtual time. */
  readonly pool: DatabasePool;
  /** Further connections, which give up on a lock that another transaction holds. */
  readonly impatient: DatabasePool;
  setNow(instant: Temporal.Instant): Promise<void>;
  /** Closes the pools; the caller drops the database. */
  close(): Promise<void>;
}

/** Between two ticks of the clock, each call of clock_timestamp() returns a millisecond more. */
const install = `
  CREATE SCHEMA virtual_time;
  CREATE TABLE virtual_time.clock (instant timestamptz NOT NULL);
  INSERT INTO virtual_time.clock VALUES (pg_catalog.now());
  CREATE SEQUENCE virtual_time.looks;
  CREATE FUNCTION virtual_time.now() RETURNS timestamptz
  LANGUAGE sql STABLE AS 'SELECT instant FROM virtual_time.clock';
  CREATE FUNCTION virtual_time.clock_timestamp() RETURNS timestamptz
  LANGUAGE sql VOLATILE AS $$
    SELECT instant + nextval('virtual_time.looks') * interval '1 millisecond' FROM virtual_time.clock
  $$;
  DO $$
  DECLARE
    found record;
  BEGIN
    FOR found IN
      SELECT adrelid::regclass AS relation, attname
      FROM pg_attrdef
      JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
      WHERE pg_get_expr(adbin, adrelid) = 'now()' AND attgenerated = ''
    LOOP
      EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT virtual_time.now()', found.relation, found.attname);
    END LOOP;
    EXECUTE format(
      'ALTER DATABASE %I SET search_path = virtual_time, pg_catalog, public', current_database()
    );
  END
  $$;
`;

export async function withVirtualTime({ url, pool }: TestDatabase): Promise<VirtualTime> {
  await pool.query(install);
  const virtual = createPool(url, { maxConnections: 8 });
  const impatient = createPool(url, { maxConnections: 2, lockTimeoutSeconds: 0.1 });
  await virtual.learnTypes();
  await impatient.learnTypes();
  return {
    pool: virtual,
    impatient,
    setNow: async (instant) => {
      await virtual.query(
        "WITH moved AS (UPDATE virtual_time.clock SET instant = $1) SELECT setval('virtual_time.looks', 1)",
        [instant.toString()],
      );
    },
    close: async () => {
      await impatient.end();
      await virtual.end();
    },
  };
}
