/** A connection pool that lets something else happen before a statement, while a transaction is under way. */
import type { PoolClient } from "pg";
import type { DatabasePool } from "../../src/db/client/connection-pool.ts";

export type Interruption = (client: PoolClient) => Promise<void>;

type Method = (...args: unknown[]) => unknown;

/** `take` is asked before each statement of a connection, and hands an interruption out once. */
export const interruptible = (
  pool: DatabasePool,
  take: () => Interruption | undefined,
): DatabasePool =>
  withMethod(pool, "connect", () => async () => {
    const client = await pool.connect();
    return withMethod(client, "query", (query) => async (...args) => {
      await take()?.(client);
      return query(...args);
    });
  });

/** The same object with one method replaced; all are called on the object itself. */
function withMethod<Target extends object>(
  target: Target,
  name: keyof Target,
  replace: (original: Method) => Method,
): Target {
  return new Proxy(target, {
    get: (_, property) => {
      const value: unknown = Reflect.get(target, property, target);
      if (typeof value !== "function") return value;
      const method: Method = (...args) => Reflect.apply(value, target, args);
      return property === name ? replace(method) : method;
    },
  });
}
