/** ResourceQuotas of a namespace. */
import type { ClusterView } from "../../dev/quickstart/cluster-view.ts";
import { core } from "./core-resource.ts";

const quotas = core("resourcequotas", "ResourceQuota");

type Amounts = Readonly<Record<string, string>>;
type View = Pick<ClusterView, "client" | "until">;

/** Waits until the cluster counts under these limits. */
const isInForce = ({ client, until }: View, key: string, hard: Amounts): Promise<unknown> =>
  until(`ResourceQuota ${key} to be in force`, async () => {
    const { status } = await client.get(quotas, key);
    const inForce = (status as { readonly hard?: Amounts } | undefined)?.hard ?? {};
    return Object.entries(hard).every(([name, amount]) => inForce[name] === amount);
  });

/**
 * Makes a quota, and waits until it is in force.
 * @param scopes the rest of its spec
 */
export async function limit(
  view: View,
  metadata: { readonly namespace: string; readonly name: string },
  hard: Amounts,
  scopes: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  const spec = { hard, ...scopes };
  await view.client.create(quotas, {
    apiVersion: "v1",
    kind: "ResourceQuota",
    metadata,
    spec,
  });
  await isInForce(view, `${metadata.namespace}/${metadata.name}`, hard);
}

export async function changeLimit(view: View, key: string, hard: Amounts): Promise<void> {
  await view.client.patch(quotas, key, { spec: { hard } });
  await isInForce(view, key, hard);
}

export const removeLimit = ({ client }: View, key: string): Promise<unknown> =>
  client.delete(quotas, key);
