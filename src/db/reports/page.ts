/** What the questions of the HTTP API have in common: keyset pages over the rows that a caller may see. */

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

/** Statements ask for one row more than the page has, which tells whether there is a next one. */
export function pageOf<Row, Key>(
  rows: readonly Row[],
  limit: number,
  keyOf: (row: Row) => Key,
): Page<Row, Key> {
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  return { rows: shown, next: rows.length > limit && last !== undefined ? keyOf(last) : null };
}
