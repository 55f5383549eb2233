/** A project's RoleBindings: one per role that a member has, including members of ancestors. */
import type { ProjectView } from "../../db/tenants/project-views.ts";
import { isNotFound } from "../../kube/errors.ts";
import { keyOf } from "../../kube/resource.ts";
import type { KubeObject } from "../../kube/resource.ts";
import { roleBindingManifests, roleBindingName, roles } from "../../resources/tenancy.ts";
import { projectRoleBindings } from "../../resources/tenant-types.ts";
import type { ProjectRoleBinding } from "../../resources/tenant-types.ts";
import type { Project } from "../../resources/types.ts";
import type { Context } from "../context.ts";
import { namespaceOf } from "./namespace.ts";
import { part } from "./outcome.ts";
import type { Outcome } from "./outcome.ts";

export interface RoleWrites {
  readonly apply: readonly KubeObject[];
  readonly remove: readonly string[];
}

const isSame = (wanted: ProjectRoleBinding, has: ProjectRoleBinding): boolean =>
  !has.deleting &&
  has.project === wanted.project &&
  has.role === wanted.role &&
  has.subjects.join("\n") === wanted.subjects.join("\n");

const ourRoles: ReadonlySet<string> = new Set(
  roles.map((role) => `ClusterRole ${roleBindingName(role)}`),
);

/** Whether the binding is to one of our roles: whatever its name and labels say, another one is somebody else's. */
export const isOurBinding = (binding: ProjectRoleBinding | undefined): boolean =>
  binding !== undefined && ourRoles.has(binding.role);

/** The writes that bring the bindings in line with the members. Pure. */
export function roleWrites(
  project: Project,
  members: ProjectView["members"],
  existing: (key: string) => ProjectRoleBinding | undefined,
): RoleWrites {
  const namespace = namespaceOf(project);
  const wanted = roleBindingManifests(namespace, project.name, members);
  const keys = new Set(wanted.map(keyOf));
  return {
    apply: wanted.filter((manifest) => {
      const has = existing(keyOf(manifest));
      return has === undefined || !isSame(projectRoleBindings.project(manifest), has);
    }),
    remove: roles
      .map((role) => `${namespace}/${roleBindingName(role)}`)
      .filter((key) => !keys.has(key) && isOurBinding(existing(key))),
  };
}

/** Deletes a RoleBinding, by namespace/name; succeeds if it does not exist. */
export async function removeRoleBinding(
  { kube, owned }: Context,
  key: string,
  signal: AbortSignal,
): Promise<void> {
  owned.roleBindings.removed(key);
  await kube.delete(projectRoleBindings, key, { signal }).catch((error: unknown) => {
    if (!isNotFound(error)) throw error;
  });
}

/** A binding of our name to another role is somebody else's: the API server's refusal to change its roleRef says so. */
async function applyRoleBinding(
  { kube, owned }: Context,
  manifest: KubeObject,
  signal: AbortSignal,
): Promise<void> {
  owned.roleBindings.wrote(await kube.apply(projectRoleBindings, manifest, { signal }));
}

/** Undefined if the bindings match the members. */
export async function reconcileRoles(
  context: Context,
  project: Project,
  { members }: ProjectView,
  signal: AbortSignal,
): Promise<Outcome | undefined> {
  const { apply, remove } = roleWrites(project, members, (key) =>
    context.owned.roleBindings.get(key),
  );
  const what = `RoleBindings of namespace "${namespaceOf(project)}"`;
  let first: Outcome | undefined;
  // What takes rights away goes first; a binding that cannot be written keeps no other from it.
  const works = [
    ...remove.map((key) => () => removeRoleBinding(context, key, signal)),
    ...apply.map((manifest) => () => applyRoleBinding(context, manifest, signal)),
  ];
  for (const work of works) {
    const found = await part(what, work);
    first ??= found;
  }
  return first;
}
