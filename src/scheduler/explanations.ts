/** Why each waiting job waits, as the last cycle of its pool saw it; tells which answers changed. */
import type { WaitReason, WaitVerdict } from "../domain/scheduling/types.ts";

export interface Explanation {
  readonly reason: WaitReason;
  readonly message: string;
  readonly position: number;
}

export class Explanations {
  readonly #byJob = new Map<string, Explanation>();
  readonly #jobsOfPool = new Map<string, Set<string>>();

  get(jobId: string): Explanation | undefined {
    return this.#byJob.get(jobId);
  }

  /** Replaces the pool's answers; returns the jobs whose answer is another one now. */
  replace(pool: string, verdicts: readonly WaitVerdict[]): string[] {
    const former = this.#jobsOfPool.get(pool) ?? new Set();
    const changed = verdicts.filter((verdict) => this.#set(verdict)).map(({ jobId }) => jobId);
    const present = new Set(verdicts.map(({ jobId }) => jobId));
    for (const jobId of former) if (!present.has(jobId)) this.#byJob.delete(jobId);
    this.#jobsOfPool.set(pool, present);
    return changed;
  }

  #set({ jobId, reason, message, position }: WaitVerdict): boolean {
    const before = this.#byJob.get(jobId);
    this.#byJob.set(jobId, { reason, message, position });
    return before?.reason !== reason || before.message !== message || before.position !== position;
  }
}
