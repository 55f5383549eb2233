/** The operator's kubeconfig: a token of its own ServiceAccount, so that it may do what its ClusterRole says and no more. */
import { writeFileSync } from "node:fs";
import { clientFor, loadKubeconfig } from "./kube-client.ts";

const account = { namespace: "rota-system", name: "rota-operator" };
/** Longer than any story or test; the API server may shorten it. */
const tokenSeconds = 24 * 3600;

interface TokenAnswer {
  readonly status?: { readonly token?: string };
}

/** Asks for a token of the installed ServiceAccount (subresource TokenRequest) with an administrator's kubeconfig. */
async function requestToken(kubeconfig: string): Promise<string> {
  const client = clientFor(kubeconfig);
  const path = `/api/v1/namespaces/${account.namespace}/serviceaccounts/${account.name}/token`;
  const body = {
    apiVersion: "authentication.k8s.io/v1",
    kind: "TokenRequest",
    spec: { expirationSeconds: tokenSeconds },
  };
  try {
    const answer = (await client.raw("POST", path, body, { idempotent: true })) as TokenAnswer;
    const token = answer.status?.token;
    if (token === undefined) throw new Error(`the API server gave no token for ${account.name}`);
    return token;
  } finally {
    await client.close();
  }
}

/** Writes a kubeconfig of the operator's ServiceAccount for the cluster of `kubeconfig`, where manifests/ are installed. */
export async function writeOperatorKubeconfig(kubeconfig: string, file: string): Promise<void> {
  const cluster = loadKubeconfig(kubeconfig).getCurrentCluster();
  if (cluster === null) throw new Error(`${kubeconfig} has no current cluster`);
  const { name } = cluster;
  const config = loadKubeconfig(kubeconfig);
  config.loadFromOptions({
    clusters: [cluster],
    users: [{ name: account.name, token: await requestToken(kubeconfig) }],
    contexts: [{ name, cluster: name, user: account.name }],
    currentContext: name,
  });
  writeFileSync(file, config.exportConfig(), { mode: 0o600 });
}
