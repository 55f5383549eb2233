/**
 * The headless Service through which gang pods find each other. One for all gangs of a namespace, so that a job costs
 * no write. It publishes pods that are not ready, because the pods of a gang become ready only together.
 */
import { apiVersion, gangService, labels } from "../api/names.ts";
import type { KubeObject } from "../kube/resource.ts";

/** Deleted with its project by the owner reference, even if the namespace stays. */
export const gangServiceManifest = (
  namespace: string,
  project: { readonly name: string; readonly uid: string },
): KubeObject => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: {
    name: gangService,
    namespace,
    labels: { [labels.project]: project.name, [labels.managedBy]: "rota" },
    ownerReferences: [{ apiVersion, kind: "Project", name: project.name, uid: project.uid }],
  },
  spec: {
    clusterIP: "None",
    publishNotReadyAddresses: true,
    selector: { [labels.gang]: gangService },
  },
});
