/** Admission webhooks of one namespace that fail: the API server refuses what they would judge. */
import type { ClusterView } from "../../dev/quickstart/cluster-view.ts";
import type { KubeObject, ResourceName } from "../../src/kube/resource.ts";

export const webhooks: ResourceName = {
  group: "admissionregistration.k8s.io",
  version: "v1",
  plural: "validatingwebhookconfigurations",
  kind: "ValidatingWebhookConfiguration",
  namespaced: false,
};

/** Nobody serves it. */
export const refusedUrl = "https://127.0.0.1:1/";

export interface FailingWebhook {
  readonly name: string;
  readonly namespace: string;
  /** Whose creation it judges; a subresource as "pods/eviction". */
  readonly of: Pick<ResourceName, "group" | "version" | "plural">;
  readonly url: string;
}

export const failingWebhook = ({ name, namespace, of, url }: FailingWebhook): KubeObject => ({
  apiVersion: "admissionregistration.k8s.io/v1",
  kind: webhooks.kind,
  metadata: { name },
  webhooks: [
    {
      name: `${name}.example.com`,
      clientConfig: { url },
      namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": namespace } },
      rules: [
        {
          apiGroups: [of.group],
          apiVersions: [of.version],
          operations: ["CREATE"],
          resources: [of.plural],
        },
      ],
      failurePolicy: "Fail",
      sideEffects: "None",
      timeoutSeconds: 30,
      admissionReviewVersions: ["v1"],
    },
  ],
});

const specs: Readonly<Record<string, object>> = {
  Pod: { spec: { containers: [{ name: "a", image: "a" }] } },
  Service: { spec: { clusterIP: "None" } },
  ConfigMap: {},
};

/** Creates the webhook and waits until it is in force, some moments later. */
export async function putInForce(
  { client, until }: Pick<ClusterView, "client" | "until">,
  object: KubeObject,
  namespace: string,
  type: ResourceName,
): Promise<void> {
  await client.create(webhooks, object);
  const probe = {
    apiVersion: "v1",
    kind: type.kind,
    metadata: { name: "probe", namespace },
    ...specs[type.kind],
  };
  await until("the webhook to be in force", () =>
    client.create(type, probe, { dryRun: true, attempts: 1 }).then(
      () => false,
      () => true,
    ),
  );
}
