/** Objects that Rota creates for projects: watched by label, so that drift is noticed at once. */
import { createHash } from "node:crypto";
import { configFileName, labels, managedBy } from "../api/names.ts";
import type { KubeObject, ResourceName, ResourceType } from "../kube/resource.ts";
import { fieldsOf, metaOf, textOf } from "./meta.ts";
import type { Owned } from "./owned-objects.ts";
import { configMaps, namespaces, persistentVolumeClaims, roleBindings } from "./types.ts";

export interface ProjectNamespace extends Owned {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface ProjectRoleBinding extends Owned {
  /** As "ClusterRole name". */
  readonly role: string;
  /** As "User name" or "Group name", in the object's order. */
  readonly subjects: readonly string[];
}

export interface ProjectClaim extends Owned {
  /** As written in the claim, such as 100Gi. Of any size: compare it exactly. */
  readonly size: string;
  readonly storageClass: string;
  readonly accessModes: readonly string[];
}

export interface ProjectConfigMap extends Owned {
  /** SHA-256 of its bytes, in hexadecimal. */
  readonly contentHash: string;
  readonly isImmutable: boolean;
}

const labelSelector = `${labels.managedBy}=${managedBy},${labels.project}`;

const watched = <T extends Owned>(
  name: ResourceName,
  project: (raw: KubeObject) => Omit<T, keyof Owned>,
  selector = labelSelector,
): ResourceType<T> => ({
  ...name,
  labelSelector: selector,
  project: (raw) =>
    ({
      ...metaOf(raw),
      project: raw.metadata.labels?.[labels.project] ?? "",
      ...project(raw),
    }) as T,
});

const isRotas = ([name]: readonly [string, string]): boolean =>
  name.startsWith("rota.dev/") || name.startsWith("pod-security.kubernetes.io/");

/** The labels or annotations that Rota uses; others may be long. */
const relevant = (entries: Readonly<Record<string, string>> | undefined) =>
  Object.fromEntries(
    Object.entries(entries ?? {}).filter(
      (entry) => isRotas(entry) || entry[0] === labels.managedBy,
    ),
  );

/** By the project's label alone: who manages an adopted namespace is for its owner to say. */
export const projectNamespaces = watched<ProjectNamespace>(
  namespaces,
  (raw) => ({
    labels: relevant(raw.metadata.labels),
    annotations: relevant(raw.metadata.annotations),
  }),
  labels.project,
);

interface Subject {
  readonly kind?: string;
  readonly name?: string;
}

/** "User pat", "Group staff". */
export const subjectText = ({ kind, name }: Subject): string => `${kind ?? ""} ${name ?? ""}`;

export const projectRoleBindings = watched<ProjectRoleBinding>(roleBindings, (raw) => ({
  role: subjectText(fieldsOf(raw["roleRef"])),
  subjects: ((raw["subjects"] ?? []) as Subject[]).map(subjectText),
}));

export const projectConfigMaps = watched<ProjectConfigMap>(configMaps, (raw) => ({
  contentHash: createHash("sha256")
    .update(textOf(fieldsOf(raw["data"])[configFileName]))
    .digest("hex"),
  isImmutable: raw["immutable"] === true,
}));

export const projectClaims = watched<ProjectClaim>(persistentVolumeClaims, (raw) => {
  const spec = fieldsOf(raw["spec"]);
  const requests = fieldsOf(fieldsOf(spec["resources"])["requests"]);
  return {
    size: textOf(requests["storage"]) || "0",
    storageClass: textOf(spec["storageClassName"]),
    accessModes: (spec["accessModes"] ?? []) as string[],
  };
});
