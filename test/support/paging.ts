/** Reads pages like a client. */
import type { Page, PageRequest } from "../../src/db/reports/page.ts";

/** All rows, read page by page. */
export async function allPages<Row, Key>(
  read: (request: PageRequest<Key>) => Promise<Page<Row, Key>>,
  limit = 3,
): Promise<Row[]> {
  const rows: Row[] = [];
  let after: Key | undefined;
  for (let turn = 0; turn < 100; turn += 1) {
    const page = await read({ limit, ...(after === undefined ? {} : { after }) });
    rows.push(...page.rows);
    if (page.next === null) return rows;
    after = page.next;
  }
  throw new Error("the pages have no end");
}
