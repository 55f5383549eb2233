/** Keeps a project: its row and place in the tree, its namespace, role bindings, storages, status. */
import { ready, withCondition } from "../api/conditions.ts";
import type { ProjectStatus } from "../api/generated.ts";
import type { ProjectReason } from "../api/reasons.ts";
import { labels } from "../api/names.ts";
import { projectSummary } from "../db/project-summary.ts";
import { blockersOfDeletion, membersInEffect } from "../db/project-tree.ts";
import { deleteProject, upsertProject } from "../db/projects.ts";
import { RotaError } from "../errors.ts";
import { parseBytes } from "../domain/quantity.ts";
import { isAlreadyExists, isConflict, isNotFound } from "../kube/errors.ts";
import { namespaces, persistentVolumeClaims, projects, roleBindings } from "../resources/types.ts";
import type { Project } from "../resources/types.ts";
import { namespaceManifest, claimManifest, roleBindingManifests } from "../resources/tenancy.ts";
import { again, done } from "../runtime/controller.ts";
import type { Reconcile, ReconcileResult } from "../runtime/controller.ts";
import { indices } from "./context.ts";
import type { Context } from "./context.ts";
import { writeStatus } from "./status.ts";

export const projectFinalizer = "rota.dev/project";

const adoptAnnotation = "rota.dev/adopt";
const recheckSeconds = 15;
/** Totals in the status are refreshed at this pace. */
const refreshSeconds = 60;

const namespaceOf = (project: Project): string => project.spec.namespace ?? project.name;

interface Outcome {
  readonly isReady: boolean;
  readonly reason: ProjectReason;
  readonly message: string;
}

const refused = (reason: ProjectReason, message: string): Outcome => ({
  isReady: false,
  reason,
  message,
});

function storagesOf(project: Project) {
  return (project.spec.storages ?? []).map((storage) => ({
    name: storage.name,
    sizeBytes: parseBytes(storage.size),
    ...(storage.storageClassName === undefined ? {} : { storageClass: storage.storageClassName }),
    accessMode: storage.accessMode,
    affinity: storage.affinity ?? {},
  }));
}

/** The project's row, with its place in the tree. Undefined when it went well. */
async function storeProject(context: Context, project: Project): Promise<Outcome | undefined> {
  const { spec } = project;
  if (spec.parent !== undefined && context.caches.projects.store.get(spec.parent) === undefined) {
    return refused(
      "ParentUnknown",
      `spec.parent "${spec.parent}" does not exist; create that project or name another`,
    );
  }
  try {
    await upsertProject(context.db, {
      id: project.uid,
      name: project.name,
      namespace: namespaceOf(project),
      parent: spec.parent,
      owner: spec.owner,
      borrowing: spec.borrowing,
      priorityClasses: spec.priorityClasses,
      podSecurity: spec.podSecurity,
      members: spec.members ?? [],
      storages: storagesOf(project),
    });
    return undefined;
  } catch (error) {
    return refusalOf(error, project);
  }
}

function refusalOf(error: unknown, project: Project): Outcome {
  if (!(error instanceof RotaError)) throw error;
  const { parent } = project.spec;
  switch (error.code) {
    case "ParentUnknown":
      return refused(
        error.code,
        `spec.parent "${parent ?? ""}" is not accepted yet; see its conditions`,
      );
    case "ProjectCycle":
      return refused(
        error.code,
        `spec.parent "${parent ?? ""}" lies below this project: ${error.message}`,
      );
    case "AlreadyExists":
      return refused(error.code, `namespace "${namespaceOf(project)}": ${error.message}`);
    default:
      throw error;
  }
}

/** An existing namespace is taken only when it is ours or says that it may be. */
async function keepNamespace(
  context: Context,
  project: Project,
  signal: AbortSignal,
): Promise<Outcome | undefined> {
  const name = namespaceOf(project);
  const manifest = namespaceManifest(name, project.name, project.spec.podSecurity);
  const existing = await context.kube.get(namespaces, name, { signal }).catch((error: unknown) => {
    if (isNotFound(error)) return undefined;
    throw error;
  });
  const labelled = existing?.metadata.labels?.[labels.project];
  const adoptable = existing?.metadata.annotations?.[adoptAnnotation] === project.name;
  if (existing && labelled !== project.name && !adoptable) {
    return refused(
      "NamespaceNotOurs",
      `namespace "${name}" exists already; annotate it with ${adoptAnnotation}=${project.name} to hand it over, or set spec.namespace`,
    );
  }
  const current = existing?.metadata.labels ?? {};
  const wanted = Object.entries(manifest.metadata.labels ?? {});
  if (existing && wanted.every(([label, value]) => current[label] === value)) return undefined;
  await context.kube.apply(namespaces, manifest, { signal });
  return undefined;
}

async function keepRoleBindings(
  context: Context,
  project: Project,
  signal: AbortSignal,
): Promise<number> {
  const members = await membersInEffect(context.db, project.uid);
  for (const manifest of roleBindingManifests(namespaceOf(project), project.name, members)) {
    await context.kube.apply(roleBindings, manifest, { signal });
  }
  return members.length;
}

async function keepStorages(
  context: Context,
  project: Project,
  signal: AbortSignal,
): Promise<void> {
  for (const storage of project.spec.storages ?? []) {
    const manifest = claimManifest(namespaceOf(project), project.name, storage);
    await context.kube
      .create(persistentVolumeClaims, manifest, { signal })
      .catch((error: unknown) => {
        if (!isAlreadyExists(error)) throw error;
      });
  }
}

async function keepFinalizer(
  context: Context,
  project: Project,
  signal: AbortSignal,
): Promise<void> {
  const raw = await context.kube.get(projects, project.name, { signal });
  const finalizers = raw.metadata.finalizers ?? [];
  if (finalizers.includes(projectFinalizer)) return;
  await writeFinalizers(
    context,
    project.name,
    [...finalizers, projectFinalizer],
    raw.metadata.resourceVersion,
    signal,
  );
}

async function writeFinalizers(
  context: Context,
  name: string,
  finalizers: readonly string[],
  resourceVersion: string | undefined,
  signal: AbortSignal,
): Promise<void> {
  await context.kube.patch(
    projects,
    name,
    { metadata: { finalizers, resourceVersion } },
    { signal },
  );
}

async function writeOutcome(
  context: Context,
  project: Project,
  outcome: Outcome,
  facts: Partial<ProjectStatus>,
): Promise<void> {
  const condition = ready(project.generation, outcome.isReady, outcome.reason, outcome.message);
  const conditions = withCondition(project.status.conditions ?? [], condition, context.clock.now());
  const status = {
    ...project.status,
    ...facts,
    observedGeneration: project.generation,
    conditions,
  };
  await writeStatus(context, projects, project, status);
}

async function keep(
  context: Context,
  project: Project,
  signal: AbortSignal,
): Promise<ReconcileResult> {
  await keepFinalizer(context, project, signal);
  const obstacle =
    (await storeProject(context, project)) ?? (await keepNamespace(context, project, signal));
  if (obstacle) {
    await writeOutcome(context, project, obstacle, {});
    return again(recheckSeconds);
  }
  const members = await keepRoleBindings(context, project, signal);
  await keepStorages(context, project, signal);
  const summary = await projectSummary(context.db, project.uid, {
    instant: context.clock.now(),
    timeZone: context.settings.timeZone,
  });
  const facts = { ...summary, namespace: namespaceOf(project), members };
  await writeOutcome(
    context,
    project,
    {
      isReady: true,
      reason: "Ready",
      message: "the namespace, roles and storages are as specified",
    },
    facts,
  );
  return again(refreshSeconds);
}

/** Children and active jobs block the deletion, and are named. */
async function deletionObstacle(context: Context, project: Project): Promise<Outcome | undefined> {
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
    return refused("DeletionBlocked", `waits for: ${named.join(", ")}`);
  }
}

/** The namespace goes with the project unless it holds data: a project with storages leaves it to a person. */
async function removeNamespace(
  context: Context,
  project: Project,
  signal: AbortSignal,
): Promise<void> {
  if ((project.spec.storages ?? []).length > 0) return;
  const name = namespaceOf(project);
  try {
    const existing = await context.kube.get(namespaces, name, { signal });
    if (existing.metadata.labels?.[labels.project] !== project.name) return;
    if (existing.metadata.annotations?.[adoptAnnotation] !== undefined) return;
    await context.kube.delete(namespaces, name, { signal });
  } catch (error) {
    if (!isNotFound(error) && !isConflict(error)) throw error;
  }
}

async function remove(
  context: Context,
  project: Project,
  signal: AbortSignal,
): Promise<ReconcileResult> {
  const obstacle = await deletionObstacle(context, project);
  if (obstacle) {
    await writeOutcome(context, project, obstacle, {});
    return again(recheckSeconds);
  }
  await removeNamespace(context, project, signal);
  const raw = await context.kube.get(projects, project.name, { signal });
  const finalizers = (raw.metadata.finalizers ?? []).filter((name) => name !== projectFinalizer);
  await writeFinalizers(context, project.name, finalizers, raw.metadata.resourceVersion, signal);
  return done();
}

export function reconcileProject(context: Context): Reconcile {
  return async (name, signal) => {
    const project = context.caches.projects.store.get(name);
    if (project === undefined) return done();
    try {
      return project.deleting
        ? await remove(context, project, signal)
        : await keep(context, project, signal);
    } catch (error) {
      if (isNotFound(error)) return done();
      throw error;
    }
  };
}

/** The project's descendants, whose roles and paths follow it. */
export function descendantsOf(context: Context, name: string): string[] {
  const found = new Set<string>();
  const walk = (parent: string): void => {
    for (const child of context.caches.projects.store.byIndex(indices.projectsByParent, parent)) {
      if (found.has(child.name)) continue;
      found.add(child.name);
      walk(child.name);
    }
  };
  walk(name);
  return [...found];
}
