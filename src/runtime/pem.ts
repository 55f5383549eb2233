import { X509Certificate } from "node:crypto";

const pemPattern = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** The certificates in a PEM text, in its order. Throws where one cannot be read. */
export const certificatesOf = (pem: string): X509Certificate[] =>
  [...pem.matchAll(pemPattern)].map(([one]) => new X509Certificate(one));
