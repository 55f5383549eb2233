/** ResourceQuotas that limit the number of pods. */
import type { ClusterView } from "../../dev/quickstart/cluster-view.ts";
import { core } from "./core-resource.ts";

const quotas = core("resourcequotas", "ResourceQuota");

const limitOf = (pods: number) => ({ spec: { hard: { pods: String(pods) } } });

/** Makes a quota, and waits until the cluster counts under it. */
export async function limitPods(
  { client, until }: Pick<ClusterView, "client" | "until">,
  metadata: { readonly namespace: string; readonly name: string },
  pods: number,
): Promise<void> {
  await client.create(quotas, {
    apiVersion: "v1",
    kind: "ResourceQuota",
    metadata,
    ...limitOf(pods),
  });
  await until("the quota to count", async () => {
    const { status } = await client.get(quotas, `${metadata.namespace}/${metadata.name}`);
    return JSON.stringify(status ?? {}).includes('"hard"');
  });
}

export const changePodLimit = (
  { client }: Pick<ClusterView, "client">,
  key: string,
  pods: number,
): Promise<unknown> => client.patch(quotas, key, limitOf(pods));
