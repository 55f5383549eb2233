/** The connection pool: bounds every wait and retries transactions a limited number of times. */
import { Client, Pool, type PoolClient, type PoolConfig, type QueryResultRow } from "pg";
import { mapDatabaseError } from "./constraint-errors.ts";
import { measuredClient, type OnStatement } from "./measured-client.ts";
import { preparingClient } from "./prepared.ts";
import { TypeRegistry, type Queryable } from "./types.ts";

export interface PoolOptions {
  /** Shown in pg_stat_activity. */
  readonly applicationName?: string;
  /** Maximum of open connections; default 10. */
  readonly maxConnections?: number;
  /** Maximum wait for a connection; default 5. */
  readonly connectTimeoutSeconds?: number;
  /** Maximum duration of a statement; default 30. */
  readonly statementTimeoutSeconds?: number;
  /** Maximum wait for a lock; default 10. */
  readonly lockTimeoutSeconds?: number;
  /** Maximum idle time inside a transaction; default 30. */
  readonly idleInTransactionTimeoutSeconds?: number;
  /** Called for errors on idle connections, which the pool replaces by itself. */
  readonly onError?: (error: Error) => void;
  /** Called at the end of every statement, whether it succeeded or failed. */
  readonly onStatement?: OnStatement;
}

export interface DatabasePool extends Pool {
  /** Registers the types of this database; call it after the migrations. */
  learnTypes(): Promise<void>;
}

const milliseconds = (seconds: number): number => Math.round(seconds * 1000);

/**
 * Settings of every session. jit is off because compilation made the scheduler's statements a hundred times slower
 * (700 ms instead of 6). The client's timeout is slightly longer than the server's; it covers a server that disappears
 * without closing the connection.
 */
function poolConfig(url: string, options: PoolOptions, types: TypeRegistry): PoolConfig {
  const statementSeconds = options.statementTimeoutSeconds ?? 30;
  return {
    connectionString: url,
    application_name: options.applicationName ?? "rota",
    max: options.maxConnections ?? 10,
    connectionTimeoutMillis: milliseconds(options.connectTimeoutSeconds ?? 5),
    statement_timeout: milliseconds(statementSeconds),
    query_timeout: milliseconds(statementSeconds + 5),
    lock_timeout: milliseconds(options.lockTimeoutSeconds ?? 10),
    idle_in_transaction_session_timeout: milliseconds(
      options.idleInTransactionTimeoutSeconds ?? 30,
    ),
    idleTimeoutMillis: 60_000,
    keepAlive: true,
    options: "-c jit=off -c timezone=UTC -c datestyle=ISO",
    types: {
      getTypeParser: ((oid: number, format?: "text" | "binary") =>
        types.getTypeParser(oid, format)) as never,
    },
  };
}

/** Opens a pool; it connects on first use. */
export function createPool(url: string, options: PoolOptions = {}): DatabasePool {
  const types = new TypeRegistry();
  const { onStatement } = options;
  const pool = new Pool({
    ...poolConfig(url, options, types),
    Client: preparingClient(onStatement ? measuredClient(onStatement) : Client),
  });
  // Without a listener, an idle connection that the server closes would crash the process.
  pool.on("error", (error) => options.onError?.(error));
  return Object.assign(pool, { learnTypes: () => types.learn(pool) });
}

export interface TransactionOptions {
  readonly isolation?: "READ COMMITTED" | "REPEATABLE READ" | "SERIALIZABLE";
  /** Runs the transaction READ ONLY. */
  readonly readOnly?: boolean;
  /** Maximum of attempts after conflicts with other transactions (40001, 40P01); default 5. */
  readonly attempts?: number;
  /** Returns 0 inclusive to 1 exclusive; default Math.random. */
  readonly random?: () => number;
}

const retriedStates = new Set(["40001", "40P01"]);
const maxPauseMilliseconds = 500;

const isRetried = (error: unknown): boolean =>
  error instanceof Error &&
  "code" in error &&
  typeof error.code === "string" &&
  retriedStates.has(error.code);

/** Full jitter: a pause between 0 and 10 ms x 2^turn, capped at half a second. */
function pause(turn: number, random: () => number): Promise<void> {
  const longest = Math.min(maxPauseMilliseconds, 10 * 2 ** turn);
  return new Promise((resolve) => {
    setTimeout(resolve, random() * longest);
  });
}

/** One attempt. Discards the connection if the rollback fails. */
async function runOnce<Result>(
  pool: Pool,
  begin: string,
  work: (client: PoolClient) => Promise<Result>,
): Promise<Result> {
  const client = await pool.connect();
  let broken: Error | undefined;
  const noteBroken = (error: Error): void => {
    broken = error;
  };
  client.on("error", noteBroken);
  try {
    await client.query(begin);
    const result = await work(client);
    await client.query("COMMIT");
    return result;
  } catch (error) {
    await client.query("ROLLBACK").catch(noteBroken);
    throw error;
  } finally {
    client.off("error", noteBroken);
    client.release(broken);
  }
}

/**
 * Runs `work` in a transaction and commits it. Retries serialisation failures and deadlocks with jittered pauses, so
 * `work` must have no side effects outside the database.
 * Throws RotaError: SerializationFailed after the last attempt, otherwise the one that the error maps to.
 */
export async function withTransaction<Result>(
  pool: Pool,
  work: (client: PoolClient) => Promise<Result>,
  options: TransactionOptions = {},
): Promise<Result> {
  const access = options.readOnly === true ? " READ ONLY" : "";
  const begin = `BEGIN ISOLATION LEVEL ${options.isolation ?? "READ COMMITTED"}${access}`;
  const attempts = options.attempts ?? 5;
  for (let turn = 1; ; turn += 1) {
    try {
      return await runOnce(pool, begin, work);
    } catch (error) {
      if (turn >= attempts || !isRetried(error)) throw mapDatabaseError(error);
    }
    await pause(turn, options.random ?? Math.random);
  }
}

/** Runs one statement. Throws RotaError if the database refuses it. */
export async function run<Row extends QueryResultRow>(
  db: Queryable,
  text: string,
  values: readonly unknown[] = [],
): Promise<Row[]> {
  try {
    return (await db.query<Row>(text, values)).rows;
  } catch (error) {
    if (isRetried(error)) throw error; // withTransaction handles these
    throw mapDatabaseError(error);
  }
}
