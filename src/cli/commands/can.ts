/** `can USER VERB PROJECT`: whether a user's role in a project, given there or above, or the cluster's RBAC is enough. */
import type { RoleAnswer } from "../../api/http/schemas.ts";
import type { Verb } from "../choices.ts";
import { CliError, exitCodes } from "../errors.ts";
import type { Session, View } from "../session.ts";

export interface CanOptions {
  readonly group?: readonly string[];
}

const articles = { viewer: "a viewer", submitter: "a submitter", admin: "an admin" } as const;

/** The answer in words: "yes: ann is an admin of project team". */
export function canText({ user, groups, project, role, owner, may }: RoleAnswer, verb: Verb) {
  const through = groups.length === 0 ? "" : ` (groups: ${groups.join(", ")})`;
  const position =
    role === null
      ? `${user} has no role in project ${project} or above it`
      : `${user} is ${articles[role]} of project ${project}`;
  const isByCluster = may[verb] && !roleAllows(role, verb);
  return [
    `${may[verb] ? "yes" : "no"}: ${position}${through}`,
    ...(isByCluster ? ["the cluster's RBAC allows it"] : []),
    ...(owner && !may[verb]
      ? ["as the owner it is granted the project's plans, not a role: roles come from spec.members"]
      : []),
  ].join("; ");
}

function roleAllows(role: RoleAnswer["role"], verb: Verb): boolean {
  if (verb === "view") return role !== null;
  return role === "admin" || (verb === "submit" && role === "submitter");
}

/** A project in which the user has no role is reported as not found. */
async function ask(
  { api }: Session,
  user: string | undefined,
  project: string,
  group: readonly string[] | undefined,
): Promise<RoleAnswer | undefined> {
  try {
    const path = `/api/v1/projects/${encodeURIComponent(project)}/role`;
    return await api.get<RoleAnswer>(path, { user, group });
  } catch (error) {
    if (error instanceof CliError && error.exitCode === exitCodes.notFound) return undefined;
    throw error;
  }
}

/** @param user a user name, or "me"; exit status 1 if the answer is no */
export const can =
  (user: string, verb: Verb, project: string, { group }: CanOptions) =>
  async (session: Session): Promise<View> => {
    const answer = await ask(session, user === "me" ? undefined : user, project, group);
    const isAllowed = answer?.may[verb] ?? false;
    return {
      data: { allowed: isAllowed, verb, project, ...answer },
      text: () =>
        answer ? canText(answer, verb) : `no: no project ${project}, or you have no role in it`,
      exitCode: isAllowed ? 0 : exitCodes.failed,
    };
  };
