/** Whether this operator may lead, by what the database says of itself and what the cluster says of its database. Pure. */
import { markerAnnotations, markerName } from "../../api/names.ts";
import type { DatabaseOwnership } from "../../db/client/identity.ts";

/** What the cluster says of its installation. */
export interface Marker {
  readonly databaseId: string | undefined;
  /** NAMESPACE/NAME; empty: its operator runs without one. */
  readonly lease: string;
  /** The id that an administrator accepts. */
  readonly accepted: string | undefined;
}

export interface Self {
  /** uid of the namespace kube-system. */
  readonly clusterUid: string;
  /** NAMESPACE/NAME; empty without leader election. */
  readonly lease: string;
  /** The extended resource that it counts in columns as GPUs. */
  readonly gpuResource: string;
}

/** Why an operator does not lead; label of the metric, and in the log. */
export type Obstacle =
  | "DatabaseOfAnotherCluster"
  | "DatabaseRestored"
  | "AnotherDatabase"
  | "AnotherInstallation"
  | "DatabaseEmpty"
  | "GpuResourceChanged"
  | "MarkerMissing";

export interface Refusal {
  readonly obstacle: Obstacle;
  readonly message: string;
}

export type Standing =
  | { readonly is: "ours" }
  /** To be written next; then it is judged again. */
  | { readonly is: "step"; readonly step: "mark" | "claim" | "take" | "count" }
  /** The empty database takes over when the Lease that the marker names has been free for long enough. */
  | { readonly is: "awaits"; readonly lease: string; readonly refusal: Refusal }
  | { readonly is: "refused"; readonly refusal: Refusal };

/** The one documented step, as a command. */
export const acceptCommand = (databaseId: string): string =>
  `kubectl annotate clusterrole ${markerName} --overwrite ${markerAnnotations.accept}=${databaseId}`;

const refusalOf = (obstacle: Obstacle, what: string, { id }: DatabaseOwnership): Refusal => ({
  obstacle,
  message: `${what}; to use it all the same, stop every other operator that uses it, then run: ${acceptCommand(id)}`,
});

const refused = (...given: Parameters<typeof refusalOf>): Standing => ({
  is: "refused",
  refusal: refusalOf(...given),
});

/**
 * Steps are chosen so that an operator that is killed between two of them finds the next one. An empty database is marked
 * before it is claimed, so that it stays empty until the cluster knows it; one that is taken gets its new id first, and
 * knows the one that was accepted.
 */
export function standingOf(database: DatabaseOwnership, marker: Marker, self: Self): Standing {
  const { id, formerId, clusterUid, isCopy } = database;
  const { databaseId, lease, accepted } = marker;
  const isEmpty = clusterUid === undefined;
  if (accepted === id) return { is: "step", step: "take" };
  if (!isEmpty && clusterUid !== self.clusterUid)
    return refused(
      "DatabaseOfAnotherCluster",
      `the database belongs to the cluster whose kube-system has uid ${clusterUid}, and this one's has ${self.clusterUid}`,
      database,
    );
  if (isCopy)
    return refused(
      "DatabaseRestored",
      "the database was restored from a dump, or is a copy",
      database,
    );
  const isAccepted = accepted !== undefined && accepted === formerId;
  if (isAccepted || databaseId === undefined) return { is: "step", step: "mark" };
  if (databaseId === id) {
    // An operator without leader election is run by hand, beside no other.
    const isOtherLease = lease !== "" && self.lease !== "" && lease !== self.lease;
    if (isOtherLease) return anotherInstallation(database, lease, self);
    return isEmpty ? { is: "step", step: "claim" } : countedAs(database, self);
  }
  if (!isEmpty)
    return refused(
      "AnotherDatabase",
      `the cluster's database is ${databaseId}, and this one is ${id}`,
      database,
    );
  const refusal = refusalOf(
    "DatabaseEmpty",
    `the database is empty, and the cluster's database is ${databaseId}`,
    database,
  );
  return lease === "" ? { is: "refused", refusal } : { is: "awaits", lease, refusal };
}

/** Jobs that were counted under another name would be invisible on their nodes. */
function countedAs({ gpuResource, hasJobs }: DatabaseOwnership, self: Self): Standing {
  if (gpuResource === self.gpuResource) return { is: "ours" };
  if (gpuResource === undefined || !hasJobs) return { is: "step", step: "count" };
  const message = `the jobs in the database were counted with ${gpuResource} as the first of ROTA_GPU_RESOURCES, and this operator's first is ${self.gpuResource}; put ${gpuResource} first again, or change it when all jobs have ended`;
  return { is: "refused", refusal: { obstacle: "GpuResourceChanged", message } };
}

const anotherInstallation = (database: DatabaseOwnership, lease: string, self: Self): Standing =>
  refused(
    "AnotherInstallation",
    `the cluster's operators hold the Lease "${lease}", and this one's is "${self.lease}"`,
    database,
  );
