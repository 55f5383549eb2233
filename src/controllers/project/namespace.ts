/** A project's namespace: created or adopted, and kept labelled. */
import { annotations } from "../../api/names.ts";
import { isNotFound } from "../../kube/errors.ts";
import { projectNamespaces } from "../../resources/tenant-types.ts";
import type { ProjectNamespace } from "../../resources/tenant-types.ts";
import { namespaceManifest } from "../../resources/tenancy.ts";
import { projects } from "../../resources/types.ts";
import type { Project } from "../../resources/types.ts";
import type { Context } from "../context.ts";
import { notify } from "../report.ts";
import { outcome, rejectionOfCluster } from "./outcome.ts";
import type { Outcome } from "./outcome.ts";

/** Name of the project's namespace: spec.namespace, by default the project's name. */
export const namespaceOf = (project: Project): string => project.spec.namespace ?? project.name;

/** By its annotation for adoption, or by the project's uid if a user removed the label. */
const isHandedOver = (project: Project, namespace: ProjectNamespace): boolean =>
  namespace.annotations[annotations.adopt] === project.name ||
  namespace.annotations[annotations.projectUid] === project.uid;

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
  if (namespace.project === project.name) return "ours";
  if (isHandedOver(project, namespace)) return "adopt";
  if (namespace.project !== "") {
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

async function write(
  context: Context,
  project: Project,
  existing: ProjectNamespace | undefined,
  signal: AbortSignal,
): Promise<void> {
  const { kube, owned } = context;
  const made = existing === undefined;
  const manifest = namespaceManifest(namespaceOf(project), project, made);
  // `create` does not overwrite a namespace that appeared meanwhile; the next reconcile decides about it.
  const raw = made
    ? await kube.create(projectNamespaces, manifest, { signal })
    : await kube.apply(projectNamespaces, manifest, { signal });
  owned.namespaces.wrote(raw);
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
  const { metadata } = namespaceManifest(name, project, false);
  const isCurrent =
    existing !== undefined &&
    includes(existing.labels, metadata.labels ?? {}) &&
    includes(existing.annotations, metadata.annotations ?? {});
  if (isCurrent) return undefined;
  try {
    await write(context, project, existing, signal);
  } catch (error) {
    return rejectionOfCluster(error, `namespace "${name}"`);
  }
  const isTakenOver = verdict === "adopt" && existing?.annotations[annotations.adopt] !== undefined;
  if (isTakenOver) {
    const note = `adopted existing namespace "${name}" (annotation ${annotations.adopt})`;
    const notice = { type: "Normal", reason: "NamespaceAdopted", action: "Adopt", note } as const;
    notify(context, projects, project, notice);
  }
  return undefined;
}
