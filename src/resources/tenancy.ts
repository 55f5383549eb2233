/** Manifests of what a project has in the cluster: namespace, role bindings, claims. Pure. */
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

/** The binding in a namespace, and the ClusterRole it binds. */
export const roleBindingName = (role: MemberInEffect["role"]): string => `rota-${role}`;

/** One binding for each role that somebody has. */
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

/** Not a default of the schema: in a list, it would make every client-side apply of the same file a change. */
export const accessModeOf = ({ accessMode }: Storage): NonNullable<Storage["accessMode"]> =>
  accessMode ?? "ReadWriteMany";

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
