/**
 * Verifies that a client certificate chains to one of the cluster's authorities, directly or through intermediate
 * authorities sent with it, each the issuer of the one before. The rules are those of the API server (Go's crypto/x509)
 * or stricter: certificates with name constraints, or with a critical extension that is not read here, are refused.
 * Nothing is proved yet when a chain is judged, so its cost is bounded: for each certificate sent, one verification per
 * authority of its issuer's name and one with the next certificate.
 */
// Before the library that requires it.
import "reflect-metadata";
import {
  BasicConstraintsExtension,
  type Extension,
  ExtendedKeyUsageExtension,
  X509Certificate as ParsedCertificate,
} from "@peculiar/x509";
import type { KeyObject, X509Certificate } from "node:crypto";
import { remember } from "../runtime/bounded-map.ts";

/** More than real chains have; bounds the work that a caller can cause. */
export const maxIntermediates = 4;

/** Certificates of which is remembered what they allow. */
const maxFacts = 1000;

const clientAuthentication = "1.3.6.1.5.5.7.3.2";
const anyUsage = "2.5.29.37.0";
const nameConstraints = "2.5.29.30";
/** Basic constraints, key usage (checked by OpenSSL in checkIssued), extended key usage. */
const extensionsRead = new Set(["2.5.29.19", "2.5.29.15", "2.5.29.37"]);
const subjectAlternativeName = "2.5.29.17";
/** A verification takes time in proportion to both: milliseconds beyond these. */
const maxRsaBits = 4096;
const maxRsaExponent = 2n ** 32n;
const curves = new Set(["prime256v1", "secp384r1", "secp521r1"]);

export interface Presented {
  readonly leaf: X509Certificate;
  /** In the order of the chain. */
  readonly intermediates: readonly X509Certificate[];
}

export type Verdict = "trusted" | "unknown" | "expired";

/** Whether a signature by the key is verified in bounded time. */
export function isAffordable({ asymmetricKeyType, asymmetricKeyDetails = {} }: KeyObject): boolean {
  const { modulusLength, publicExponent, namedCurve } = asymmetricKeyDetails;
  switch (asymmetricKeyType) {
    case "rsa":
    case "rsa-pss":
      return (
        (modulusLength ?? Infinity) <= maxRsaBits &&
        (publicExponent ?? maxRsaExponent) < maxRsaExponent
      );
    case "ec":
      return curves.has(namedCurve ?? "");
    default:
      return asymmetricKeyType === "ed25519";
  }
}

/** Judges chains; remembers what it read of certificates, because reading one takes a millisecond or more. */
export class ChainJudge {
  /** By fingerprint, the latest used last. */
  readonly #facts = new Map<string, Facts>();

  judge(
    { leaf, intermediates }: Presented,
    authorities: readonly X509Certificate[],
    now: Date,
  ): Verdict {
    const isValid = ({ validFromDate, validToDate }: X509Certificate): boolean =>
      now >= validFromDate && now <= validToDate;
    const factsOf = (certificate: X509Certificate): Facts => this.#factsOf(certificate);
    const chain = [leaf, ...intermediates];
    if (!chain.every(hasAffordableKey)) return "unknown";
    let areValid = true;
    for (const [below, subject] of chain.entries()) {
      areValid &&= isValid(subject);
      // What costs least comes first: names, then the signature, then the extensions.
      const hasIssued = (issuer: X509Certificate): boolean =>
        isNamedIssuer(issuer, subject) &&
        subject.verify(issuer.publicKey) &&
        factsOf(issuer).maxBelow >= below;
      const anchors = authorities.filter(hasIssued);
      if (anchors.length > 0) {
        if (!factsOf(leaf).mayBeLeaf) return "unknown";
        return areValid && anchors.some(isValid) ? "trusted" : "expired";
      }
      const issuer = chain[below + 1];
      if (!issuer || !hasIssued(issuer)) break;
    }
    return "unknown";
  }

  #factsOf(certificate: X509Certificate): Facts {
    const key = certificate.fingerprint256;
    const facts = this.#facts.get(key) ?? readFacts(certificate);
    remember(this.#facts, key, facts, maxFacts);
    return facts;
  }
}

/** OpenSSL parses certificates whose keys it does not know: reading such a key throws. */
function hasAffordableKey(certificate: X509Certificate): boolean {
  try {
    return isAffordable(certificate.publicKey);
  } catch {
    return false;
  }
}

/** By names, key identifiers and usages; the signature is not verified. */
const isNamedIssuer = (issuer: X509Certificate, subject: X509Certificate): boolean =>
  issuer.ca && subject.checkIssued(issuer);

/** What the extensions allow. */
interface Facts {
  readonly mayBeLeaf: boolean;
  /** Maximum number of intermediate authorities between it and a leaf; -1: it may issue nothing. */
  readonly maxBelow: number;
}

/** OpenSSL can parse it, the library cannot: it is not followed. */
const nothing: Facts = { mayBeLeaf: false, maxBelow: -1 };

function readFacts(certificate: X509Certificate): Facts {
  try {
    const parsed = new ParsedCertificate(certificate.raw);
    const usages = parsed.getExtension(ExtendedKeyUsageExtension)?.usages.map(String);
    const mayIssue = parsed.extensions.every(isUnderstood) && isForClients(usages);
    const limits = parsed.getExtension(BasicConstraintsExtension);
    return {
      mayBeLeaf: parsed.extensions.every(isUnderstoodInLeaf),
      maxBelow: mayIssue ? (limits?.pathLength ?? Number.POSITIVE_INFINITY) : -1,
    };
  } catch {
    return nothing;
  }
}

const isUnderstood = ({ type, critical }: Pick<Extension, "type" | "critical">): boolean =>
  type !== nameConstraints && (!critical || extensionsRead.has(type));

const isUnderstoodInLeaf = (extension: Pick<Extension, "type" | "critical">): boolean =>
  extension.type === subjectAlternativeName || isUnderstood(extension);

const isForClients = (usages: readonly string[] | undefined): boolean =>
  usages === undefined || usages.includes(clientAuthentication) || usages.includes(anyUsage);
