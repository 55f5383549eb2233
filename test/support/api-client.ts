/** Users of a test cluster, and requests to the HTTP API in their name. */
import { Agent, fetch, type RequestInit } from "undici";
import { loadKubeconfig } from "../../dev/local/kube-client.ts";
import { audience, tokenHeader } from "../../src/api/http/identity.ts";
import { signRequest, type ClientCertificate } from "../../src/cli/signature.ts";
import type { KubeClient } from "../../src/kube/client.ts";

/** The API server's proxy does not verify the operator's certificate either. */
const unverified = new Agent({ connect: { rejectUnauthorized: false } });

export interface Reply<Body> {
  readonly status: number;
  readonly contentType: string;
  /** Retry-After */
  readonly retryAfter: string | null;
  readonly body: Body;
}

/** Creates the value of the authentication header for a request. */
export type Identity = (method: string, target: string) => Promise<string> | string;

export const withToken =
  (token: string): Identity =>
  () =>
    token;

export function certificateOf(kubeconfig: string): ClientCertificate {
  const user = loadKubeconfig(kubeconfig).getCurrentUser();
  const pem = (data: string | undefined) => Buffer.from(data ?? "", "base64").toString();
  return { cert: pem(user?.certData), key: pem(user?.keyData) };
}

export const withCertificate =
  (certificate: ClientCertificate): Identity =>
  (method, target) =>
    signRequest(certificate, { method, target, audience });

interface TokenAnswer {
  readonly status: { readonly token: string };
}

/** A token of a ServiceAccount, by default for the API server as audience. */
export async function tokenOf(
  admin: KubeClient,
  account: { readonly namespace: string; readonly name: string },
  audiences: readonly string[] = [],
): Promise<string> {
  const answer = (await admin.raw(
    "POST",
    `/api/v1/namespaces/${account.namespace}/serviceaccounts/${account.name}/token`,
    {
      apiVersion: "authentication.k8s.io/v1",
      kind: "TokenRequest",
      spec: { expirationSeconds: 3600, ...(audiences.length === 0 ? {} : { audiences }) },
    },
    { idempotent: true },
  )) as TokenAnswer;
  return answer.status.token;
}

export async function ask<Body>(
  apiUrl: string,
  target: string,
  identity?: Identity,
  init: Omit<RequestInit, "headers"> & { headers?: Readonly<Record<string, string>> } = {},
): Promise<Reply<Body>> {
  const { method = "GET", headers = {} } = init;
  const proof = identity === undefined ? {} : { [tokenHeader]: await identity(method, target) };
  const response = await fetch(`${apiUrl}${target}`, {
    ...init,
    headers: { ...headers, ...proof },
    dispatcher: unverified,
  });
  const text = await response.text();
  return {
    status: response.status,
    contentType: response.headers.get("content-type") ?? "",
    retryAfter: response.headers.get("retry-after"),
    body: (text === "" ? undefined : JSON.parse(text)) as Body,
  };
}
