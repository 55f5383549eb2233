/** Which jobs have been notified that their plan's window closes, when, and with which message. */
import type { OverQuotaJob } from "../../domain/scheduling/entitlement.ts";
import type { WindowNotice } from "../../domain/scheduling/window-close.ts";

export interface Notice {
  readonly reason: WindowNotice["reason"];
  readonly message: string;
}

interface Kept extends Notice {
  /** namespace/name of the job */
  readonly key: string;
  readonly attempt: number;
  readonly sinceSeconds: number;
}

export class WindowNotices {
  readonly #byPool = new Map<string, ReadonlyMap<string, Kept>>();

  get(pool: string, jobId: string): Notice | undefined {
    return this.#byPool.get(pool)?.get(jobId);
  }

  since(pool: string, { id, attempt }: OverQuotaJob): number | undefined {
    const kept = this.#byPool.get(pool)?.get(id);
    return kept?.attempt === attempt ? kept.sinceSeconds : undefined;
  }

  /** Forgets everything: the next leader notifies all jobs again, and they have the whole grace period. */
  clear(): void {
    this.#byPool.clear();
  }

  /** Replaces the pool's notices; returns the jobs (namespace/name) whose notice is new, changed or gone. */
  replace(pool: string, notices: readonly WindowNotice[], nowSeconds: number): string[] {
    const before = this.#byPool.get(pool);
    const kept = notices.map(({ job, reason, message }): [string, Kept] => {
      const sinceSeconds = this.since(pool, job) ?? nowSeconds;
      return [job.id, { key: job.key, reason, message, attempt: job.attempt, sinceSeconds }];
    });
    const after = new Map(kept);
    this.#byPool.set(pool, after);
    const changed = kept.filter(([id, { message }]) => before?.get(id)?.message !== message);
    const ended = [...(before ?? [])].filter(([id]) => !after.has(id));
    return [...changed, ...ended].map(([, { key }]) => key);
  }
}
