/** A token bucket for each caller; idle callers are forgotten. */
import { remember } from "./bounded-map.ts";
import type { Clock } from "./clock.ts";

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

  /**
   * Takes `cost` tokens, at most a whole burst.
   * @returns 0, or the seconds until they are available; then nothing was taken
   */
  take(key: string, cost = 1): number {
    const tokens = Math.min(cost, this.#options.burst);
    const bucket = this.#refilled(key);
    remember(this.#buckets, key, bucket, this.#options.capacity);
    if (bucket.tokens < tokens) return (tokens - bucket.tokens) / this.#options.perSecond;
    bucket.tokens -= tokens;
    return 0;
  }

  /** Undoes a `take` of one token. */
  giveBack(key: string): void {
    const bucket = this.#refilled(key);
    bucket.tokens = Math.min(this.#options.burst, bucket.tokens + 1);
    remember(this.#buckets, key, bucket, this.#options.capacity);
  }

  #refilled(key: string): Bucket {
    const { clock, perSecond, burst } = this.#options;
    const now = clock.monotonicSeconds();
    const bucket = this.#buckets.get(key) ?? { tokens: burst, atSeconds: now };
    bucket.tokens = Math.min(burst, bucket.tokens + (now - bucket.atSeconds) * perSecond);
    bucket.atSeconds = now;
    return bucket;
  }
}
