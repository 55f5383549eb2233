import { z } from "zod";
import { requestedTime } from "../../api/http/schemas.ts";
import { diff, logPage, show, type Commit, type CommitRef } from "../../db/configs/commits.ts";
import { readProject, type Project } from "../../db/tenants/projects.ts";
import type { Caller } from "../identity.ts";
import { decodeCursor, nextCursor } from "../cursor.ts";
import { HttpProblem } from "../problem.ts";
import type { ApiContext, Handler } from "./types.ts";

const key = z.tuple([requestedTime, z.uuid()]);

function refOf(text: string): CommitRef {
  const colon = text.indexOf(":");
  const name = text.slice(colon + 1);
  return text.slice(0, colon) === "tag" ? { tag: name } : { commit: name };
}

const shown = ({ createdAt, ...commit }: Commit) => ({
  ...commit,
  createdAt: createdAt.toString(),
});

/** Throws HttpProblem NotFound also for projects whose configuration the caller may not read. */
async function readable(
  { db, access }: ApiContext,
  caller: Caller,
  name: string,
): Promise<Project> {
  const found = await readProject(db, name);
  const permission = {
    verb: "list",
    group: "rota.dev",
    resource: "configcommits",
    namespace: found.namespace,
  } as const;
  if (await access.may(caller, permission)) return found;
  throw new HttpProblem("NotFound", `no project ${name}`);
}

export const configLog =
  (context: ApiContext): Handler<"configLog"> =>
  async ({ caller, parameters, query }) => {
    const { id } = await readable(context, caller, parameters.project);
    const after = decodeCursor(query.cursor, key);
    const { rows, next } = await logPage(context.db, id, { limit: query.limit, after });
    return { items: rows.map(shown), next: nextCursor(next) };
  };

export const configShow =
  (context: ApiContext): Handler<"configShow"> =>
  async ({ caller, parameters, query }) => {
    const { id } = await readable(context, caller, parameters.project);
    const { text, ...commit } = await show(context.db, id, refOf(query.ref));
    return { ...shown(commit), content: JSON.parse(text) };
  };

export const configDiff =
  (context: ApiContext): Handler<"configDiff"> =>
  async ({ caller, parameters, query }) => {
    const { id } = await readable(context, caller, parameters.project);
    const patch = await diff(context.db, id, refOf(query.from), refOf(query.to));
    return { ...query, patch };
  };
