/** Manifests of what a project has in the cluster: namespace, role bindings, claims. Pure. */
import { labels } from "../api/names.ts";
import type { ProjectSpec } from "../api/generated.ts";
import type { KubeObject } from "../kube/resource.ts";

export interface MemberInEffect {
  readonly kind: "User" | "Group";
  readonly name: string;
  readonly role: "viewer" | "submitter" | "admin";
}

type Storage = NonNullable<ProjectSpec["storages"]>[number];

const marks = (project: string) => ({ [labels.project]: project, [labels.managedBy]: "rota" });

export const namespaceManifest = (
  name: string,
  project: string,
  podSecurity: string,
): KubeObject => ({
  metadata: {
    name,
    labels: {
      ...marks(project),
      "pod-security.kubernetes.io/enforce": podSecurity,
      "pod-security.kubernetes.io/warn": podSecurity,
    },
  },
});

const roles = ["viewer", "submitter", "admin"] as const;

/** One binding per role, empty ones included: they take away what was given before. */
export const roleBindingManifests = (
  namespace: string,
  project: string,
  members: readonly MemberInEffect[],
): KubeObject[] =>
  roles.map((role) => ({
    metadata: { name: `rota-${role}`, namespace, labels: marks(project) },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: `rota-${role}` },
    subjects: members
      .filter((member) => member.role === role)
      .map(({ kind, name }) => ({ apiGroup: "rbac.authorization.k8s.io", kind, name })),
  }));

export const claimManifest = (
  namespace: string,
  project: string,
  storage: Storage,
): KubeObject => ({
  metadata: { name: storage.name, namespace, labels: marks(project) },
  spec: {
    accessModes: [storage.accessMode],
    resources: { requests: { storage: storage.size } },
    ...(storage.storageClassName === undefined
      ? {}
      : { storageClassName: storage.storageClassName }),
  },
});
