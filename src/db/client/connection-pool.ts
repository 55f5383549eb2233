/** The connection pool: limits on everything that can wait, transactions with bounded retries. */
import { Client, Pool, type PoolClient, type PoolConfig, type QueryResultRow } from "pg";
import { storableText } from "../../domain/text.ts";
import { mapDatabaseError } from "./constraint-errors.ts";
import { measuredClient, type OnStatement } from "./measured-client.ts";
import { preparingClient } from "./prepared.ts";
import { TypeRegistry, type Queryable } from "./types.ts";

export interface PoolOptions {
  /** Shown in pg_stat_activity. */
  readonly applicationName?: string;
  /** Most connections at once; default 10. */
  readonly maxConnections?: number;
  /** Longest wait for a connection; default 5. */
  readonly connectTimeoutSeconds?: number;
  /** Longest statement; default 30. */
  readonly statementTimeoutSeconds?: number;
  /** Longest wait for a lock; default 10. */
  readonly lockTimeoutSeconds?: number;
  /** Longest pause inside a transaction; default 30. */
  readonly idleInTransactionTimeoutSeconds?: number;
  /** Told of errors on idle connections, which the pool replaces by itself. */
  readonly onError?: (error: Error) => void;
  /** Told of every statement when it has ended, well or not. */
  readonly onStatement?: OnStatement;
}

export interface DatabasePool extends Pool {
  /** Registers the types of this database; call it once the schema is there. */
  learnTypes(): Promise<void>;
}

const milliseconds = (seconds: number): number => Math.round(seconds * 1000);

/**
 * Settings of every session. jit off: it made the scheduler's statements a hundred times slower than
 * they run (700 ms against 6). The client's own timeout is a little longer than the server's, for a
 * server that is gone without closing the connection.
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

/** Opens a pool; connections are made when they are needed. */
export function createPool(url: string, options: PoolOptions = {}): DatabasePool {
  const types = new TypeRegistry();
  const { onStatement } = options;
  const pool = new Pool({
    ...poolConfig(url, options, types),
    Client: preparingClient(onStatement ? measuredClient(onStatement) : Client),
  });
  // Without a listener an idle connection that the server ends would end the process.
  pool.on("error", (error) => options.onError?.(error));
  return Object.assign(pool, { learnTypes: () => types.learn(pool) });
}

export interface TransactionOptions {
  readonly isolation?: "READ COMMITTED" | "REPEATABLE READ" | "SERIALIZABLE";
  /** Refuses to write. */
  readonly readOnly?: boolean;
  /** Turns in all, when others are in the way (40001, 40P01); default 5. */
  readonly attempts?: number;
  /** 0 inclusive to 1 exclusive; default Math.random. */
  readonly random?: () => number;
}

const retriedStates = new Set(["40001", "40P01"]);
const maxPauseMilliseconds = 500;

const isRetried = (error: unknown): boolean =>
  error instanceof Error &&
  "code" in error &&
  typeof error.code === "string" &&
  retriedStates.has(error.code);

/** Full jitter: a pause between 0 and 10 ms x 2^turn, at most half a second. */
function pause(turn: number, random: () => number): Promise<void> {
  const quota = Math.min(maxPauseMilliseconds, 10 * 2 ** turn);
  return new Promise((resolve) => {
    setTimeout(resolve, random() * quota);
  });
}

/** One turn. A connection that failed to roll back is not given to anyone else. */
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
 * Runs `work` in a transaction and commits it. Serialisation failures and deadlocks run it again, with
 * jittered pauses; so `work` must do nothing but talk to the database.
 * Throws RotaError: SerializationFailed after the last turn, otherwise what the constraint says.
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

const storable = (value: unknown): unknown => {
  if (typeof value === "string") return storableText(value);
  return Array.isArray(value) ? value.map(storable) : value;
};

/**
 * Runs one statement; throws RotaError for whatever the database refuses. Texts among the values are made storable;
 * JSON has to be already (`storableJson`).
 */
export async function run<Row extends QueryResultRow>(
  db: Queryable,
  text: string,
  values: readonly unknown[] = [],
): Promise<Row[]> {
  try {
    return (await db.query<Row>(text, values.map(storable))).rows;
  } catch (error) {
    if (isRetried(error)) throw error; // withTransaction decides about these
    throw mapDatabaseError(error);
  }
}
