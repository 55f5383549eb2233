import { readProject } from "../../db/tenants/projects.ts";
import { roleOf, type Subject } from "../../db/tenants/project-tree.ts";
import type { Caller } from "../identity.ts";
import { HttpProblem } from "../problem.ts";
import type { ApiContext, Handler, ApiRequest } from "./types.ts";

/** The caller's groups are known; of others Rota knows only what is asked. */
function subjectOf(caller: Caller, { user, group = [] }: ApiRequest<"role">["query"]): Subject {
  if (user === undefined || user === caller.user) {
    return { user: caller.user, groups: [...new Set([...caller.groups, ...group])] };
  }
  return { user, groups: group };
}

const isOwnRequest = (caller: Caller, subject: Subject): boolean =>
  subject.user === caller.user && subject.groups.every((one) => caller.groups.includes(one));

export const role =
  ({ db, access }: ApiContext): Handler<"role"> =>
  async ({ caller, parameters, query }) => {
    const subject = subjectOf(caller, query);
    const { id, name, namespace } = await readProject(db, parameters.project);
    const own = await roleOf(db, id, caller);
    const mayKnow = async () =>
      own !== undefined ||
      (await access.may(caller, { verb: "get", group: "rota.dev", resource: "projects", name })) ||
      (await access.may(caller, {
        verb: "list",
        group: "rota.dev",
        resource: "jobs",
        namespace,
      }));
    if (!(await mayKnow())) throw new HttpProblem("NotFound", `project ${name} does not exist`);
    const mayAskForOthers = async () =>
      own === "admin" ||
      (await access.may(caller, { verb: "get", group: "rota.dev", resource: "projects", name }));
    if (!isOwnRequest(caller, subject) && !(await mayAskForOthers())) {
      throw new HttpProblem(
        "Forbidden",
        `${caller.user} may not ask what others may do in project ${name}: that is for its admins`,
      );
    }
    const found = isOwnRequest(caller, subject) ? own : await roleOf(db, id, subject);
    return {
      project: name,
      user: subject.user,
      groups: [...subject.groups],
      role: found ?? null,
      may: {
        view: found !== undefined,
        submit: found === "submitter" || found === "admin",
        administer: found === "admin",
      },
    };
  };
