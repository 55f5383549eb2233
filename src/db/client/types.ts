/** Conversion of PostgreSQL types: parsers are registered once per connection pool, never globally. */
import { types as pgTypes, type QueryResult, type QueryResultRow } from "pg";
import { RotaError } from "../../errors.ts";

/** A connection pool, or one of its clients inside a transaction. */
export interface Queryable {
  query<Row extends QueryResultRow>(
    text: string,
    values?: readonly unknown[],
  ): Promise<QueryResult<Row>>;
}

/** An int4range; null is infinity. PostgreSQL normalises every finite range to [lower, upper). */
export type IntegerRange =
  | { readonly empty: true }
  | {
      readonly empty: false;
      readonly lower: number | null;
      readonly upper: number | null;
      readonly lowerInclusive: boolean;
      readonly upperInclusive: boolean;
    };

const rangePattern = /^([[(])(-?\d*),(-?\d*)([\])])$/;
const bound = (text: string): number | null => (text === "" ? null : Number(text));

/** Parses PostgreSQL's text form of an int4range. Throws RotaError InvalidValue. */
export function parseIntegerRange(text: string): IntegerRange {
  if (text === "empty") return { empty: true };
  const [, open, lower, upper, close] = rangePattern.exec(text) ?? [];
  if (lower === undefined || upper === undefined) {
    throw new RotaError("InvalidValue", `not an integer range: ${text}`);
  }
  return {
    empty: false,
    lower: bound(lower),
    upper: bound(upper),
    lowerInclusive: open === "[",
    upperInclusive: close === "]",
  };
}

/** bigint as a number: all of Rota's (bytes, millicores, generations) are far below 2^53; larger ones are refused. */
export function parseSafeInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value))
    throw new RotaError("InvalidValue", `${text} is not a safe integer`);
  return value;
}

/** timestamptz in PostgreSQL's text form with DateStyle ISO. */
export const parseInstant = (text: string): Temporal.Instant =>
  Temporal.Instant.from(text.replace(" ", "T"));

/** An ltree path as its labels, from the root down. */
export const parsePath = (text: string): readonly string[] => (text === "" ? [] : text.split("."));
/** The inverse of parsePath: an ltree path from its labels, from the root down. */
export const formatPath = (labels: readonly string[]): string => labels.join(".");

type Parser = (text: string) => unknown;
type LookUp = (oid: number, format: "text" | "binary") => Parser;

/** @types/pg describes an older form of this object. */
const arrayReader = pgTypes.arrayParser as unknown as {
  create(text: string, parse: Parser): { parse(): unknown[] };
};

const arrayOf =
  (parse: Parser): Parser =>
  (text) =>
    arrayReader.create(text, parse).parse();

const fixedParsers: ReadonlyMap<number, Parser> = new Map<number, Parser>([
  [20, parseSafeInteger],
  [1016, arrayOf(parseSafeInteger)],
  [3904, parseIntegerRange],
  [3905, arrayOf(parseIntegerRange)],
  [1184, parseInstant],
  [1185, arrayOf(parseInstant)],
]);

/** The parsers of one connection pool. Extension types and Rota's enums have different oids in every database. */
export class TypeRegistry {
  readonly #parsers = new Map(fixedParsers);

  /** node-postgres calls this for each column. */
  getTypeParser(oid: number, format?: "text" | "binary"): Parser {
    const own = format === "binary" ? undefined : this.#parsers.get(oid);
    return own ?? (pgTypes.getTypeParser as LookUp)(oid, format ?? "text");
  }

  /** Learns ltree, and arrays of ltree and of Rota's enums, which would otherwise arrive as text. */
  async learn(db: Queryable): Promise<void> {
    const { rows } = await db.query<{ oid: number; name: string; element: string }>(`
      SELECT list.oid::int AS oid, item.typname AS name, item.typtype AS element
      FROM pg_type AS item
      JOIN pg_type AS list ON list.oid = item.typarray
      WHERE item.typname = 'ltree' OR item.typtype = 'e'
      UNION ALL
      SELECT oid::int, 'path', typtype FROM pg_type WHERE typname = 'ltree'
    `);
    for (const { oid, name } of rows) this.#parsers.set(oid, parserFor(name));
  }
}

function parserFor(name: string): Parser {
  if (name === "path") return parsePath;
  return arrayOf(name === "ltree" ? parsePath : (text) => text);
}
