/** Credentials for the HTTP API: a token, or a signature by the client certificate's key. */
import { audience } from "../api/http/identity.ts";
import type { KubeClient } from "../kube/client.ts";
import type { CredentialSource } from "../kube/credentials.ts";
import { CliError, exitCodes } from "./errors.ts";
import { signRequest } from "./signature.ts";

const tokenLifeSeconds = 600;

interface ServiceAccount {
  readonly namespace: string;
  readonly name: string;
}

/** The signature is not verified: the claims only decide which token is requested. */
function claimsOf(token: string): Readonly<Record<string, unknown>> {
  try {
    const claims: unknown = JSON.parse(
      Buffer.from(token.split(".")[1] ?? "", "base64url").toString(),
    );
    return typeof claims === "object" && claims !== null ? { ...claims } : {};
  } catch {
    return {}; // not a JWT; the API server may know it
  }
}

function serviceAccountOf(token: string): ServiceAccount | undefined {
  const { sub } = claimsOf(token);
  if (typeof sub !== "string") return undefined;
  const [, namespace, name] = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(sub) ?? [];
  return namespace === undefined || name === undefined ? undefined : { namespace, name };
}

const isBound = (token: string): boolean => [claimsOf(token)["aud"]].flat().includes(audience);

/** A token for Rota's audience only, if the ServiceAccount may create one; otherwise the given token. */
async function boundToken(client: KubeClient, token: string): Promise<string> {
  const account = serviceAccountOf(token);
  if (!account || isBound(token)) return token;
  const path = `/api/v1/namespaces/${account.namespace}/serviceaccounts/${account.name}/token`;
  const body = {
    apiVersion: "authentication.k8s.io/v1",
    kind: "TokenRequest",
    spec: { audiences: [audience], expirationSeconds: tokenLifeSeconds },
  };
  try {
    const answer = (await client.raw("POST", path, body, { attempts: 1 })) as {
      readonly status?: { readonly token?: string };
    };
    return answer.status?.token ?? token;
  } catch {
    return token; // most ServiceAccounts may not create tokens
  }
}

/** A certificate or key from the TLS options. */
const pemOf = (value: unknown): string | undefined =>
  typeof value === "string" || Buffer.isBuffer(value) ? value.toString() : undefined;

export interface Authentication {
  /** The header value for a request. */
  for(method: string, target: string): Promise<string>;
}

/** Signs requests with a client certificate; with a token, requests a bound one once and reuses it. */
export function createAuthentication(
  client: KubeClient,
  credentials: CredentialSource,
): Authentication {
  let token: Promise<string> | undefined;
  return {
    for: async (method, target) => {
      const { headers, tls } = await credentials.read(false);
      const [, bearer] = /^Bearer (.+)$/i.exec(headers["authorization"] ?? "") ?? [];
      if (bearer !== undefined) {
        token ??= boundToken(client, bearer);
        return token;
      }
      const [cert, key] = [pemOf(tls.cert), pemOf(tls.key)];
      if (cert !== undefined && key !== undefined) {
        return signRequest({ cert, key }, { method, target, audience });
      }
      throw new CliError(
        "the kubeconfig's user has neither a token nor a client certificate, which Rota needs to identify you: add one, for example with kubectl create token",
        exitCodes.notPermitted,
      );
    },
  };
}
