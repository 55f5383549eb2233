/**
 * The certificate of the API's port: from files, or made for this process alone. The API server's proxy does not
 * verify it, so a self-made one keeps tokens off the wire as well as any.
 */
import { readFile } from "node:fs/promises";
import { hostname } from "node:os";

/** PEM. */
export interface KeyPair {
  readonly key: string;
  readonly cert: string;
}

export async function readKeyPair(certFile: string, keyFile: string): Promise<KeyPair> {
  const [cert, key] = await Promise.all([readFile(certFile, "utf8"), readFile(keyFile, "utf8")]);
  return { cert, key };
}

const validDays = 3650;
const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

/** Loaded only when it is needed. The library wants the polyfill to be there before it. */
export async function makeKeyPair(now: Temporal.Instant): Promise<KeyPair> {
  await import("reflect-metadata");
  const { SubjectAlternativeNameExtension, X509CertificateGenerator } =
    await import("@peculiar/x509");
  const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: "CN=rota",
    notBefore: new Date(now.subtract({ hours: 1 }).epochMilliseconds),
    notAfter: new Date(now.add({ hours: validDays * 24 }).epochMilliseconds),
    signingAlgorithm: algorithm,
    keys,
    extensions: [
      new SubjectAlternativeNameExtension(
        ["rota.rota-system.svc", "localhost", hostname()].map((value) => ({ type: "dns", value })),
      ),
    ],
  });
  const key = Buffer.from(await crypto.subtle.exportKey("pkcs8", keys.privateKey));
  const lines = key.toString("base64").match(/.{1,64}/g) ?? [];
  return {
    cert: certificate.toString("pem"),
    key: ["-----BEGIN PRIVATE KEY-----", ...lines, "-----END PRIVATE KEY-----", ""].join("\n"),
  };
}
