import { readProject } from "../../db/projects.ts";
import { usageOf } from "../../db/usage.ts";
import { listJobs } from "../access.ts";
import type { Caller } from "../identity.ts";
import { HttpProblem } from "../problem.ts";
import type { ApiContext, Handler } from "./types.ts";

const mostRows = 5000;

/** Roles are inherited down the tree: who may see a project's jobs may see those of all below it. */
async function requireSight(
  { db, access }: ApiContext,
  caller: Caller,
  within: string | undefined,
): Promise<void> {
  if (await access.may(caller, listJobs())) return;
  if (within === undefined) {
    throw new HttpProblem(
      "Forbidden",
      `${caller.user} may not see the jobs of all projects: name one of yours, with within=PROJECT (kubectl rota usage --within PROJECT)`,
    );
  }
  const { namespace } = await readProject(db, within);
  if (await access.may(caller, listJobs(namespace))) return;
  throw new HttpProblem("NotFound", `project ${within} is unknown`);
}

export const usage =
  (context: ApiContext): Handler<"usage"> =>
  async ({ caller, query: { since, until, by = ["subtree"], within, pool } }) => {
    const { db, clock, settings } = context;
    await requireSight(context, caller, within);
    const from = Temporal.Instant.from(since);
    const to = until === undefined ? clock.now() : Temporal.Instant.from(until);
    const { timeZone } = settings;
    const rows = await usageOf(db, { from, to, timeZone, by, within, pool });
    if (rows.length > mostRows) {
      throw new HttpProblem(
        "InvalidParameter",
        `by: the answer has ${rows.length} rows, ${mostRows} are given: ask for less at once, with within or a later since`,
      );
    }
    return { since: from.toString(), until: to.toString(), timeZone, items: rows };
  };
