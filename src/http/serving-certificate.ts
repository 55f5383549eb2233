/**
 * The certificate of the API's port: from files, or self-signed for this process. The API server's proxy does not
 * verify it, so a self-signed one protects tokens on the wire as well as any other.
 */
// Before the library that requires it.
import "reflect-metadata";
import { SubjectAlternativeNameExtension, X509CertificateGenerator } from "@peculiar/x509";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { sleepUnlessAborted, type Clock } from "../runtime/clock.ts";
import { errorText, type Logger } from "../runtime/logger.ts";

/** PEM. */
export interface KeyPair {
  readonly key: string;
  readonly cert: string;
}

export interface KeyPairFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

/** Throws when a file cannot be read, or when key and certificate do not match. */
export async function readKeyPair({ certFile, keyFile }: KeyPairFiles): Promise<KeyPair> {
  const [cert, key] = await Promise.all([readFile(certFile, "utf8"), readFile(keyFile, "utf8")]);
  if (!new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))) {
    throw new Error(`${keyFile} is not the key of the certificate in ${certFile}`);
  }
  return { cert, key };
}

/** The interval of a kubeconfig's files. */
const readAgainSeconds = 30;

export interface FollowOptions {
  readonly files: KeyPairFiles;
  /** What is in use at the start. */
  readonly first: KeyPair;
  /** Called with each new pair. */
  readonly use: (renewed: KeyPair) => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Rereads the files until the signal is aborted and passes on each change. They are polled, not watched: a mounted
 * Secret changes through a symbolic link above them. A pair that does not match is being replaced and is read again.
 */
export async function followKeyPair(options: FollowOptions, stopping: AbortSignal): Promise<void> {
  let inUse = options.first;
  while (await sleepUnlessAborted(options.clock, readAgainSeconds, stopping)) {
    inUse = await renewed(inUse, options);
  }
}

async function renewed(inUse: KeyPair, { files, use, logger }: FollowOptions): Promise<KeyPair> {
  try {
    const found = await readKeyPair(files);
    if (found.cert === inUse.cert && found.key === inUse.key) return inUse;
    use(found);
    const { validTo } = new X509Certificate(found.cert);
    logger.info("the HTTP API uses a new certificate", { ...files, validTo });
    return found;
  } catch (error) {
    logger.warn("the new certificate of the HTTP API cannot be used; keeping the former one", {
      error: errorText(error),
      ...files,
    });
    return inUse;
  }
}

const validDays = 3650;
const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

/** A self-signed certificate for this host. */
export async function makeKeyPair(now: Temporal.Instant): Promise<KeyPair> {
  const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: "CN=rota",
    notBefore: new Date(now.subtract({ hours: 1 }).epochMilliseconds),
    notAfter: new Date(now.add({ hours: validDays * 24 }).epochMilliseconds),
    signingAlgorithm: algorithm,
    keys,
    extensions: [
      new SubjectAlternativeNameExtension([
        ...["rota.rota-system.svc", "localhost", hostname()].map((value) => ({
          type: "dns" as const,
          value,
        })),
        { type: "ip", value: "127.0.0.1" },
      ]),
    ],
  });
  const key = Buffer.from(await crypto.subtle.exportKey("pkcs8", keys.privateKey));
  const lines = key.toString("base64").match(/.{1,64}/g) ?? [];
  return {
    cert: certificate.toString("pem"),
    key: ["-----BEGIN PRIVATE KEY-----", ...lines, "-----END PRIVATE KEY-----", ""].join("\n"),
  };
}
