/** Every row of a database's tables, to compare before and after. */
import { Client } from "pg";

export type Row = Readonly<Record<string, unknown>>;
export type Tables = ReadonlyMap<string, readonly Row[]>;

export async function readTables(url: string): Promise<Tables> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const { rows: tables } = await client.query<{ name: string }>(
      `SELECT relname AS name
       FROM pg_class
       WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace`,
    );
    const read = new Map<string, Row[]>();
    for (const { name } of tables) {
      const { rows } = await client.query<{ row: Row }>(`SELECT to_jsonb(t) AS row FROM ${name} t`);
      read.set(
        name,
        rows.map(({ row }) => row),
      );
    }
    return read;
  } finally {
    await client.end();
  }
}

const says = (row: Row, column: string, value: unknown): boolean =>
  JSON.stringify(row[column]) === JSON.stringify(value);

/** The former rows that no row repeats; new columns and new rows are no loss. */
export const lostRows = (former: readonly Row[], rows: readonly Row[]): Row[] =>
  former.filter(
    (old) =>
      !rows.some((row) => Object.entries(old).every(([column, value]) => says(row, column, value))),
  );
