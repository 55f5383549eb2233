/** Manifests of a project's objects: namespace, role bindings, ConfigMaps, claims. Pure. */
import { annotations, configFileName, configMapName, labels, managedBy } from "../api/names.ts";
import type { ProjectSpec } from "../api/generated.ts";
import type { KubeObject } from "../kube/resource.ts";

export interface MemberInEffect {
  readonly kind: "User" | "Group";
  readonly name: string;
  readonly role: "viewer" | "submitter" | "admin";
}

const rbacGroup = "rbac.authorization.k8s.io";

type Storage = NonNullable<ProjectSpec["storages"]>[number];

const marks = (project: string) => ({
  [labels.project]: project,
  [labels.managedBy]: managedBy,
});

export interface NamespaceOwner {
  readonly name: string;
  readonly uid: string;
  readonly spec: Pick<ProjectSpec, "podSecurity">;
}

/** Labels that a project enforces on its namespace though others may have set them before. */
const podSecurityLabels = [
  "pod-security.kubernetes.io/enforce",
  "pod-security.kubernetes.io/warn",
] as const;

/** What every namespace of a project bears. */
export const namespaceManifest = (name: string, project: NamespaceOwner): KubeObject => ({
  metadata: {
    name,
    labels: {
      [labels.project]: project.name,
      ...Object.fromEntries(podSecurityLabels.map((label) => [label, project.spec.podSecurity])),
    },
    annotations: { [annotations.projectUid]: project.uid },
  },
});

/** A namespace that does not exist yet: the mark says that it may be deleted with its project. */
export function newNamespaceManifest(name: string, project: NamespaceOwner): KubeObject {
  const { metadata } = namespaceManifest(name, project);
  return {
    metadata: {
      ...metadata,
      labels: { ...metadata.labels, [labels.managedBy]: managedBy },
      annotations: { ...metadata.annotations, [annotations.made]: "true" },
    },
  };
}

/** Those of the labels of an adopted namespace that the project will replace, as JSON. */
export const formerLabelsOf = (has: Readonly<Record<string, string>>): string =>
  JSON.stringify(
    Object.fromEntries(
      podSecurityLabels.flatMap((label) => (label in has ? [[label, has[label]]] : [])),
    ),
  );

/**
 * The labels to be written when an adopted namespace is given back, null for those it did not have. None where the
 * record is missing or was changed into something else.
 */
export function labelsGivenBack(record: string | undefined): Record<string, string | null> {
  const former = parsedLabels(record);
  if (former === undefined) return {};
  return Object.fromEntries(podSecurityLabels.map((label) => [label, former[label] ?? null]));
}

function parsedLabels(record: string | undefined): Record<string, string> | undefined {
  if (record === undefined) return undefined;
  try {
    const parsed: unknown = JSON.parse(record);
    if (typeof parsed !== "object" || parsed === null) return undefined;
    const isText = (entry: [string, unknown]): entry is [string, string] =>
      typeof entry[1] === "string";
    return Object.fromEntries(Object.entries(parsed).filter(isText));
  } catch {
    return undefined;
  }
}

export const roles = ["viewer", "submitter", "admin"] as const;

/** Name of the RoleBinding in a namespace, and of the ClusterRole that it binds. */
export const roleBindingName = (role: MemberInEffect["role"]): string => `rota-${role}`;

/** One binding for each role that a member has. */
export const roleBindingManifests = (
  namespace: string,
  project: string,
  members: readonly MemberInEffect[],
): KubeObject[] =>
  roles.flatMap((role) => {
    const subjects = members
      .filter((member) => member.role === role)
      .map(({ kind, name }) => ({ apiGroup: rbacGroup, kind, name }));
    if (subjects.length === 0) return [];
    const name = roleBindingName(role);
    const roleRef = { apiGroup: rbacGroup, kind: "ClusterRole", name };
    return [{ metadata: { name, namespace, labels: marks(project) }, roleRef, subjects }];
  });

/** An immutable ConfigMap with the canonical JSON text as its only file. */
export const configMapManifest = (
  order: { readonly namespace: string; readonly project: string; readonly hash: string },
  content: string,
): KubeObject => ({
  metadata: {
    name: configMapName(order.hash),
    namespace: order.namespace,
    labels: marks(order.project),
  },
  immutable: true,
  data: { [configFileName]: content },
});

/** Not a schema default: in a list, a default would turn every client-side apply of the same file into a change. */
export const accessModeOf = ({ accessMode }: Storage): NonNullable<Storage["accessMode"]> =>
  accessMode ?? "ReadWriteMany";

/** A PersistentVolumeClaim with the storage's name. */
export const claimManifest = (
  namespace: string,
  project: string,
  storage: Storage,
): KubeObject => ({
  metadata: { name: storage.name, namespace, labels: marks(project) },
  spec: {
    accessModes: [accessModeOf(storage)],
    resources: { requests: { storage: storage.size } },
    ...(storage.storageClassName === undefined
      ? {}
      : { storageClassName: storage.storageClassName }),
  },
});
