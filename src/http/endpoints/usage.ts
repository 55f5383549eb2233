import { z } from "zod";
import { requestedTime } from "../../api/http/schemas.ts";
import { readProject } from "../../db/tenants/projects.ts";
import { usageEnd, usagePage } from "../../db/reports/usage.ts";
import { listJobs } from "../authorization.ts";
import { decodeCursor, nextCursor } from "../cursor.ts";
import type { Caller } from "../identity.ts";
import { HttpProblem } from "../problem.ts";
import type { ApiContext, Handler } from "./types.ts";

/** The end of the range, fixed by the first page, and the last row's keys. */
const key = z.tuple([requestedTime, z.array(z.string().nullable())]);

/** Roles are inherited: permission for a project covers its descendants. */
async function requireSight(
  { db, access }: ApiContext,
  caller: Caller,
  within: string | undefined,
): Promise<void> {
  if (await access.may(caller, listJobs())) return;
  if (within === undefined) {
    throw new HttpProblem(
      "Forbidden",
      `${caller.user} may not list the jobs of all projects: name a project with within=PROJECT (kubectl rota usage --within PROJECT)`,
    );
  }
  const { namespace } = await readProject(db, within);
  if (await access.may(caller, listJobs(namespace))) return;
  throw new HttpProblem("NotFound", `no project ${within}`);
}

export const usage =
  (context: ApiContext): Handler<"usage"> =>
  async ({ caller, query: { since, until, by = ["subtree"], limit, cursor, ...filter } }) => {
    const { db, settings } = context;
    await requireSight(context, caller, filter.within);
    const [end, after] = decodeCursor(cursor, key) ?? [await usageEnd(db, until)];
    const from = Temporal.Instant.from(since);
    const to = Temporal.Instant.from(end);
    const { timeZone } = settings;
    const { rows, next } = await usagePage(db, { ...filter, from, to, timeZone, by, limit, after });
    return {
      since: from.toString(),
      until: to.toString(),
      timeZone,
      items: [...rows],
      next: nextCursor(next && [to.toString(), next]),
    };
  };
