/** Users and groups that own projects, plans and storages, or are members of projects. */
import { run } from "../client/connection-pool.ts";
import type { Queryable } from "../client/types.ts";

export interface Owner {
  readonly kind: "User" | "Group";
  readonly name: string;
}

/** Ids of the owners, in the given order; creates missing ones without races. One statement. */
export async function ensureOwners(db: Queryable, owners: readonly Owner[]): Promise<number[]> {
  // In order of name, so that concurrent callers insert the same new owners in the same order.
  const rows = await run<{ place: number; id: number }>(
    db,
    `
    SELECT place, ensure_owner(kind, name) AS id
    FROM (
      SELECT place, kind, name
      FROM unnest($1::owner_kind[], $2::text[]) WITH ORDINALITY AS owner (kind, name, place)
      ORDER BY kind, name
    ) AS sorted
    `,
    [owners.map((owner) => owner.kind), owners.map((owner) => owner.name)],
  );
  return rows.sort((left, right) => left.place - right.place).map((row) => row.id);
}

/** The owner's id; creates the owner if it is new. */
export async function ensureOwner(
  db: Queryable,
  kind: Owner["kind"],
  name: string,
): Promise<number> {
  const rows = await run<{ id: number }>(db, "SELECT ensure_owner($1, $2) AS id", [kind, name]);
  return rows[0]?.id ?? 0;
}
