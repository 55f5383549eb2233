/** Where the local environment keeps its things. */
import { homedir } from "node:os";
import { join } from "node:path";

export const projectRoot = join(import.meta.dirname, "..", "..");

/** State of `npm run local:up`: data, logs, process records, env file. */
export const localFolder = join(projectRoot, ".local");

/** Shared between checkouts of one user: what is expensive to make and depends only on its inputs. */
export const cacheFolder = (env: NodeJS.ProcessEnv = process.env): string =>
  join(env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "rota");
