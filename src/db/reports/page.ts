/** Common parts of the HTTP API's queries: keyset pages of the rows that a caller may see. */
import type { QueryResultRow } from "pg";
import { run } from "../client/connection-pool.ts";
import type { Queryable } from "../client/types.ts";

/** Namespaces whose jobs the caller may see; null: all. */
export type VisibleNamespaces = readonly string[] | null;

export interface PageRequest<Key> {
  readonly limit: number;
  /** The key of the previous page's last row; absent for the first page. */
  readonly after?: Key | undefined;
}

export interface Page<Row, Key> {
  readonly rows: readonly Row[];
  /** Key of the last row; null on the last page. */
  readonly next: Key | null;
}

export interface PageStatement<Row, Shown, Key> {
  /** The last parameter is LIMIT. */
  readonly text: string;
  /** All parameters except LIMIT. */
  readonly values: readonly unknown[];
  readonly limit: number;
  readonly keyOf: (row: Row) => Key;
  readonly show: (row: Row) => Shown;
}

/** Reads one row more than the page holds, to know whether there is a next page. */
export async function readPage<Row extends QueryResultRow, Shown, Key>(
  db: Queryable,
  { text, values, limit, keyOf, show }: PageStatement<Row, Shown, Key>,
): Promise<Page<Shown, Key>> {
  const rows = await run<Row>(db, text, [...values, limit + 1]);
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  const next = rows.length > limit && last !== undefined ? keyOf(last) : null;
  return { rows: shown.map(show), next };
}

/** For rows that need no conversion. */
export const asItIs = <Row>(row: Row): Row => row;
