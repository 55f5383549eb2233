/** Migrates a database to the schema in migrations/, forward only. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Client } from "pg";
import { loadMigrationFiles, migrate as runMigrations } from "postgres-migrations";
import { RotaError } from "../../errors.ts";
import { mapDatabaseError } from "./constraint-errors.ts";

/** Beside the program if it is bundled, otherwise in the project's root. */
const besideProgram = join(import.meta.dirname, "migrations");
export const migrationsDirectory = existsSync(besideProgram)
  ? besideProgram
  : join(import.meta.dirname, "..", "..", "..", "migrations");

const connectTimeoutMilliseconds = 10_000;
/** Long enough to rewrite large tables, but bounds a migration that hangs. */
const statementTimeoutMilliseconds = 600_000;
/** All other statements queue behind one that waits for a lock: the operator that leads must not stand still. */
const lockTimeoutMilliseconds = 1_500;
/** How often a migration that waits is looked at. */
const watchMilliseconds = 250;

interface Migration {
  readonly id: number;
  readonly hash: string;
}

async function appliedMigrations(client: Client): Promise<Migration[]> {
  const { rows } = await client.query<{ known: boolean }>(
    "SELECT to_regclass('public.migrations') IS NOT NULL AS known",
  );
  if (rows[0]?.known !== true) return [];
  const applied = await client.query<Migration>(
    "SELECT id::int, hash FROM public.migrations ORDER BY id",
  );
  return applied.rows;
}

/**
 * Refuses a database that this program cannot migrate. postgres-migrations accepts a newer database, so old code would
 * write to a schema that it does not know; for changed files it reports only the names. Otherwise returns whether
 * migrations are missing.
 */
async function refuseOtherSchema(client: Client, directory: string): Promise<boolean> {
  const files = await loadMigrationFiles(directory);
  const hashes = new Map(files.map(({ id, hash }) => [id, hash]));
  const applied = await appliedMigrations(client);
  if (applied.some(({ id, hash }) => hashes.has(id) && hashes.get(id) !== hash)) {
    throw new RotaError(
      "SchemaChanged",
      "the database has an earlier schema that cannot be migrated: use an empty database; jobs, plans and commits are read again from the cluster",
    );
  }
  const newest = applied.at(-1)?.id ?? 0;
  const known = files.at(-1)?.id ?? 0;
  if (newest <= known) return newest < known;
  throw new RotaError(
    "DatabaseTooNew",
    `the database has schema version ${newest}, this operator supports ${known}: upgrade the operator`,
  );
}

const extensionTrouble = /extension "?(ltree|btree_gist)|(ltree|btree_gist)\.control/;

/** Adds what to install; the server's message does not say it. */
function explained(error: unknown): unknown {
  const text = error instanceof Error ? error.message : String(error);
  if (!extensionTrouble.test(text)) return error;
  return new RotaError(
    "ExtensionMissing",
    `PostgreSQL lacks the extensions ltree and btree_gist: install its contrib package, or have an administrator run CREATE EXTENSION for both in this database (${text.split("\n", 1)[0] ?? ""})`,
    { cause: error },
  );
}

async function withClient(url: string, work: (client: Client) => Promise<void>): Promise<void> {
  const client = new Client({
    connectionString: url,
    application_name: "rota-migrate",
    connectionTimeoutMillis: connectTimeoutMilliseconds,
    statement_timeout: statementTimeoutMilliseconds,
    lock_timeout: lockTimeoutMilliseconds,
  });
  let lost: Error | undefined;
  client.on("error", (error) => {
    lost = error;
  });
  try {
    await client.connect();
    await work(client);
  } catch (error) {
    throw mapDatabaseError(lost ?? explained(error));
  } finally {
    await client.end().catch(() => undefined); // the connection is no longer needed, whatever its state
  }
}

interface Blocker {
  readonly pid: number;
  readonly application: string;
  readonly seconds: number;
  readonly query: string;
}

/** The sessions that hold a lock for which session `pid` waits; the oldest transaction first. */
async function blockersOf(client: Client, pid: number): Promise<Blocker[]> {
  const { rows } = await client.query<Blocker>(
    `
    SELECT pid, application_name AS application,
      extract(epoch FROM now() - coalesce(xact_start, state_change, now()))::int AS seconds,
      left(regexp_replace(query, '\\s+', ' ', 'g'), 60) AS query
    FROM pg_stat_activity
    WHERE pid = ANY (pg_blocking_pids($1))
    ORDER BY seconds DESC
    LIMIT 3
    `,
    [pid],
  );
  return rows;
}

const blockerText = ({ pid, application, seconds, query }: Blocker): string =>
  `session ${pid} (${application || "unnamed"}, in its transaction for ${seconds} s: ${query})`;

/** Runs `work` on the client; if it waits for a lock in vain, throws RotaError TimedOut, which names the holders. */
async function whileWatched(
  url: string,
  client: Client,
  work: () => Promise<unknown>,
): Promise<void> {
  const { rows } = await client.query<{ pid: number }>("SELECT pg_backend_pid() AS pid");
  const pid = rows[0]?.pid ?? 0;
  let blockers: readonly Blocker[] = [];
  await withClient(url, async (watcher) => {
    let looking = Promise.resolve();
    const look = async (): Promise<void> => {
      const found = await blockersOf(watcher, pid);
      if (found.length > 0) blockers = found;
    };
    const timer = setInterval(() => {
      looking = look().catch(() => undefined); // only the message is poorer
    }, watchMilliseconds);
    try {
      await work();
    } catch (error) {
      if (!(error instanceof Error && /lock timeout/.test(error.message))) throw error;
      const holders = blockers.map(blockerText).join("; ") || "another session";
      const message = `a migration waits for a lock that is held by ${holders}`;
      throw new RotaError("TimedOut", message, { cause: error });
    } finally {
      clearInterval(timer);
      await looking;
    }
  });
}

/**
 * Runs the missing migrations. Safe to call from several operators at once: one migrates, the others wait.
 * Throws RotaError: SchemaChanged, DatabaseTooNew, DatabaseUnavailable, TimedOut while another session holds a lock that
 * a migration needs (call it again), or the error of the failed migration.
 */
export function migrate(url: string, directory: string = migrationsDirectory): Promise<void> {
  return withClient(url, async (client) => {
    const isBehind = await refuseOtherSchema(client, directory);
    if (isBehind) await whileWatched(url, client, () => runMigrations({ client }, directory));
  });
}

/** Throws RotaError SchemaChanged or DatabaseTooNew if `migrate` would; changes nothing. */
export function checkSchema(url: string): Promise<void> {
  return withClient(url, async (client) => {
    await refuseOtherSchema(client, migrationsDirectory);
  });
}
