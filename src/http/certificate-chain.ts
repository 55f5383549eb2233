/**
 * Verifies that a client certificate chains to one of the cluster's authorities, directly or through intermediate
 * authorities sent with it. The rules are those of the API server (Go's crypto/x509) or stricter: intermediate
 * authorities with name constraints, or with a critical extension that is not read here, are not followed.
 */
import type { X509Certificate } from "node:crypto";
import type { Extension } from "@peculiar/x509";

/** More than real chains have; bounds the work that a caller can cause. */
export const maxIntermediates = 4;

const clientAuthentication = "1.3.6.1.5.5.7.3.2";
const anyUsage = "2.5.29.37.0";
const nameConstraints = "2.5.29.30";
/** Basic constraints, key usage (checked by OpenSSL in checkIssued), extended key usage. */
const extensionsRead = new Set(["2.5.29.19", "2.5.29.15", "2.5.29.37"]);

interface Issuer {
  readonly certificate: X509Certificate;
  /** Maximum number of intermediate authorities between it and a leaf. */
  readonly pathLength: number;
}

export interface Presented {
  readonly leaf: X509Certificate;
  readonly intermediates: readonly X509Certificate[];
}

export type Verdict = "trusted" | "unknown" | "expired";

export async function judgeChain(
  presented: Presented,
  authorities: readonly X509Certificate[],
  now: Date,
): Promise<Verdict> {
  const isValid = ({ validFromDate, validToDate }: X509Certificate): boolean =>
    now >= validFromDate && now <= validToDate;
  const { leaf, intermediates } = presented;
  const current = {
    leaf,
    intermediates: intermediates.filter(isValid),
  };
  if (isValid(leaf) && (await isIssued(current, authorities.filter(isValid)))) return "trusted";
  return (await isIssued(presented, authorities)) ? "expired" : "unknown";
}

async function isIssued(
  { leaf, intermediates }: Presented,
  authorities: readonly X509Certificate[],
): Promise<boolean> {
  if (authorities.some((authority) => hasIssued(authority, leaf))) return true;
  if (intermediates.length === 0) return false;
  const anchors = await issuersAmong(authorities);
  return hasPath(leaf, await issuersAmong(intermediates), anchors, 0);
}

const hasIssued = (issuer: X509Certificate, subject: X509Certificate): boolean =>
  issuer.ca && subject.checkIssued(issuer) && subject.verify(issuer.publicKey);

/** @param below intermediate authorities between the subject's issuer and the leaf */
function hasPath(
  subject: X509Certificate,
  intermediates: readonly Issuer[],
  anchors: readonly Issuer[],
  below: number,
): boolean {
  const mayIssue = ({ certificate, pathLength }: Issuer): boolean =>
    pathLength >= below && hasIssued(certificate, subject);
  if (anchors.some(mayIssue)) return true;
  return intermediates.filter(mayIssue).some((next) => {
    const others = intermediates.filter((one) => one !== next);
    return hasPath(next.certificate, others, anchors, below + 1);
  });
}

/** The authorities that may issue client certificates. The library requires the polyfill first. */
async function issuersAmong(certificates: readonly X509Certificate[]): Promise<Issuer[]> {
  await import("reflect-metadata");
  const x509 = await import("@peculiar/x509");
  const read = (certificate: X509Certificate): Issuer | undefined => {
    const parsed = new x509.X509Certificate(certificate.raw);
    const usages = parsed.getExtension(x509.ExtendedKeyUsageExtension)?.usages.map(String);
    const limits = parsed.getExtension(x509.BasicConstraintsExtension);
    const isUsable = parsed.extensions.every(isUnderstood) && isForClients(usages);
    return isUsable
      ? { certificate, pathLength: limits?.pathLength ?? Number.POSITIVE_INFINITY }
      : undefined;
  };
  return certificates.flatMap((certificate) => {
    try {
      return read(certificate) ?? [];
    } catch {
      return []; // OpenSSL can parse it, the library cannot: not followed
    }
  });
}

const isUnderstood = ({ type, critical }: Pick<Extension, "type" | "critical">): boolean =>
  type !== nameConstraints && (!critical || extensionsRead.has(type));

const isForClients = (usages: readonly string[] | undefined): boolean =>
  usages === undefined || usages.includes(clientAuthentication) || usages.includes(anyUsage);
