import { readProject } from "../../db/tenants/projects.ts";
import type { ProjectRole } from "../../db/tenants/projects.ts";
import { roleOf, settingsInEffect, type Subject } from "../../db/tenants/project-tree.ts";
import type { AnswerOf } from "../../api/http/routes.ts";
import { listJobs, type Permission } from "../authorization.ts";
import type { Caller } from "../identity.ts";
import { HttpProblem } from "../problem.ts";
import type { AccessPort, ApiContext, Handler, ApiRequest } from "./types.ts";

type Rights = AnswerOf<"role">["may"];

/** The groups of other users are known only from the request. */
function subjectOf(caller: Caller, { user, group = [] }: ApiRequest<"role">["query"]): Caller {
  if (user === undefined || user === caller.user) {
    return { ...caller, groups: [...new Set([...caller.groups, ...group])] };
  }
  return { user, groups: group, by: "token" };
}

const isOwnRequest = (caller: Caller, subject: Subject): boolean =>
  subject.user === caller.user && subject.groups.every((one) => caller.groups.includes(one));

/** Every authenticated user is in this group. */
const everybody = "system:authenticated";

/** A permission that rota-viewer, rota-submitter or rota-admin, respectively, is the first to grant. */
const permissionsIn = (namespace: string): Readonly<Record<keyof Rights, Permission>> => ({
  view: listJobs(namespace),
  submit: { verb: "create", group: "rota.dev", resource: "jobs", namespace },
  administer: { verb: "delete", group: "", resource: "pods", namespace },
});

/** A role counts even before its RoleBinding exists; cluster administrators need no role. */
async function rightsOf(
  access: AccessPort,
  subject: Caller,
  role: ProjectRole | undefined,
  namespace: string,
): Promise<Rights> {
  const permissions = permissionsIn(namespace);
  const groups = [...new Set([...subject.groups, everybody])];
  const may = (right: keyof Rights) => access.may({ ...subject, groups }, permissions[right]);
  const [view, submit, administer] = await Promise.all([
    role !== undefined || may("view"),
    role === "submitter" || role === "admin" || may("submit"),
    role === "admin" || may("administer"),
  ]);
  return { view, submit, administer };
}

export const role =
  ({ db, access }: ApiContext): Handler<"role"> =>
  async ({ caller, parameters, query }) => {
    const subject = subjectOf(caller, query);
    const { id, name, namespace } = await readProject(db, parameters.project);
    const getProject = { verb: "get", group: "rota.dev", resource: "projects", name } as const;
    const [own, settings] = await Promise.all([roleOf(db, id, caller), settingsInEffect(db, id)]);
    const isOwner = ({ user, groups }: Subject): boolean => {
      const { owner } = settings ?? {};
      if (owner?.kind === "User") return owner.name === user;
      return owner?.kind === "Group" && groups.includes(owner.name);
    };
    const mayKnow = async () =>
      own !== undefined ||
      isOwner(caller) ||
      (await access.may(caller, getProject)) ||
      (await access.may(caller, listJobs(namespace)));
    if (!(await mayKnow())) throw new HttpProblem("NotFound", `no project ${name}`);
    const isOwn = isOwnRequest(caller, subject);
    const mayAskForOthers = async () => own === "admin" || (await access.may(caller, getProject));
    if (!isOwn && !(await mayAskForOthers())) {
      throw new HttpProblem(
        "Forbidden",
        `${caller.user} may not ask what others may do in project ${name}: only its admins may`,
      );
    }
    const found = isOwn ? own : await roleOf(db, id, subject);
    return {
      project: name,
      user: subject.user,
      groups: [...subject.groups],
      role: found ?? null,
      owner: isOwner(subject),
      may: await rightsOf(access, subject, found, namespace),
    };
  };
