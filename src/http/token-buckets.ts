/** So many requests a second for each caller, with a burst; callers that are idle are forgotten. */
import type { Clock } from "../runtime/clock.ts";

export interface TokenBucketOptions {
  readonly clock: Clock;
  readonly perSecond: number;
  readonly burst: number;
  /** Callers remembered at once. The longest idle are forgotten first, which gives them a full bucket again. */
  readonly capacity: number;
}

interface Bucket {
  tokens: number;
  atSeconds: number;
}

export class TokenBuckets {
  readonly #options: TokenBucketOptions;
  readonly #buckets = new Map<string, Bucket>();

  constructor(options: TokenBucketOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#buckets.size;
  }

  /** Takes one token; returns 0, or the seconds until there is one. */
  take(key: string): number {
    const bucket = this.#refilled(key);
    this.#remember(key, bucket);
    if (bucket.tokens < 1) return (1 - bucket.tokens) / this.#options.perSecond;
    bucket.tokens -= 1;
    return 0;
  }

  #refilled(key: string): Bucket {
    const { clock, perSecond, burst } = this.#options;
    const now = clock.monotonicSeconds();
    const bucket = this.#buckets.get(key) ?? { tokens: burst, atSeconds: now };
    bucket.tokens = Math.min(burst, bucket.tokens + (now - bucket.atSeconds) * perSecond);
    bucket.atSeconds = now;
    return bucket;
  }

  /** A Map keeps insertion order: the one used last is at the end. */
  #remember(key: string, bucket: Bucket): void {
    this.#buckets.delete(key);
    this.#buckets.set(key, bucket);
    if (this.#buckets.size <= this.#options.capacity) return;
    const [oldest] = this.#buckets.keys();
    if (oldest !== undefined) this.#buckets.delete(oldest);
  }
}
