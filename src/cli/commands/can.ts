/** `can USER VERB PROJECT`: whether a user's role in a project, given there or above, is enough. */
import type { RoleAnswer } from "../../api/http/schemas.ts";
import type { Verb } from "../choices.ts";
import { exitCodes } from "../errors.ts";
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

export const can =
  (user: string, verb: Verb, project: string, { group }: CanOptions) =>
  async ({ api }: Session): Promise<View> => {
    const answer = await api.get<RoleAnswer>(
      `/api/v1/projects/${encodeURIComponent(project)}/role`,
      { user: user === "me" ? undefined : user, group },
    );
    const isAllowed = answer.may[verb];
    return {
      data: { allowed: isAllowed, verb, ...answer },
      text: () => `${isAllowed ? "yes" : "no"}: ${sentence(answer)}`,
      exitCode: isAllowed ? 0 : exitCodes.failed,
    };
  };
