/** `can USER VERB PROJECT`: whether a user's role in a project, given there or above, is enough. */
import type { RoleAnswer } from "../../api/http/schemas.ts";
import type { Verb } from "../choices.ts";
import { CliError, exitCodes } from "../errors.ts";
import type { Session, View } from "../session.ts";

export interface CanOptions {
  readonly group?: readonly string[];
}

const articles = { viewer: "a viewer", submitter: "a submitter", admin: "an admin" } as const;

function sentence({ user, groups, project, role }: RoleAnswer): string {
  const through = groups.length === 0 ? "" : ` (groups looked at: ${groups.join(", ")})`;
  if (role === null) return `${user} has no role in project ${project} or above it${through}`;
  return `${user} is ${articles[role]} of project ${project}${through}`;
}

/** A project in which one has no role is as if it were not there. */
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

export const can =
  (user: string, verb: Verb, project: string, { group }: CanOptions) =>
  async (session: Session): Promise<View> => {
    const answer = await ask(session, user === "me" ? undefined : user, project, group);
    const isAllowed = answer?.may[verb] ?? false;
    const words = answer
      ? sentence(answer)
      : `there is no project ${project}, or you have no role in it`;
    return {
      data: { allowed: isAllowed, verb, project, ...answer },
      text: () => `${isAllowed ? "yes" : "no"}: ${words}`,
      exitCode: isAllowed ? 0 : exitCodes.failed,
    };
  };
