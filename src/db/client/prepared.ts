/** Statements that each connection prepares once: to parse and plan them costs more than to change one row. */
import type { Client } from "pg";

const names = new Map<string, string>();

/**
 * Marks a statement that runs often, under a name of its own that metrics show. PostgreSQL plans it for its
 * parameters five times and then keeps one plan for all, unless that seems worse; it plans again after
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

/** A class for the pool's option `Client` that sends marked statements under their names. */
export function preparingClient(Base: typeof Client): typeof Client {
  return class PreparingClient extends Base {
    // The overloads of Client.query cannot be told apart by their types: whatever it is given is passed on.
    override query(...[text, ...rest]: unknown[]): never {
      return Reflect.apply(super.query.bind(this), undefined, [named(text), ...rest]) as never;
    }
  };
}
