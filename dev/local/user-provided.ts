/** A cluster or a database that the user brings along in the environment. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Client } from "pg";
import { checkSchema } from "../../src/db/client/migrate.ts";
import { clientFor, filesOf } from "./kube-client.ts";
import { localFolder } from "./paths.ts";

/**
 * KUBECONFIG, unless it is empty or our own: a shell that has sourced .local/env asks for the
 * local cluster, which may have to be started.
 */
export function externalKubeconfig(
  env: NodeJS.ProcessEnv,
  folder = localFolder,
): string | undefined {
  const value = env["KUBECONFIG"];
  return value && value !== join(folder, "cluster", "kubeconfig") ? value : undefined;
}

/** DATABASE_URL, unless it is empty or that of our own server. */
export function externalDatabaseUrl(
  env: NodeJS.ProcessEnv,
  folder = localFolder,
): string | undefined {
  const value = env["DATABASE_URL"];
  const passwordFile = join(folder, "postgres", "password");
  const ownPassword = existsSync(passwordFile) && readFileSync(passwordFile, "utf8").trim();
  const isOwn = value && ownPassword && value.includes(`:${ownPassword}@127.0.0.1:`);
  return value && !isOwn ? value : undefined;
}

/** One clear message when the cluster that KUBECONFIG names cannot be used; else its version. */
export async function checkCluster(kubeconfig: string): Promise<string> {
  const missing = filesOf(kubeconfig).find((file) => !existsSync(file));
  if (missing) throw new Error(`KUBECONFIG names ${missing}, which is not there`);
  try {
    return await versionOf(kubeconfig);
  } catch (error) {
    throw new Error(`KUBECONFIG (${kubeconfig}) cannot be used: ${reasonOf(error)}`, {
      cause: error,
    });
  }
}

async function versionOf(kubeconfig: string): Promise<string> {
  const client = clientFor(kubeconfig);
  try {
    const answer = await client.raw("GET", "/version", undefined, { attempts: 1 });
    const isVersion = typeof answer === "object" && answer !== null && "gitVersion" in answer;
    return isVersion ? String(answer.gitVersion) : "of unknown version";
  } finally {
    await client.close();
  }
}

/** Node reports a connection that failed at each address of a host as a group of errors. */
function reasonOf(error: unknown): string {
  const single: unknown = error instanceof AggregateError ? error.errors[0] : error;
  return single instanceof Error ? single.message : String(single);
}

const connectTimeoutMs = 10_000;

/** One clear message when the database that DATABASE_URL names cannot be used. */
export async function checkDatabase(url: string): Promise<void> {
  try {
    const client = new Client({ connectionString: url, connectionTimeoutMillis: connectTimeoutMs });
    client.on("error", () => undefined);
    await client.connect();
    await client.end();
    await checkSchema(url);
  } catch (error) {
    throw new Error(`DATABASE_URL (${withoutPassword(url)}) cannot be used: ${reasonOf(error)}`, {
      cause: error,
    });
  }
}

/** For messages and logs. */
export const withoutPassword = (url: string): string => url.replace(/:\/\/([^:/@]*):.*@/, "://$1@");
