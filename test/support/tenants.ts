/** What the tests of tenants read in the cluster, and how they change it. */
import { isNotFound } from "../../src/kube/errors.ts";
import type { KubeObject, ResourceName } from "../../src/kube/resource.ts";
import {
  namespaces,
  persistentVolumeClaims,
  projects,
  roleBindings,
} from "../../src/resources/types.ts";
import type { Project } from "../../src/resources/types.ts";
import { readyOf } from "../../dev/quickstart/cluster-view.ts";
import type { ClusterView } from "../../dev/quickstart/cluster-view.ts";

export { namespaces, persistentVolumeClaims, projects, roleBindings };

/** The object; undefined if it does not exist. */
export const find = ({ client }: ClusterView, type: ResourceName, key: string) =>
  client.get(type, key).catch((error: unknown) => {
    if (isNotFound(error)) return undefined;
    throw error;
  });

interface Subject {
  readonly kind: string;
  readonly name: string;
}

/** Roles in a namespace according to its RoleBindings, as "viewer: Group staff", sorted. */
export async function rolesIn({ client }: ClusterView, namespace: string): Promise<string[]> {
  const all = await client.list(roleBindings, { namespace });
  return all
    .flatMap((binding) => {
      const { name } = binding["roleRef"] as { name: string };
      const subjects = (binding["subjects"] ?? []) as Subject[];
      return subjects.map(
        (subject) => `${name.replace("rota-", "")}: ${subject.kind} ${subject.name}`,
      );
    })
    .toSorted();
}

export const untilRolesAre = (
  view: ClusterView,
  namespace: string,
  wanted: readonly string[],
): Promise<unknown> =>
  view.until(`the roles in ${namespace} to be ${wanted.join(", ")}`, async () => {
    const has = await rolesIn(view, namespace);
    return has.join("\n") === wanted.toSorted().join("\n");
  });

export async function projectNamed({ client }: ClusterView, name: string): Promise<Project> {
  return projects.project(await client.get(projects, name));
}

/** Waits until the project's condition has the reason for its current generation; returns the project. */
export function untilProjectSays(
  view: ClusterView,
  name: string,
  reason: string,
): Promise<Project> {
  return view.until(`project ${name} to say ${reason}`, async () => {
    const project = await projectNamed(view, name);
    const isCurrent = project.status.observedGeneration === project.generation;
    return isCurrent && readyOf(project)?.reason === reason && project;
  });
}

export const messageOf = (object: Project): string => readyOf(object)?.message ?? "";

/** Changes fields of an object with a merge patch. */
export const change = (
  { client }: ClusterView,
  type: ResourceName,
  key: string,
  patch: object,
): Promise<KubeObject> => client.patch(type, key, patch, { fieldManager: "test" });

export const untilGone = (view: ClusterView, type: ResourceName, key: string): Promise<unknown> =>
  view.until(`${type.kind} ${key} to be gone`, async () => !(await find(view, type, key)));

export interface SeenEvent {
  readonly type: string;
  readonly reason: string;
  readonly note: string;
}

const events: ResourceName = {
  group: "events.k8s.io",
  version: "v1",
  plural: "events",
  kind: "Event",
  namespaced: true,
};

/** Events about objects of this name, of any kind. */
export async function eventsOf({ client }: ClusterView, name: string): Promise<SeenEvent[]> {
  const all = await client.list(events);
  return all
    .filter((event) => (event["regarding"] as { name?: string } | undefined)?.name === name)
    .map(({ type, reason, note }) => ({
      type: String(type),
      reason: String(reason),
      note: String(note),
    }));
}
