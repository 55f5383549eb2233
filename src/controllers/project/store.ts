/** Stores a project's row: place in the tree, members and storages. */
import { blockersOfDeletion } from "../../db/tenants/project-tree.ts";
import { forgetFormerProjects, upsertProject } from "../../db/tenants/projects.ts";
import { RotaError } from "../../errors.ts";
import type { Project } from "../../resources/types.ts";
import { indices } from "../context.ts";
import type { Context } from "../context.ts";
import { namespaceOf } from "./namespace.ts";
import { outcome } from "./outcome.ts";
import type { Outcome } from "./outcome.ts";
import { storagesOf } from "./storages.ts";

function upsert(context: Context, project: Project): Promise<void> {
  const { spec } = project;
  return upsertProject(context.db, {
    id: project.uid,
    generation: project.generation,
    name: project.name,
    namespace: namespaceOf(project),
    parent: spec.parent,
    owner: spec.owner,
    borrowing: spec.borrowing,
    priorityClasses: spec.priorityClasses,
    podSecurity: spec.podSecurity,
    members: spec.members ?? [],
    storages: storagesOf(context, project),
  });
}

function rejectionOf(context: Context, project: Project, error: unknown): Outcome {
  if (!(error instanceof RotaError)) throw error;
  const { parent = "" } = project.spec;
  switch (error.code) {
    case "ParentNotFound":
      return outcome(
        error.code,
        `spec.parent "${parent}" is not accepted yet; check its conditions`,
      );
    case "ProjectCycle":
      return outcome(
        error.code,
        `spec.parent "${parent}" is a descendant of this project: ${error.message}; the project keeps its parent`,
      );
    case "AlreadyExists":
      return outcome(error.code, takenText(context, project));
    case "InvalidValue":
      return outcome(error.code, `spec: ${error.message}`);
    default:
      throw error;
  }
}

/** The message names the other project that has the namespace. */
function takenText(context: Context, project: Project): string {
  const namespace = namespaceOf(project);
  const others = context.informers.projects.store
    .byIndex(indices.projectsByNamespace, namespace)
    .filter(({ uid }) => uid !== project.uid)
    .map(({ name }) => name);
  const whose = others.length > 0 ? `project ${others.join(", ")}` : "another project";
  return `namespace "${namespace}" belongs to ${whose}; create this project with another spec.namespace, or delete that one`;
}

/** Undefined if the row matches the spec; a refused change leaves the row unchanged. */
export async function storeProject(
  context: Context,
  project: Project,
): Promise<Outcome | undefined> {
  const { parent } = project.spec;
  const { store } = context.informers.projects;
  if (parent !== undefined && store.get(parent) === undefined) {
    return outcome(
      "ParentNotFound",
      `spec.parent "${parent}" does not exist; create that project or name another`,
    );
  }
  try {
    await upsert(context, project);
    return undefined;
  } catch (error) {
    if (!isTaken(error)) return rejectionOf(context, project, error);
  }
  return succeedFormer(context, project);
}

const isTaken = (error: unknown): boolean =>
  error instanceof RotaError && error.code === "AlreadyExists";

/**
 * The name or namespace is another row's. One whose Project is gone, as after GitOps or a restore made it again with a new
 * uid, gives way when its jobs have ended.
 */
async function succeedFormer(context: Context, project: Project): Promise<Outcome | undefined> {
  const { db, informers } = context;
  const present = [...informers.projects.store.values()].map(({ uid }) => uid);
  const wanted = { id: project.uid, name: project.name, namespace: namespaceOf(project) };
  const [busy] = await forgetFormerProjects(db, wanted, present);
  if (busy !== undefined) {
    const { jobs } = await blockersOfDeletion(db, busy.id);
    const names = jobs.map((name) => `job ${name}`).join(", ");
    return outcome(
      "FormerProjectHasJobs",
      `the former project of this name or namespace, uid ${busy.id}, still has ${names}; this one takes its place when they have ended`,
    );
  }
  try {
    await upsert(context, project);
    return undefined;
  } catch (error) {
    return rejectionOf(context, project, error);
  }
}
