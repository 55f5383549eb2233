/**
 * The headless Service under which the pods of a project's gangs find each other. One for all gangs of a namespace,
 * so that a job costs no write; pods are found before they are ready, since a gang becomes ready only together.
 */
import { apiVersion, gangService, labels } from "../api/names.ts";
import type { KubeObject } from "../kube/resource.ts";

/** It goes with its project, also where the namespace stays. */
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
