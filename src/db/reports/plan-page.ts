/** The windows of several owners' plans. */
import type { ResourceType } from "../../domain/resource-types.ts";
import { RotaError } from "../../errors.ts";
import type { Owner } from "../tenants/owners.ts";
import type { IntegerRange, Queryable } from "../client/types.ts";
import { readPage, type Page, type PageRequest } from "./page.ts";

interface Row {
  readonly ownerId: number;
  readonly kind: Owner["kind"];
  readonly name: string;
  readonly plan: string;
  readonly resourceType: ResourceType;
  readonly pool: string;
  readonly quantity: number;
  readonly onWindowClose: "Finish" | "Evict";
  readonly range: IntegerRange;
}

export interface PlanRow extends Omit<Row, "ownerId" | "kind" | "name" | "range"> {
  readonly owner: Owner;
  readonly start: number;
  readonly end: number;
}

/** Plans of one owner, type and pool do not overlap, so this identifies one window. */
export type PlanKey = readonly [ownerId: number, resourceType: string, pool: string, start: number];

export interface PlanFilter extends PageRequest<PlanKey> {
  /** Null: all owners. */
  readonly owners: readonly Owner[] | null;
}

function boundsOf(plan: string, range: IntegerRange): { start: number; end: number } {
  if (range.empty || range.lower === null || range.upper === null) {
    throw new RotaError("InternalError", `plan ${plan} has a window outside the week`);
  }
  return { start: range.lower, end: range.upper };
}

const planRow = ({ ownerId: _id, kind, name, range, ...row }: Row): PlanRow => ({
  ...row,
  owner: { kind, name },
  ...boundsOf(row.plan, range),
});

/** A page of windows, by owner, type, pool and start. Throws RotaError InternalError for a window outside the week. */
export function planPage(
  db: Queryable,
  { owners, limit, after }: PlanFilter,
): Promise<Page<PlanRow, PlanKey>> {
  return readPage<Row, PlanRow, PlanKey>(db, {
    text: `
    SELECT owner.id AS "ownerId", owner.kind, owner.name, plan.plan_name AS plan,
      plan.resource_type AS "resourceType", plan.pool, plan.quantity, plan.on_window_close AS "onWindowClose",
      plan.time_window AS range
    FROM resource_plans AS plan
    JOIN owners AS owner ON owner.id = plan.resource_owner_id
    WHERE ($1::owner_kind[] IS NULL OR (owner.kind, owner.name) IN (
        SELECT * FROM unnest($1::owner_kind[], $2::text[])
      ))
      AND ($3::bigint IS NULL OR
        (owner.id, plan.resource_type, plan.pool, lower(plan.time_window)) > ($3, $4::text COLLATE "C", $5::text, $6::int))
    ORDER BY owner.id, plan.resource_type, plan.pool, lower(plan.time_window)
    LIMIT $7
    `,
    values: [
      owners?.map(({ kind }) => kind) ?? null,
      owners?.map(({ name }) => name) ?? null,
      after?.[0] ?? null,
      after?.[1] ?? null,
      after?.[2] ?? null,
      after?.[3] ?? null,
    ],
    limit,
    keyOf: (row) => [row.ownerId, row.resourceType, row.pool, boundsOf(row.plan, row.range).start],
    show: planRow,
  });
}
