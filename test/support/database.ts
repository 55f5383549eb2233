/** One database per test file, cloned from a template that is migrated once per server. */
import { createHash, randomUUID } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Client } from "pg";
import { migrate, migrationsDirectory } from "../../src/db/client/migrate.ts";
import {
  createPool,
  type DatabasePool,
  type PoolOptions,
} from "../../src/db/client/connection-pool.ts";
import { acquireServer, releaseServer } from "./database-server.ts";

export interface TestDatabase {
  readonly url: string;
  readonly pool: DatabasePool;
  /** Closes the pool and drops the database. */
  drop(): Promise<void>;
}

const templateLock = 7999;

/** Depends on the migrations: other migrations need another template. */
function templateName(): string {
  const hash = createHash("sha256");
  for (const file of readdirSync(migrationsDirectory).sort()) {
    hash.update(file).update(readFileSync(join(migrationsDirectory, file)));
  }
  return `rota_template_${hash.digest("hex").slice(0, 16)}`;
}

export function databaseUrl(serverUrl: string, name: string): string {
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  return url.toString();
}

async function withAdmin<Result>(
  serverUrl: string,
  work: (admin: Client) => Promise<Result>,
): Promise<Result> {
  const admin = new Client({ connectionString: serverUrl });
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.end();
  }
}

/** Migrated under a temporary name, so that an existing template is complete, even if a process was killed. */
async function ensureTemplate(admin: Client, serverUrl: string): Promise<string> {
  const name = templateName();
  await admin.query("SELECT pg_advisory_lock($1)", [templateLock]);
  const found = await admin.query("SELECT FROM pg_database WHERE datname = $1", [name]);
  if (found.rowCount === 0) {
    await admin.query(`DROP DATABASE IF EXISTS ${name}_building WITH (FORCE)`);
    await admin.query(`CREATE DATABASE ${name}_building`);
    await migrate(databaseUrl(serverUrl, `${name}_building`));
    await admin.query(`ALTER DATABASE ${name}_building RENAME TO ${name}`);
  }
  await admin.query("SELECT pg_advisory_unlock($1)", [templateLock]);
  return name;
}

/** A new database with the whole schema. */
export async function createTestDatabase(options: PoolOptions = {}): Promise<TestDatabase> {
  const server = await acquireServer();
  const name = `rota_test_${randomUUID().replaceAll("-", "")}`;
  await withAdmin(server.url, async (admin) => {
    const template = await ensureTemplate(admin, server.url);
    await admin.query(`CREATE DATABASE ${name} TEMPLATE ${template}`);
  });
  const url = databaseUrl(server.url, name);
  const pool = createPool(url, { maxConnections: 20, ...options });
  await pool.learnTypes();
  const drop = async (): Promise<void> => {
    await pool.end();
    await withAdmin(server.url, (admin) => admin.query(`DROP DATABASE ${name} WITH (FORCE)`));
    await releaseServer();
  };
  return { url, pool, drop };
}

/** A database without the schema, for tests of migrations. */
export async function createEmptyDatabase(): Promise<TestDatabase> {
  const server = await acquireServer();
  const name = `rota_test_${randomUUID().replaceAll("-", "")}`;
  await withAdmin(server.url, (admin) => admin.query(`CREATE DATABASE ${name}`));
  const url = databaseUrl(server.url, name);
  const pool = createPool(url);
  const drop = async (): Promise<void> => {
    await pool.end();
    await withAdmin(server.url, (admin) => admin.query(`DROP DATABASE ${name} WITH (FORCE)`));
    await releaseServer();
  };
  return { url, pool, drop };
}
