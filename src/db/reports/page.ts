/** What the questions of the HTTP API have in common: keyset pages over the rows that a caller may see. */
import type { QueryResultRow } from "pg";
import { run } from "../client/connection-pool.ts";
import type { Queryable } from "../client/types.ts";

/** Namespaces whose jobs a caller may see; null: all of them. */
export type VisibleNamespaces = readonly string[] | null;

export interface PageRequest<Key> {
  readonly limit: number;
  /** The key of the former page's last row; absent for the first page. */
  readonly after?: Key | undefined;
}

export interface Page<Row, Key> {
  readonly rows: readonly Row[];
  /** Key of the last row; null when there are no more. */
  readonly next: Key | null;
}

export interface PageStatement<Row, Shown, Key> {
  /** Its last parameter is its LIMIT. */
  readonly text: string;
  /** Of all parameters but the last. */
  readonly values: readonly unknown[];
  readonly limit: number;
  readonly keyOf: (row: Row) => Key;
  readonly show: (row: Row) => Shown;
}

/** One row more than the page has is asked for, which tells whether there is a next one. */
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

/** For rows that are shown as they are. */
export const asItIs = <Row>(row: Row): Row => row;
