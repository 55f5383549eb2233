/** Brings a database to the schema in migrations/, forward only. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Client } from "pg";
import { loadMigrationFiles, migrate as runMigrations } from "postgres-migrations";
import { RotaError } from "../../errors.ts";
import { mapDatabaseError } from "./constraint-errors.ts";

/** Beside the program where it is bundled, else in the project's root. */
const besideProgram = join(import.meta.dirname, "migrations");
export const migrationsDirectory = existsSync(besideProgram)
  ? besideProgram
  : join(import.meta.dirname, "..", "..", "..", "migrations");

const connectTimeoutMilliseconds = 10_000;
/** A migration may rewrite large tables; this bounds one that hangs. */
const statementTimeoutMilliseconds = 600_000;

async function appliedVersion(client: Client): Promise<number> {
  const { rows } = await client.query<{ known: boolean }>(
    "SELECT to_regclass('public.migrations') IS NOT NULL AS known",
  );
  if (rows[0]?.known !== true) return 0;
  const newest = await client.query<{ version: number }>(
    "SELECT max(id)::int AS version FROM public.migrations",
  );
  return newest.rows[0]?.version ?? 0;
}

/** postgres-migrations lets a newer database pass, and old code would write into a schema it does not know. */
async function refuseNewer(client: Client, directory: string): Promise<void> {
  const files = await loadMigrationFiles(directory);
  const known = files.at(-1)?.id ?? 0;
  const applied = await appliedVersion(client);
  if (applied <= known) return;
  throw new RotaError(
    "DatabaseTooNew",
    `the database is at version ${applied}, this program knows ${known}: upgrade it`,
  );
}

const extensionTrouble = /extension "?(ltree|btree_gist)|(ltree|btree_gist)\.control/;

/** The server's own words do not say what to install. */
function explained(error: unknown): unknown {
  const text = error instanceof Error ? error.message : String(error);
  if (!extensionTrouble.test(text)) return error;
  return new RotaError(
    "ExtensionMissing",
    `PostgreSQL needs the extensions ltree and btree_gist: install its contrib package, or let an administrator run CREATE EXTENSION for both in this database (${text.split("\n", 1)[0] ?? ""})`,
    { cause: error },
  );
}

async function migrateWith(client: Client, directory: string): Promise<void> {
  await client.connect();
  await refuseNewer(client, directory);
  await runMigrations({ client }, directory);
}

/**
 * Runs the migrations that are missing; any number of operators may do so at once (one runs, the others
 * wait). Throws RotaError: DatabaseTooNew, DatabaseUnavailable, or what a migration failed with.
 */
export async function migrate(url: string, directory: string = migrationsDirectory): Promise<void> {
  const client = new Client({
    connectionString: url,
    application_name: "rota-migrate",
    connectionTimeoutMillis: connectTimeoutMilliseconds,
    statement_timeout: statementTimeoutMilliseconds,
  });
  let lost: Error | undefined;
  client.on("error", (error) => {
    lost = error;
  });
  try {
    await migrateWith(client, directory);
  } catch (error) {
    throw mapDatabaseError(lost ?? explained(error));
  } finally {
    await client.end().catch(() => undefined); // the connection is of no use any more, whatever its state
  }
}
