/** Signs a request with a client certificate's key; the certificate is in x5c. */
import { createPrivateKey, randomUUID, type KeyObject } from "node:crypto";
import { SignJWT } from "jose";
import { proofType } from "../api/http/identity.ts";
import { certificatesOf } from "../runtime/pem.ts";

export interface ClientCertificate {
  /** PEM: the certificate, then its intermediate authorities. */
  readonly cert: string;
  /** PEM */
  readonly key: string;
}

const lifeSeconds = 60;

const curves: Readonly<Record<string, string>> = {
  prime256v1: "ES256",
  secp384r1: "ES384",
  secp521r1: "ES512",
};

function algorithmOf(key: KeyObject): string {
  if (key.asymmetricKeyType === "rsa") return "RS256";
  if (key.asymmetricKeyType === "ed25519") return "EdDSA";
  const curve = key.asymmetricKeyDetails?.namedCurve ?? "";
  const algorithm = curves[curve];
  if (algorithm === undefined) {
    throw new Error(
      `keys of type ${key.asymmetricKeyType} ${curve} are not supported for client certificates`,
    );
  }
  return algorithm;
}

/** The form of x5c: base64 of DER, the leaf first. */
const chainOf = (pem: string): string[] =>
  certificatesOf(pem).map(({ raw }) => raw.toString("base64"));

/** @param target path and query as sent */
export function signRequest(
  { cert, key }: ClientCertificate,
  { method, target, audience }: { method: string; target: string; audience: string },
): Promise<string> {
  const privateKey = createPrivateKey(key);
  return new SignJWT({ request: `${method} ${target}` })
    .setProtectedHeader({ typ: proofType, alg: algorithmOf(privateKey), x5c: chainOf(cert) })
    .setAudience(audience)
    .setIssuedAt()
    .setExpirationTime(`${lifeSeconds} s`)
    .setJti(randomUUID())
    .sign(privateKey);
}
