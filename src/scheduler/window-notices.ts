/** Which jobs have been told that their plan's window closes, since when, and in which words. */
import type { PastJob } from "../domain/scheduling/entitlement.ts";
import type { WindowNotice } from "../domain/scheduling/window-evictions.ts";

export interface Notice {
  readonly reason: WindowNotice["reason"];
  readonly message: string;
}

interface Kept extends Notice {
  readonly attempt: number;
  readonly sinceSeconds: number;
}

export class WindowNotices {
  readonly #byPool = new Map<string, ReadonlyMap<string, Kept>>();

  get(pool: string, jobId: string): Notice | undefined {
    return this.#byPool.get(pool)?.get(jobId);
  }

  since(pool: string, { id, attempt }: PastJob): number | undefined {
    const kept = this.#byPool.get(pool)?.get(id);
    return kept?.attempt === attempt ? kept.sinceSeconds : undefined;
  }

  /** Replaces the pool's notices; returns the jobs (namespace/name) that have another one, or a first. */
  replace(pool: string, notices: readonly WindowNotice[], nowSeconds: number): string[] {
    const before = this.#byPool.get(pool);
    const kept = notices.map(({ job, reason, message }): [string, Kept] => {
      const sinceSeconds = this.since(pool, job) ?? nowSeconds;
      return [job.id, { reason, message, attempt: job.attempt, sinceSeconds }];
    });
    this.#byPool.set(pool, new Map(kept));
    return notices
      .filter(({ job, message }) => before?.get(job.id)?.message !== message)
      .map(({ job }) => job.key);
  }
}
