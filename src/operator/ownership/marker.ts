/** The marker of the cluster's installation: annotations of a ClusterRole without rules, which manifests/ create. */
import { markerAnnotations, markerName } from "../../api/names.ts";
import type { KubeClient } from "../../kube/client.ts";
import { isConflict, isNotFound } from "../../kube/errors.ts";
import type { ResourceName } from "../../kube/resource.ts";
import type { Marker } from "./standing.ts";

const clusterRoles: ResourceName = {
  group: "rbac.authorization.k8s.io",
  version: "v1",
  plural: "clusterroles",
  kind: "ClusterRole",
  namespaced: false,
};

export interface FoundMarker extends Marker {
  readonly resourceVersion: string;
}

/** Undefined when the cluster has none. Throws KubeError. */
export async function readMarker(
  kube: KubeClient,
  signal: AbortSignal,
): Promise<FoundMarker | undefined> {
  try {
    const { metadata } = await kube.get(clusterRoles, markerName, { signal });
    const { annotations = {}, resourceVersion = "" } = metadata;
    return {
      databaseId: annotations[markerAnnotations.database],
      lease: annotations[markerAnnotations.lease] ?? "",
      accepted: annotations[markerAnnotations.accept],
      resourceVersion,
    };
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** Names database and Lease in the marker, unless somebody changed it since it was read. Throws KubeError. */
export async function writeMarker(
  kube: KubeClient,
  over: FoundMarker,
  wanted: { readonly databaseId: string; readonly lease: string },
  signal: AbortSignal,
): Promise<void> {
  const annotations = {
    [markerAnnotations.database]: wanted.databaseId,
    [markerAnnotations.lease]: wanted.lease,
    [markerAnnotations.accept]: null,
  };
  const metadata = { resourceVersion: over.resourceVersion, annotations };
  try {
    await kube.patch(clusterRoles, markerName, { metadata }, { signal });
  } catch (error) {
    // Another operator was faster: what it wrote is judged next.
    if (!isConflict(error)) throw error;
  }
}
