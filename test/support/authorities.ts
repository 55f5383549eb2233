/** Certificates of authorities and users for tests. */
import "reflect-metadata";
import { createPrivateKey, KeyObject, type webcrypto } from "node:crypto";
import {
  BasicConstraintsExtension,
  type Extension,
  ExtendedKeyUsageExtension,
  X509CertificateGenerator,
  X509Certificate,
} from "@peculiar/x509";

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
export const clientAuthentication = "1.3.6.1.5.5.7.3.2";
export const serverAuthentication = "1.3.6.1.5.5.7.3.1";
const hour = 3_600_000;

export interface Holder {
  readonly certificate: X509Certificate;
  readonly privateKey: webcrypto.CryptoKey;
  /** PEM */
  readonly cert: string;
  readonly key: string;
}

const holder = (certificate: X509Certificate, privateKey: webcrypto.CryptoKey): Holder => ({
  certificate,
  privateKey,
  cert: certificate.toString("pem"),
  key: KeyObject.from(privateKey).export({ type: "pkcs8", format: "pem" }),
});

/** An existing authority. */
export const authorityFrom = (cert: string, key: string): Holder =>
  holder(new X509Certificate(cert), createPrivateKey(key).toCryptoKey(algorithm, true, ["sign"]));

const newKeys = () => crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
const around = (from = -1, to = 1) => ({
  notBefore: new Date(Date.now() + from * hour),
  notAfter: new Date(Date.now() + to * hour),
});

export async function authority(name: string, pathLength?: number): Promise<Holder> {
  const keys = await newKeys();
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: `CN=${name}`,
    ...around(),
    signingAlgorithm: algorithm,
    keys,
    extensions: [new BasicConstraintsExtension(true, pathLength, true)],
  });
  return holder(certificate, keys.privateKey);
}

export interface IntermediateOptions {
  readonly pathLength?: number;
  readonly isAuthority?: boolean;
  readonly days?: readonly [from: number, to: number];
  readonly extensions?: readonly Extension[];
}

/** An intermediate authority, signed by another. */
export async function intermediate(by: Holder, options: IntermediateOptions = {}): Promise<Holder> {
  const { pathLength, isAuthority = true, days = [-1, 1], extensions = [] } = options;
  const keys = await newKeys();
  const certificate = await X509CertificateGenerator.create({
    subject: `CN=below ${by.certificate.subject.slice("CN=".length)}`,
    issuer: by.certificate.subjectName,
    ...around(...days),
    signingAlgorithm: algorithm,
    publicKey: keys.publicKey,
    signingKey: by.privateKey,
    extensions: [new BasicConstraintsExtension(isAuthority, pathLength, true), ...extensions],
  });
  return holder(certificate, keys.privateKey);
}

/** Certificate chain and key in a kubeconfig's form: the user's own certificate first. */
export const along = (own: Holder, ...authorities: Holder[]): Pick<Holder, "cert" | "key"> => ({
  cert: [own, ...authorities].map(({ cert }) => cert).join("\n"),
  key: own.key,
});

export interface LeafOptions {
  readonly subject?: string;
  readonly usage?: string;
  readonly days?: readonly [from: number, to: number];
}

export async function leaf(by: Holder, options: LeafOptions = {}): Promise<Holder> {
  const keys = await newKeys();
  const certificate = await X509CertificateGenerator.create({
    subject: options.subject ?? "CN=pat,O=vision,O=admins",
    issuer: by.certificate.subjectName,
    ...around(...(options.days ?? [-1, 1])),
    signingAlgorithm: algorithm,
    publicKey: keys.publicKey,
    signingKey: by.privateKey,
    extensions: [new ExtendedKeyUsageExtension([options.usage ?? clientAuthentication])],
  });
  return holder(certificate, keys.privateKey);
}
