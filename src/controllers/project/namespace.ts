/** A project's namespace: created or adopted, and kept labelled. */
import { annotations } from "../../api/names.ts";
import { isNotFound } from "../../kube/errors.ts";
import type { KubeObject } from "../../kube/resource.ts";
import { projectNamespaces } from "../../resources/tenant-types.ts";
import type { ProjectNamespace } from "../../resources/tenant-types.ts";
import {
  formerLabelsOf,
  namespaceManifest,
  newNamespaceManifest,
} from "../../resources/tenancy.ts";
import { projects } from "../../resources/types.ts";
import type { Project } from "../../resources/types.ts";
import type { Context } from "../context.ts";
import { notify } from "../report.ts";
import { outcome, rejectionOfCluster } from "./outcome.ts";
import type { Outcome } from "./outcome.ts";

/** Name of the project's namespace: spec.namespace, by default the project's name. */
export const namespaceOf = (project: Project): string => project.spec.namespace ?? project.name;

/**
 * Whether the namespace is the project's already: by our note of its uid, where somebody changed the label; by the label
 * with the uid of a former project of this name, made again by GitOps or a restore; or, where the note was removed, by
 * the label and the project's own status. The label alone is no proof: anybody's manifest may bear it.
 */
export function isOfProject(project: Project, namespace: ProjectNamespace): boolean {
  const { [annotations.projectUid]: uid = "" } = namespace.annotations;
  if (uid === project.uid) return true;
  const isRecorded = uid !== "" || project.status.namespace === namespace.name;
  return namespace.project === project.name && isRecorded;
}

type Verdict = "ours" | "adopt" | Outcome;

/** Whether an existing namespace belongs to the project, can be adopted, or neither. Pure. */
export function verdictOn(project: Project, namespace: ProjectNamespace): Verdict {
  const { name } = namespace;
  if (namespace.deleting) {
    return outcome(
      "NamespaceTerminating",
      `namespace "${name}" is being deleted; it is created again afterwards`,
    );
  }
  if (isOfProject(project, namespace)) return "ours";
  if (namespace.annotations[annotations.adopt] === project.name) return "adopt";
  const isOfAnother = namespace.project !== "" && namespace.project !== project.name;
  if (isOfAnother) {
    return outcome(
      "NamespaceNotOwned",
      `namespace "${name}" belongs to project ${namespace.project}; create the project with another spec.namespace`,
    );
  }
  return outcome(
    "NamespaceNotOwned",
    `namespace "${name}" already exists; annotate it with ${annotations.adopt}=${project.name} to let the project adopt it, or create the project with another spec.namespace`,
  );
}

/** Undefined if it does not exist. A namespace that lost its label is not in the cache. */
async function find(
  { kube, owned }: Context,
  name: string,
  signal: AbortSignal,
): Promise<ProjectNamespace | undefined> {
  const known = owned.namespaces.get(name);
  if (known) return known;
  const raw = await kube.get(projectNamespaces, name, { signal }).catch((error: unknown) => {
    if (isNotFound(error)) return undefined;
    throw error;
  });
  return raw && projectNamespaces.project(raw);
}

const includes = (
  has: Readonly<Record<string, string>>,
  wanted: Readonly<Record<string, string>>,
): boolean => Object.entries(wanted).every(([name, value]) => has[name] === value);

/** What the namespace must bear. The record of former labels is made once, at the adoption. */
function wantedOf(
  project: Project,
  existing: ProjectNamespace,
  isAdoption: boolean,
): KubeObject["metadata"] {
  const { metadata } = namespaceManifest(existing.name, project);
  const { [annotations.made]: made, [annotations.formerLabels]: recorded } = existing.annotations;
  const isOthers = isAdoption && made !== "true";
  const former = recorded ?? (isOthers ? formerLabelsOf(existing.labels) : undefined);
  if (former === undefined) return metadata;
  return {
    ...metadata,
    annotations: { ...metadata.annotations, [annotations.formerLabels]: former },
  };
}

async function create(
  { kube, owned }: Context,
  project: Project,
  signal: AbortSignal,
): Promise<void> {
  // One of that name that appeared a moment ago is judged at the next turn: create does not take it over.
  const manifest = newNamespaceManifest(namespaceOf(project), project);
  owned.namespaces.wrote(await kube.create(projectNamespaces, manifest, { signal }));
}

/** @returns whether the namespace was adopted just now */
async function converge(
  { kube, owned }: Context,
  project: Project,
  existing: ProjectNamespace,
  isAdoption: boolean,
  signal: AbortSignal,
): Promise<boolean> {
  const metadata = wantedOf(project, existing, isAdoption);
  const isCurrent =
    includes(existing.labels, metadata.labels ?? {}) &&
    includes(existing.annotations, metadata.annotations ?? {});
  if (isCurrent) return false;
  // With its uid: applied without, one that was deleted meanwhile would be created, and without our mark.
  const manifest = { metadata: { ...metadata, uid: existing.uid } };
  owned.namespaces.wrote(await kube.apply(projectNamespaces, manifest, { signal }));
  return isAdoption;
}

/** Undefined if the namespace is as specified. */
export async function reconcileNamespace(
  context: Context,
  project: Project,
  signal: AbortSignal,
): Promise<Outcome | undefined> {
  const name = namespaceOf(project);
  const existing = await find(context, name, signal);
  const verdict = existing === undefined ? "ours" : verdictOn(project, existing);
  if (typeof verdict === "object") return verdict;
  try {
    if (existing === undefined) await create(context, project, signal);
    else if (await converge(context, project, existing, verdict === "adopt", signal))
      tellAdopted(context, project);
    return undefined;
  } catch (error) {
    return rejectionOfCluster(error, `namespace "${name}"`);
  }
}

function tellAdopted(context: Context, project: Project): void {
  const note = `adopted existing namespace "${namespaceOf(project)}" (annotation ${annotations.adopt})`;
  const notice = { type: "Normal", reason: "NamespaceAdopted", action: "Adopt", note } as const;
  notify(context, projects, project, notice);
}
