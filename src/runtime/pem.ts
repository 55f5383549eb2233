import { X509Certificate } from "node:crypto";

const pemPattern = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** The certificates of a PEM text, in order. Throws if one cannot be parsed. */
export const certificatesOf = (pem: string): X509Certificate[] =>
  [...pem.matchAll(pemPattern)].map(([one]) => new X509Certificate(one));
