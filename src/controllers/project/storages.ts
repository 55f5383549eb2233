/** A project's storages: one claim each, which may only grow. */
import type { ProjectSpec } from "../../api/generated.ts";
import { labels } from "../../api/names.ts";
import type { ProjectStorage } from "../../db/tenants/projects.ts";
import { exactBytes } from "../../domain/quantity.ts";
import { isAlreadyExists, isNotFound } from "../../kube/errors.ts";
import { accessModeOf, claimManifest } from "../../resources/tenancy.ts";
import { projectClaims } from "../../resources/tenant-types.ts";
import type { ProjectClaim } from "../../resources/tenant-types.ts";
import type { Project } from "../../resources/types.ts";
import { indices } from "../context.ts";
import type { Context } from "../context.ts";
import { namespaceOf } from "./namespace.ts";
import { outcome, part, rejectionOfCluster } from "./outcome.ts";
import type { Outcome } from "./outcome.ts";

type Storage = NonNullable<ProjectSpec["storages"]>[number];

const claimKey = (project: Project, name: string): string => `${namespaceOf(project)}/${name}`;

/** Why the existing claim cannot satisfy the spec; undefined if it can. Pure. */
export function storageRejection(storage: Storage, claim: ProjectClaim): string | undefined {
  const { name, size, storageClassName } = storage;
  const accessMode = accessModeOf(storage);
  if (exactBytes(size) < exactBytes(claim.size)) {
    return `spec.storages "${name}": size ${size} is less than the claim's ${claim.size}; claims cannot shrink`;
  }
  if (storageClassName !== undefined && storageClassName !== claim.storageClass) {
    return `spec.storages "${name}": storageClassName "${storageClassName}" is not the claim's, "${claim.storageClass}"; it cannot be changed: add a storage with another name and move the data`;
  }
  const [mode = ""] = claim.accessModes;
  if (accessMode !== mode) {
    return `spec.storages "${name}": accessMode ${accessMode} is not the claim's, ${mode}; it cannot be changed: add a storage with another name and move the data`;
  }
  return undefined;
}

/** The storages as rows; where the claim cannot follow the spec, the row shows the claim. */
export function storagesOf({ owned }: Context, project: Project): ProjectStorage[] {
  return (project.spec.storages ?? []).map((storage) => {
    const claim = owned.claims.get(claimKey(project, storage.name));
    const isKept =
      claim !== undefined && (claim.deleting || storageRejection(storage, claim) !== undefined);
    const storageClass = isKept ? claim.storageClass : storage.storageClassName;
    return {
      name: storage.name,
      sizeBytes: exactBytes(isKept ? claim.size : storage.size),
      ...(storageClass === undefined ? {} : { storageClass }),
      accessMode: (isKept ? claim.accessModes[0] : undefined) ?? accessModeOf(storage),
      affinity: storage.affinity ?? {},
    };
  });
}

async function createClaim(
  { kube, owned }: Context,
  project: Project,
  storage: Storage,
  signal: AbortSignal,
): Promise<Outcome | undefined> {
  const manifest = claimManifest(namespaceOf(project), project.name, storage);
  try {
    owned.claims.wrote(await kube.create(projectClaims, manifest, { signal }));
    return undefined;
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
    return outcome(
      "StorageRejected",
      `spec.storages "${storage.name}": namespace "${namespaceOf(project)}" has a claim with this name that does not belong to the project; label it ${labels.project}=${project.name} and ${labels.managedBy}=rota to hand it over, or choose another name`,
    );
  }
}

const terminating = (name: string): Outcome =>
  outcome(
    "StorageTerminating",
    `claim "${name}" is being deleted; it is created again when it is gone`,
  );

/** If the cluster refuses to grow a claim, the reason is its storage class; the message says so. */
async function reconcileClaim(
  context: Context,
  project: Project,
  storage: Storage,
  signal: AbortSignal,
): Promise<Outcome | undefined> {
  const { kube, owned } = context;
  const key = claimKey(project, storage.name);
  const claim = owned.claims.get(key);
  try {
    if (claim === undefined) return await createClaim(context, project, storage, signal);
    if (claim.deleting) return terminating(storage.name);
    const rejection = storageRejection(storage, claim);
    if (rejection !== undefined) return outcome("StorageRejected", rejection);
    if (exactBytes(storage.size) === exactBytes(claim.size)) return undefined;
    const grown = { spec: { resources: { requests: { storage: storage.size } } } };
    owned.claims.wrote(await kube.patch(projectClaims, key, grown, { signal }));
    return undefined;
  } catch (error) {
    const { reason, message } = rejectionOfCluster(error, `spec.storages "${storage.name}"`);
    return outcome(reason === "ClusterRejected" ? "StorageRejected" : reason, message);
  }
}

/** Removes claims of storages that the spec no longer names, only with reclaimPolicy Delete: they hold data. */
async function removeFormerClaims(
  { kube, owned }: Context,
  project: Project,
  signal: AbortSignal,
): Promise<void> {
  if (project.spec.reclaimPolicy !== "Delete") return;
  const named = new Set((project.spec.storages ?? []).map(({ name }) => name));
  const claims = owned.claims.informer.store.byIndex(
    indices.claimsByNamespace,
    namespaceOf(project),
  );
  for (const claim of claims) {
    if (named.has(claim.name) || claim.deleting || claim.project !== project.name) continue;
    await kube
      .delete(projectClaims, claimKey(project, claim.name), { uid: claim.uid, signal })
      .catch((error: unknown) => {
        if (!isNotFound(error)) throw error;
      });
  }
}

/** Reconciles all storages. Undefined if every storage has its claim; otherwise the first rejection. */
export async function reconcileStorages(
  context: Context,
  project: Project,
  signal: AbortSignal,
): Promise<Outcome | undefined> {
  let first: Outcome | undefined;
  for (const storage of project.spec.storages ?? []) {
    const found = await reconcileClaim(context, project, storage, signal);
    first ??= found;
  }
  const ofFormer = await part("claims of former storages", () =>
    removeFormerClaims(context, project, signal),
  );
  return first ?? ofFormer;
}
