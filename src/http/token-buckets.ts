/** A token bucket for each caller; idle callers are forgotten. */
import type { Clock } from "../runtime/clock.ts";

export interface TokenBucketOptions {
  readonly clock: Clock;
  readonly perSecond: number;
  readonly burst: number;
  /** Maximum number of callers. The longest idle are forgotten first and start with a full bucket again. */
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

  /** Takes one token. Returns 0, or the seconds until one is available. */
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

  /** A Map keeps insertion order: the most recent caller is last. */
  #remember(key: string, bucket: Bucket): void {
    this.#buckets.delete(key);
    this.#buckets.set(key, bucket);
    if (this.#buckets.size <= this.#options.capacity) return;
    const [oldest] = this.#buckets.keys();
    if (oldest !== undefined) this.#buckets.delete(oldest);
  }
}
