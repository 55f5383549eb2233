import { z } from "zod";
import type { Owner } from "../../db/tenants/owners.ts";
import { planPage, type PlanRow } from "../../db/reports/plan-page.ts";
import { ownersAbove } from "../../db/reports/project-page.ts";
import { rangeText } from "../../domain/windows.ts";
import type { Caller } from "../identity.ts";
import { decodeCursor, nextCursor } from "../cursor.ts";
import { HttpProblem } from "../problem.ts";
import type { ApiContext, Handler, ApiRequest } from "./types.ts";

const key = z.tuple([z.int32(), z.string(), z.string(), z.int32()]);

const listPlans = { verb: "list", group: "rota.dev", resource: "resourceplans" } as const;

const planWindow = ({ start, end, ...row }: PlanRow) => ({
  ...row,
  startSecond: start,
  endSecond: end,
  text: rangeText({ start, end }),
});

const ownersOf = ({ user, groups }: Caller): Owner[] => [
  { kind: "User", name: user },
  ...groups.map((name) => ({ kind: "Group" as const, name })),
];

const isSame = (one: Owner) => (other: Owner) => one.kind === other.kind && one.name === other.name;

function askedOwner({ ownerKind, ownerName }: ApiRequest<"plans">["query"]): Owner | undefined {
  if (ownerKind === undefined && ownerName === undefined) return undefined;
  if (ownerKind !== undefined && ownerName !== undefined)
    return { kind: ownerKind, name: ownerName };
  throw new HttpProblem("InvalidParameter", "ownerKind and ownerName must be given together");
}

/** Allowed: the caller's own plans, those of its projects' owners, and all plans for users who may list them. */
async function mayAsk({ db, access }: ApiContext, caller: Caller, owner: Owner): Promise<boolean> {
  if (ownersOf(caller).some(isSame(owner))) return true;
  if (await access.may(caller, listPlans)) return true;
  const namespaces = await access.visibleNamespaces(caller);
  return namespaces === null || (await ownersAbove(db, namespaces)).some(isSame(owner));
}

async function shownOwners(
  context: ApiContext,
  caller: Caller,
  asked: Owner | undefined,
): Promise<readonly Owner[] | null> {
  if (asked === undefined) {
    return (await context.access.may(caller, listPlans)) ? null : ownersOf(caller);
  }
  if (await mayAsk(context, caller, asked)) return [asked];
  throw new HttpProblem(
    "Forbidden",
    `${caller.user} may not see the plans of ${asked.kind} ${asked.name}: they do not apply to your projects`,
  );
}

export const plans =
  (context: ApiContext): Handler<"plans"> =>
  async ({ caller, query }) => {
    const owners = await shownOwners(context, caller, askedOwner(query));
    const after = decodeCursor(query.cursor, key);
    const { rows, next } = await planPage(context.db, { owners, limit: query.limit, after });
    return {
      timeZone: context.settings.timeZone,
      items: rows.map(planWindow),
      next: nextCursor(next),
    };
  };
