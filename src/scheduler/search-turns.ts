/**
 * Whose turn it is to have victims searched. One cycle searches for a limited number of jobs, and those at the head of
 * the queue would be searched for again and again: a crowd of jobs that no eviction helps would keep all behind it from
 * preempting. So a job for which the search was in vain keeps that answer until all others had their turn.
 */
import type { Decision } from "../domain/scheduling/decision.ts";
import type { InVain } from "../domain/scheduling/snapshot.ts";

/** Between cycles that search for the next jobs: a long queue must not keep the scheduler busy. */
const nextTurnSeconds = 1;
/** Until the first jobs have their turn again, though nothing has changed since the last ones had theirs. */
const nextRoundSeconds = 10;

const none: ReadonlyMap<string, InVain> = new Map();

export class SearchTurns {
  readonly #byPool = new Map<string, ReadonlyMap<string, InVain>>();

  /** The answers of this round of turns, by job id. */
  answers(pool: string): ReadonlyMap<string, InVain> {
    return this.#byPool.get(pool) ?? none;
  }

  /**
   * Call it with the decision of each cycle. Returns the seconds until the next cycle is due; Infinity: no round is
   * under way.
   */
  record(pool: string, { requests, inVain }: Decision): number {
    if (requests.length === 0)
      return this.#byPool.delete(pool) ? nextRoundSeconds : Number.POSITIVE_INFINITY;
    this.#byPool.set(pool, new Map([...this.answers(pool), ...inVain]));
    return nextTurnSeconds;
  }

  clear(): void {
    this.#byPool.clear();
  }
}
