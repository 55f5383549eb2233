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

/** @param made true if Rota creates the namespace, and may therefore delete it with the project */
export const namespaceManifest = (
  name: string,
  project: {
    readonly name: string;
    readonly uid: string;
    readonly spec: Pick<ProjectSpec, "podSecurity">;
  },
  made: boolean,
): KubeObject => ({
  metadata: {
    name,
    labels: {
      ...marks(project.name),
      "pod-security.kubernetes.io/enforce": project.spec.podSecurity,
      "pod-security.kubernetes.io/warn": project.spec.podSecurity,
    },
    annotations: {
      [annotations.projectUid]: project.uid,
      ...(made ? { [annotations.made]: "true" } : {}),
    },
  },
});

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
