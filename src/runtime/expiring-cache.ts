/** A bounded cache with expiry; concurrent callers with the same key share one load. */
import { remember } from "./bounded-map.ts";
import type { Clock } from "./clock.ts";

export interface ExpiringCacheOptions<Value> {
  readonly clock: Clock;
  readonly seconds: (value: Value) => number;
  readonly capacity: number;
}

interface Entry<Value> {
  readonly answer: Promise<Value>;
  untilSeconds: number;
}

export class ExpiringCache<Value> {
  readonly #options: ExpiringCacheOptions<Value>;
  readonly #entries = new Map<string, Entry<Value>>();

  constructor(options: ExpiringCacheOptions<Value>) {
    this.#options = options;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Failures are not cached. */
  async get(key: string, load: () => Promise<Value>): Promise<Value> {
    const { clock, seconds } = this.#options;
    const known = this.#entries.get(key);
    if (known && known.untilSeconds > clock.monotonicSeconds()) return known.answer;
    const entry: Entry<Value> = { answer: load(), untilSeconds: Number.POSITIVE_INFINITY };
    remember(this.#entries, key, entry, this.#options.capacity);
    try {
      const value = await entry.answer;
      entry.untilSeconds = clock.monotonicSeconds() + seconds(value);
      return value;
    } catch (error) {
      if (this.#entries.get(key) === entry) this.#entries.delete(key);
      throw error;
    }
  }
}
