/** Deletes a project: reports what blocks it, removes Rota's objects, and keeps data unless reclaimPolicy is Delete. */
import { annotations, labels, managedBy } from "../../api/names.ts";
import { blockersOfDeletion } from "../../db/tenants/project-tree.ts";
import { deleteProject } from "../../db/tenants/projects.ts";
import { RotaError } from "../../errors.ts";
import { isConflict, isNotFound } from "../../kube/errors.ts";
import { keyOf } from "../../kube/resource.ts";
import type { KubeObject } from "../../kube/resource.ts";
import { labelsGivenBack, roleBindingName, roles } from "../../resources/tenancy.ts";
import { projectNamespaces } from "../../resources/tenant-types.ts";
import type { ProjectNamespace } from "../../resources/tenant-types.ts";
import { configMaps, persistentVolumeClaims, projects } from "../../resources/types.ts";
import type { Project } from "../../resources/types.ts";
import type { Context } from "../context.ts";
import { notify } from "../report.ts";
import { hasFinalizer, removeFinalizer } from "./finalizer.ts";
import { isOfProject, namespaceOf } from "./namespace.ts";
import { outcome } from "./outcome.ts";
import type { Outcome } from "./outcome.ts";
import { isOurBinding, removeRoleBinding } from "./roles.ts";

/** Maximum of names in a message. */
const maxNames = 20;

/** Children and active jobs block the deletion; the message names them. */
async function blockade(context: Context, project: Project): Promise<Outcome | undefined> {
  try {
    await deleteProject(context.db, project.uid);
    return undefined;
  } catch (error) {
    if (!(error instanceof RotaError)) throw error;
    if (error.code !== "ProjectHasChildren" && error.code !== "ProjectHasJobs") throw error;
    const { children, jobs } = await blockersOfDeletion(context.db, project.uid);
    const named = [
      ...children.map((name) => `project ${name}`),
      ...jobs.map((name) => `job ${name}`),
    ];
    return outcome("DeletionBlocked", `waiting for ${named.join(", ")}`);
  }
}

const ignoreGone = (error: unknown): void => {
  if (!isNotFound(error) && !isConflict(error)) throw error;
};

/** Whether Rota made it for this very project. Whatever else there is belongs to whoever handed it over. */
const isMadeFor = (project: Project, { annotations: notes }: ProjectNamespace): boolean =>
  notes[annotations.made] === "true" && notes[annotations.projectUid] === project.uid;

const isOfRota = (object: KubeObject, project: Project): boolean =>
  object.metadata.labels?.[labels.project] === project.name &&
  object.metadata.labels[labels.managedBy] === managedBy;

async function removeConfigMaps(
  { kube }: Context,
  namespace: string,
  signal: AbortSignal,
): Promise<void> {
  const labelSelector = `${labels.managedBy}=${managedBy},${labels.project}`;
  for (const object of await kube.list(configMaps, { namespace, labelSelector, signal })) {
    await kube.delete(configMaps, keyOf(object), { signal }).catch(ignoreGone);
  }
}

/** What made the namespace the project's goes. One that Rota made may be taken over by a new project of this name. */
function releasePatch(
  project: Project,
  { uid, labels: has, annotations: notes }: ProjectNamespace,
) {
  const isMade = notes[annotations.made] === "true";
  const isMarked = has[labels.managedBy] === managedBy;
  return {
    metadata: {
      uid,
      labels: {
        ...labelsGivenBack(notes[annotations.formerLabels]),
        ...(isMade && isMarked ? { [labels.managedBy]: null } : {}),
        [labels.project]: null,
      },
      annotations: {
        ...(isMade ? { [annotations.adopt]: project.name } : {}),
        [annotations.projectUid]: null,
        [annotations.formerLabels]: null,
      },
    },
  };
}

/** The namespace stays as a person's own. */
async function release(
  context: Context,
  project: Project,
  namespace: ProjectNamespace,
  signal: AbortSignal,
): Promise<void> {
  const { kube } = context;
  for (const role of roles) {
    const key = `${namespace.name}/${roleBindingName(role)}`;
    if (isOurBinding(context.owned.roleBindings.get(key)))
      await removeRoleBinding(context, key, signal);
  }
  await removeConfigMaps(context, namespace.name, signal);
  await kube.patch(projectNamespaces, namespace.name, releasePatch(project, namespace), { signal });
  context.owned.namespaces.removed(namespace.name);
}

async function removeClaims(
  { kube }: Context,
  claims: readonly KubeObject[],
  signal: AbortSignal,
): Promise<void> {
  for (const claim of claims) {
    await kube.delete(persistentVolumeClaims, keyOf(claim), { signal }).catch(ignoreGone);
  }
}

function tellKept(context: Context, project: Project, claims: readonly KubeObject[]): void {
  const names = claims.map((claim) => claim.metadata.name).slice(0, maxNames);
  const what =
    names.length > 0
      ? `with the claims ${names.join(", ")} (spec.reclaimPolicy Retain)`
      : "because the project adopted it";
  const note = `namespace "${namespaceOf(project)}" is retained ${what}; a new project with this name takes it over`;
  const notice = { type: "Normal", reason: "NamespaceRetained", action: "Release", note } as const;
  notify(context, projects, project, notice);
}

async function removeNamespace(
  context: Context,
  project: Project,
  signal: AbortSignal,
): Promise<void> {
  const { kube, owned } = context;
  const name = namespaceOf(project);
  const raw = await kube.get(projectNamespaces, name, { signal });
  const namespace = projectNamespaces.project(raw);
  if (!isOfProject(project, namespace) || namespace.deleting) return;
  const claims = await kube.list(persistentVolumeClaims, { namespace: name, signal });
  const isDelete = project.spec.reclaimPolicy === "Delete";
  if (isMadeFor(project, namespace) && (isDelete || claims.length === 0)) {
    await kube.delete(projectNamespaces, name, { uid: namespace.uid, signal });
    owned.namespaces.removed(name);
    return;
  }
  const ours = claims.filter((claim) => isOfRota(claim, project));
  if (isDelete) await removeClaims(context, ours, signal);
  await release(context, project, namespace, signal);
  tellKept(context, project, isDelete ? [] : claims);
}

/** Undefined if the project is gone; otherwise what its deletion waits for. */
export async function removeProject(
  context: Context,
  project: Project,
  signal: AbortSignal,
): Promise<Outcome | undefined> {
  if (!hasFinalizer(project)) return undefined;
  const obstacle = await blockade(context, project);
  if (obstacle) return obstacle;
  await removeNamespace(context, project, signal).catch(ignoreGone);
  await removeFinalizer(context, project, signal);
  return undefined;
}
