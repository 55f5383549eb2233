/** Authenticates callers by a bearer token (TokenReview) or a signature with a client certificate's key. */
import { createHash } from "node:crypto";
import { audience, proofType, tokenHeader } from "../api/http/identity.ts";
import type { KubeClient } from "../kube/client.ts";
import type { Clock } from "../runtime/clock.ts";
import type { CertificateVerifier } from "./client-certificate.ts";
import { ExpiringCache } from "../runtime/expiring-cache.ts";
import type { Caller, Proof, SignedRequest } from "./identity.ts";
import { HttpProblem } from "./problem.ts";
import { remember } from "../runtime/bounded-map.ts";
import { TokenBuckets } from "../runtime/token-buckets.ts";

const cacheCapacity = 10_000;
const knownForSeconds = 60;
const rejectedForSeconds = 10;
const maxToken = 16_384;
const reviewTimeoutSeconds = 10;

interface TokenReviewStatus {
  readonly authenticated?: boolean;
  readonly error?: string;
  readonly audiences?: readonly string[];
  readonly user?: {
    readonly username?: string;
    readonly uid?: string;
    readonly groups?: readonly string[];
    readonly extra?: Readonly<Record<string, readonly string[]>>;
  };
}

export interface AuthenticatorOptions {
  readonly kube: KubeClient;
  readonly clock: Clock;
  readonly certificates: CertificateVerifier;
  /** By hash of a certificate or token that proved an identity: taken before the next proof is judged. */
  readonly rates: TokenBuckets;
}

/** Failed proofs of one kind, of all callers together: each costs a TokenReview, or milliseconds of this thread. */
const failuresPerSecond = 20;
const failuresBurst = 60;
/** Unknown proofs of one kind in work: a slow authentication webhook must not fill the server. */
const maxProofsAtOnce = 12;
/** Callers whose proof was good in this time do not share the budget of failures. */
const provedForSeconds = 3600;

type ProofKind = "token" | "certificate";

export class Authenticator {
  readonly #options: AuthenticatorOptions;
  readonly #tokens: ExpiringCache<Caller | undefined>;
  readonly #failures: TokenBuckets;
  /** Until when, in monotonic seconds, by the hash of a token or certificate. */
  readonly #proved = new Map<string, number>();
  readonly #inWork: Record<ProofKind, number> = { token: 0, certificate: 0 };

  constructor(options: AuthenticatorOptions) {
    this.#options = options;
    this.#failures = new TokenBuckets({
      clock: options.clock,
      perSecond: failuresPerSecond,
      burst: failuresBurst,
      capacity: 2,
    });
    this.#tokens = new ExpiringCache({
      clock: options.clock,
      capacity: cacheCapacity,
      seconds: (caller) => (caller === undefined ? rejectedForSeconds : knownForSeconds),
    });
  }

  /** Throws HttpProblem: Unauthenticated, TokenRejected, CertificateRejected, TooManyRequests, Overloaded. */
  async identify(request: SignedRequest): Promise<Proof> {
    const { token } = request;
    if (token === undefined || token === "") {
      throw new HttpProblem(
        "Unauthenticated",
        `missing header ${tokenHeader}: send a bearer token of the cluster, or a signature by your client certificate's key, as kubectl rota does`,
      );
    }
    if (token.length > maxToken) throw new HttpProblem("TokenRejected", "the token is too long");
    const header = headerOf(token);
    if (header?.["typ"] === proofType) {
      const verify = () => this.#options.certificates.verify(request);
      return this.#judge("certificate", hashOf(JSON.stringify(header["x5c"] ?? [])), verify);
    }
    const hash = hashOf(token);
    const review = () => this.#judge("token", hash, () => this.#review(token));
    const caller = await this.#tokens.get(hash, review);
    if (caller) return { caller, redeem: () => undefined };
    throw new HttpProblem(
      "TokenRejected",
      "the cluster rejects the token, which may have expired: get a new one and retry",
    );
  }

  /**
   * Bounds the work for callers who have proved nothing yet, all together, and for each who has. The budget is taken
   * before the work and given back when the proof is good.
   * @param key hash of the token or of the certificates
   */
  async #judge<Result>(kind: ProofKind, key: string, work: () => Promise<Result>): Promise<Result> {
    if (this.#isProved(key)) {
      refuseFor(this.#options.rates.take(key), "rate limit exceeded");
      return this.#remembered(key, work);
    }
    if (this.#inWork[kind] >= maxProofsAtOnce) {
      throw new HttpProblem("Overloaded", "server busy, retry later", { retryAfterSeconds: 1 });
    }
    refuseFor(this.#failures.take(kind), "too many failed authentications");
    this.#inWork[kind] += 1;
    try {
      const result = await this.#remembered(key, work);
      if (result !== undefined) this.#failures.giveBack(kind);
      return result;
    } finally {
      this.#inWork[kind] -= 1;
    }
  }

  #provedUntil(): number {
    return this.#options.clock.monotonicSeconds() + provedForSeconds;
  }

  #isProved(key: string): boolean {
    return (this.#proved.get(key) ?? 0) > this.#options.clock.monotonicSeconds();
  }

  /** Notes whether the proof is good; a dependency that does not answer says nothing about it. */
  async #remembered<Result>(key: string, work: () => Promise<Result>): Promise<Result> {
    try {
      const result = await work();
      if (result === undefined) this.#proved.delete(key);
      else remember(this.#proved, key, this.#provedUntil(), cacheCapacity);
      return result;
    } catch (error) {
      if (error instanceof HttpProblem) this.#proved.delete(key);
      throw error;
    }
  }

  /** A token with Rota's audience is reviewed for that audience, any other as a token for the API server. */
  async #review(token: string): Promise<Caller | undefined> {
    const audiences = isMadeForRota(token) ? { audiences: [audience] } : {};
    const review = (await this.#options.kube.raw(
      "POST",
      "/apis/authentication.k8s.io/v1/tokenreviews",
      {
        apiVersion: "authentication.k8s.io/v1",
        kind: "TokenReview",
        spec: { token, ...audiences },
      },
      { timeoutSeconds: reviewTimeoutSeconds, idempotent: true },
    )) as { readonly status?: TokenReviewStatus };
    return callerOf(review.status ?? {}, audiences.audiences);
  }
}

/** Throws HttpProblem TooManyRequests. */
function refuseFor(waitSeconds: number, reason: string): void {
  if (waitSeconds === 0) return;
  throw new HttpProblem("TooManyRequests", `${reason}, retry in ${Math.ceil(waitSeconds)} s`, {
    retryAfterSeconds: waitSeconds,
  });
}

/** Authenticators without audience support answer with none: their tokens are for the API server. */
function callerOf(
  { authenticated, user, audiences = [] }: TokenReviewStatus,
  asked: readonly string[] | undefined,
): Caller | undefined {
  if (authenticated !== true || user?.username === undefined || user.username === "") {
    return undefined;
  }
  if (asked !== undefined && !asked.some((one) => audiences.includes(one))) return undefined;
  return {
    user: user.username,
    groups: user.groups ?? [],
    ...(user.uid === undefined ? {} : { uid: user.uid }),
    ...(user.extra === undefined ? {} : { extra: user.extra }),
    by: "token",
  };
}

function partOf(token: string, index: 0 | 1): Readonly<Record<string, unknown>> | undefined {
  const parts = token.split(".");
  if (parts.length !== 3) return undefined;
  try {
    const value: unknown = JSON.parse(Buffer.from(parts[index] ?? "", "base64url").toString());
    return typeof value === "object" && value !== null ? { ...value } : undefined;
  } catch {
    return undefined; // not a JWT; the API server may know it
  }
}

const headerOf = (token: string) => partOf(token, 0);

const hashOf = (text: string): string => createHash("sha256").update(text).digest("base64");

/** The signature is not verified: the claim only selects the review. */
function isMadeForRota(token: string): boolean {
  const aud = partOf(token, 1)?.["aud"];
  return aud === audience || (Array.isArray(aud) && aud.includes(audience));
}
