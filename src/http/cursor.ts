/** Cursors: the key of a page's last row, opaque to clients. */
import type { z } from "zod";
import { HttpProblem } from "./problem.ts";

export const encodeCursor = (key: unknown): string =>
  Buffer.from(JSON.stringify(key)).toString("base64url");

/** The key in the cursor; undefined without one. Throws HttpProblem InvalidCursor. */
export function decodeCursor<Key>(
  cursor: string | undefined,
  schema: z.ZodType<Key>,
): Key | undefined {
  if (cursor === undefined) return undefined;
  try {
    const text = Buffer.from(cursor, "base64url").toString();
    // PostgreSQL's text has no NUL.
    if (text.includes(String.raw`\u0000`)) throw new Error("the key has a NUL character");
    return schema.parse(JSON.parse(text));
  } catch (error) {
    throw new HttpProblem(
      "InvalidCursor",
      "cursor must be the value of `next` of the previous page; omit it for the first page",
      { cause: error },
    );
  }
}

export const nextCursor = (key: unknown): string | null =>
  key === null ? null : encodeCursor(key);
