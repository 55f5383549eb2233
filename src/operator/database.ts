/** The database as a component of the process: schema at the start, then readiness, and the end where a new start would help. */
import type { DatabasePool } from "../db/client/connection-pool.ts";
import { readOwnership } from "../db/client/identity.ts";
import { checkSchema, migrate } from "../db/client/migrate.ts";
import { mapDatabaseError } from "../db/client/constraint-errors.ts";
import { type AnchoredClock, aborted, type Clock, sleepUnlessAborted } from "../runtime/clock.ts";
import type { Component } from "../runtime/lifecycle.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Settings } from "../settings/read.ts";
import { retryUntilReady } from "./start-tries.ts";

/** Interval of the queries behind readiness, which requests for readiness do not cause. */
const probeSeconds = 2;
const answersWithinSeconds = 5;
/** A reading of the database's clock is no better than half the time it takes. */
const maxReadingSeconds = 1;
/** The machine's clock is reported when it differs by more. */
const maxSkewSeconds = 5;

export interface DatabaseOptions {
  readonly settings: Pick<Settings, "databaseUrl" | "databaseLoginSeconds">;
  readonly db: DatabasePool;
  readonly logger: Logger;
  /** Follows the database's clock from the start on. */
  readonly clock: AnchoredClock;
  /** Told once that the database has refused the login for `databaseLoginSeconds`. */
  readonly onRefused: (reason: string) => void;
}

/** Host and database name, without the password. */
function addressOf(url: string): string {
  const { host, pathname } = new URL(url);
  return `${host}${pathname}`;
}

/** One that belongs to a cluster is migrated when it is known to be this one: nothing is written into another's. */
async function prepare(url: string, db: DatabasePool): Promise<void> {
  const owner = await readOwnership(db);
  if (owner?.clusterUid === undefined) await migrate(url);
  else await checkSchema(url);
}

interface Problem {
  readonly message: string;
  readonly isRefusal: boolean;
}

class Database implements Component {
  readonly name = "database";
  readonly #options: DatabaseOptions;
  #isWritable = false;
  #isSkewed = false;
  #refusedSince: number | undefined;
  #probing: Promise<void> | undefined;

  constructor(options: DatabaseOptions) {
    this.#options = options;
  }

  async start(stopping: AbortSignal): Promise<void> {
    const { settings, db, logger, clock } = this.#options;
    const { databaseUrl } = settings;
    const address = addressOf(databaseUrl);
    const tries = { clock, logger, stopping };
    await retryUntilReady(`cannot use the database ${address} (DATABASE_URL)`, tries, () =>
      prepare(databaseUrl, db),
    );
    await db.learnTypes();
    await this.#ask();
    logger.info("connected to the database", { database: address });
    this.#isWritable = true;
    this.#probing = this.#probe(stopping);
  }

  async stop(): Promise<void> {
    await this.#probing;
    await this.#options.db.end();
  }

  ready(): boolean {
    return this.#isWritable;
  }

  async #probe(stopping: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    while (await sleepUnlessAborted(clock, probeSeconds, stopping)) {
      const asked = this.#problem();
      const problem = await Promise.race([asked, tooLate(clock, stopping)]);
      if (stopping.aborted) return;
      this.#note(problem);
      // One connection at most: the pool is the scheduler's.
      await Promise.race([asked, aborted(stopping)]);
    }
  }

  #note(problem: Problem | undefined): void {
    const { clock, logger, settings, onRefused } = this.#options;
    if (this.#isWritable && problem !== undefined)
      logger.warn("the database is not ready", { error: problem.message });
    this.#isWritable = problem === undefined;
    this.#noteSkew();
    if (problem?.isRefusal !== true) {
      this.#refusedSince = undefined;
      return;
    }
    const now = clock.monotonicSeconds();
    this.#refusedSince ??= now;
    if (now - this.#refusedSince < settings.databaseLoginSeconds) return;
    onRefused("the database refuses the login; a new start reads DATABASE_URL again");
  }

  #noteSkew(): void {
    const { clock, logger } = this.#options;
    const isSkewed = Math.abs(clock.aheadSeconds) > maxSkewSeconds;
    if (isSkewed && !this.#isSkewed)
      logger.warn("the machine's clock differs from the database's; the database's counts", {
        databaseAheadSeconds: Math.round(clock.aheadSeconds),
      });
    this.#isSkewed = isSkewed;
  }

  /** Whether the database is read-only; sets the clock. */
  async #ask(): Promise<boolean> {
    const { db, clock } = this.#options;
    const begun = clock.monotonicSeconds();
    const { rows } = await db.query<{ readOnly: boolean; milliseconds: number }>(
      `
      SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean AS "readOnly",
        (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS milliseconds
      `,
    );
    const ended = clock.monotonicSeconds();
    const [row] = rows;
    if (row === undefined) return true;
    // After a slow answer an earlier reading is the better one.
    if (ended - begun < maxReadingSeconds)
      clock.set(
        Temporal.Instant.fromEpochMilliseconds(Math.round(row.milliseconds)),
        (begun + ended) / 2,
      );
    return row.readOnly;
  }

  async #problem(): Promise<Problem | undefined> {
    try {
      const isReadOnly = await this.#ask();
      return isReadOnly ? { message: "it is read-only", isRefusal: false } : undefined;
    } catch (error) {
      const { code, message } = mapDatabaseError(error);
      return { message, isRefusal: code === "DatabaseRefusesLogin" };
    }
  }
}

async function tooLate(clock: Clock, stopping: AbortSignal): Promise<Problem> {
  await sleepUnlessAborted(clock, answersWithinSeconds, stopping);
  return { message: `no answer within ${answersWithinSeconds} s`, isRefusal: false };
}

/**
 * At start, connects to the database; an empty one gets the schema. Ready, from memory, while the database answers and
 * accepts writes: after a failover a name may still lead to the former primary.
 */
export const databaseComponent = (options: DatabaseOptions): Component => new Database(options);
