/** Statements that each connection prepares once: parsing and planning cost more than changing one row. */
import type { Client } from "pg";

const names = new Map<string, string>();

/**
 * Marks a frequent statement with a unique name, which also appears in metrics. PostgreSQL plans the first five
 * executions for their parameters, then keeps one generic plan unless it looks more expensive. It plans again after
 * ANALYZE, which autovacuum runs about a minute after a table has grown.
 */
export const prepared =
  (name: string) =>
  (text: TemplateStringsArray, ...parts: readonly string[]): string => {
    const statement = String.raw({ raw: text }, ...parts);
    names.set(statement, name);
    return statement;
  };

const named = (given: unknown): unknown => {
  const name = typeof given === "string" ? names.get(given) : undefined;
  return name === undefined ? given : { name, text: given };
};

/** A class for the connection pool's option `Client` that sends marked statements under their names. */
export function preparingClient(Base: typeof Client): typeof Client {
  return class PreparingClient extends Base {
    // The types of Client.query's overloads do not distinguish them, so all arguments are passed on unchanged.
    override query(...[text, ...rest]: unknown[]): never {
      return Reflect.apply(super.query.bind(this), undefined, [named(text), ...rest]) as never;
    }
  };
}
