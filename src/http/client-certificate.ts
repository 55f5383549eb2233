/**
 * Callers with a client certificate sign each request with its key (a JWS with the certificate in x5c, RFC 7515). The
 * certificate is verified against the cluster's client authorities, which the API server publishes in
 * kube-system/extension-apiserver-authentication. User and groups come from the subject, as in the API server.
 */
import { createHash, X509Certificate } from "node:crypto";
// Side effect: toLegacyObject loads one half of an import circle inside Node. If node:tls is not loaded before, its
// createSecureContext stays undefined and no connection of the process can use TLS (Node 26.10).
import "node:tls";
import { z } from "zod";
import { decodeProtectedHeader, errors, jwtVerify, type JWTPayload } from "jose";
import { proofType } from "../api/http/identity.ts";
import type { KubeClient } from "../kube/client.ts";
import { Counts } from "../runtime/bounded-map.ts";
import type { Clock } from "../runtime/clock.ts";
import { certificatesOf } from "../runtime/pem.ts";
import { ChainJudge, maxIntermediates, type Presented, type Verdict } from "./certificate-chain.ts";
import { ExpiringCache } from "../runtime/expiring-cache.ts";
import type { Caller, Proof, SignedRequest } from "./identity.ts";
import { HttpProblem } from "./problem.ts";

export interface CertificateVerifier {
  /** Throws HttpProblem CertificateRejected. */
  verify(request: SignedRequest): Promise<Proof>;
}

export interface CertificateVerifierOptions {
  readonly clock: Clock;
  /** The cluster's client authorities, as PEM. */
  readonly authorities: () => Promise<string>;
  readonly audience: string;
}

const clientAuthentication = "1.3.6.1.5.5.7.3.2";
const algorithms = ["ES256", "ES384", "ES512", "RS256", "PS256", "EdDSA", "Ed25519"];
const maxLifeSeconds = 120;
const toleratedSkewSeconds = 60;
const authoritiesKeptSeconds = 300;
const maxSeen = 100_000;
/** Of one caller: what the usual rate allows while a signature is remembered. */
const maxSeenOfCaller = 10_000;
const maxJtiCharacters = 128;

const refused = (detail: string): HttpProblem => new HttpProblem("CertificateRejected", detail);

/** Reads the client authorities that the API server publishes for extension servers. */
export const authoritiesOf =
  (kube: KubeClient): (() => Promise<string>) =>
  async () => {
    const config = await kube.get(
      { group: "", version: "v1", plural: "configmaps", kind: "ConfigMap", namespaced: true },
      "kube-system/extension-apiserver-authentication",
      { timeoutSeconds: 10 },
    );
    const data = config["data"] as Readonly<Record<string, string>> | undefined;
    return data?.["client-ca-file"] ?? "";
  };

export function createCertificateVerifier(
  options: CertificateVerifierOptions,
): CertificateVerifier {
  const { clock } = options;
  const known = new ExpiringCache<readonly X509Certificate[]>({
    clock,
    capacity: 1,
    seconds: () => authoritiesKeptSeconds,
  });
  /** Throws HttpProblem CertificateRejected when there are none. */
  const knownAuthorities = async () => {
    const read = async () => certificatesOf(await options.authorities());
    const authorities = await known.get("authorities", read);
    if (authorities.length > 0) return authorities;
    throw refused("the cluster publishes no client certificate authority: use a token");
  };
  const seen = new SeenOnce(clock);
  const chains = new ChainJudge();
  return {
    verify: async (request) => {
      const token = request.token ?? "";
      const now = new Date(clock.now().epochMilliseconds);
      const presented = presentedIn(token);
      const { leaf } = presented;
      const verdict = chains.judge(presented, await knownAuthorities(), now);
      checkIssued(verdict, leaf);
      const caller = subjectOf(leaf);
      const claims = await signedClaims(token, leaf, options.audience, now);
      checkRequest(claims, request);
      const { jti } = claims;
      if (typeof jti !== "string" || jti.length > maxJtiCharacters) {
        throw refused(`jti must be a string of at most ${maxJtiCharacters} characters`);
      }
      return {
        caller,
        redeem: () => {
          if (seen.isFirst(caller.user, jti)) return;
          throw refused("the signature was used before: sign each request");
        },
      };
    },
  };
}

/** The library has not validated the header yet: Buffer.from would allocate what an object says is its length. */
const presentedSchema = z.object({
  x5c: z
    .array(z.string())
    .min(1)
    .max(1 + maxIntermediates),
});

function presentedIn(token: string): Presented {
  try {
    const [leaf, ...intermediates] = presentedSchema
      .parse(decodeProtectedHeader(token))
      .x5c.map((der) => new X509Certificate(Buffer.from(der, "base64")));
    if (leaf === undefined) throw new Error("no certificate");
    return { leaf, intermediates };
  } catch (error) {
    throw new HttpProblem(
      "CertificateRejected",
      `x5c must hold a certificate and at most ${maxIntermediates} intermediate authorities`,
      { cause: error },
    );
  }
}

function checkIssued(verdict: Verdict, leaf: X509Certificate): void {
  if (verdict === "unknown") {
    throw refused(
      "the certificate was issued neither by the cluster's client authority nor by one of the intermediate authorities sent with it",
    );
  }
  if (verdict === "expired") {
    throw refused(
      `the certificate (valid until ${leaf.validToDate.toISOString()}) or one of its authorities has expired or is not yet valid`,
    );
  }
  const usages = leaf.keyUsage as readonly string[] | undefined;
  if (usages !== undefined && !usages.includes(clientAuthentication)) {
    throw refused("the certificate is not for client authentication");
  }
}

/** Common name and organisations, as in the API server's CommonNameUserConversion. */
function subjectOf(leaf: X509Certificate): Caller {
  const subject = leaf.toLegacyObject().subject as unknown as Readonly<
    Record<string, string | readonly string[] | undefined>
  >;
  const { CN, O = [] } = subject;
  if (typeof CN !== "string" || CN === "") throw refused("the certificate has no common name");
  const groups = typeof O === "string" ? [O] : O;
  return { user: CN, groups: [...groups, "system:authenticated"], by: "certificate" };
}

interface Claims extends JWTPayload {
  readonly request?: unknown;
}

async function signedClaims(
  token: string,
  leaf: X509Certificate,
  audience: string,
  now: Date,
): Promise<Claims> {
  try {
    const { payload } = await jwtVerify<Claims>(token, leaf.publicKey, {
      algorithms,
      typ: proofType,
      audience,
      currentDate: now,
      clockTolerance: toleratedSkewSeconds,
      maxTokenAge: maxLifeSeconds,
      requiredClaims: ["exp", "iat", "jti"],
    });
    return payload;
  } catch (error) {
    const isOld =
      error instanceof errors.JWTExpired || error instanceof errors.JWTClaimValidationFailed;
    const detail = isOld
      ? "the signature has expired or is not yet valid: check your machine's clock"
      : "the signature does not match the certificate's key";
    throw new HttpProblem("CertificateRejected", detail, { cause: error });
  }
}

/** A signature is valid for one request only: an eavesdropper cannot use it for another. */
function checkRequest(claims: Claims, { method, target }: SignedRequest): void {
  if (claims.request !== `${method} ${target}`) {
    throw refused("the signature is for another request");
  }
}

interface Seen {
  readonly user: string;
  readonly untilSeconds: number;
}

const hashOf = (...parts: readonly string[]): string =>
  createHash("sha256").update(JSON.stringify(parts)).digest("base64");

/** Remembers the hashes of signatures while they are valid, a limited number for each caller. */
class SeenOnce {
  readonly #clock: Clock;
  readonly #seen = new Map<string, Seen>();
  readonly #counts = new Counts();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Throws HttpProblem Overloaded when there is no room to remember it. */
  isFirst(user: string, jti: string): boolean {
    const now = this.#clock.monotonicSeconds();
    this.#forgetOld(now);
    const key = hashOf(user, jti);
    if (this.#seen.has(key)) return false;
    if (this.#seen.size >= maxSeen || this.#counts.of(user) >= maxSeenOfCaller) {
      throw new HttpProblem("Overloaded", "server busy, retry later", {
        retryAfterSeconds: toleratedSkewSeconds,
      });
    }
    const untilSeconds = now + maxLifeSeconds + 2 * toleratedSkewSeconds;
    this.#seen.set(key, { user, untilSeconds });
    this.#counts.add(user);
    return true;
  }

  /** All have the same lifetime, so the oldest come first. */
  #forgetOld(now: number): void {
    for (const [key, { user, untilSeconds }] of this.#seen) {
      if (untilSeconds > now) return;
      this.#seen.delete(key);
      this.#counts.remove(user);
    }
  }
}
