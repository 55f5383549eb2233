/** A migrated PostgreSQL of its own, gone afterwards. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startPostgres } from "../../dev/local/postgres.ts";
import { migrate } from "../../src/db/client/migrate.ts";

export async function withDatabase<T>(work: (url: string) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), "rota-bench-"));
  const server = await startPostgres({ directory });
  try {
    await migrate(server.url);
    return await work(server.url);
  } finally {
    await server.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}
