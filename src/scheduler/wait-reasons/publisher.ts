/**
 * Why each waiting job waits, according to the last cycle of its pool, and which jobs need a status write for it.
 *
 * Every cycle changes positions and numbers in the whole queue. Writing each change would flood the API server when ten
 * thousand jobs wait. First explanations and new reasons are therefore published at once, up to a rate. Changed
 * messages and positions are published if they differ enough, at most every few seconds per job, and at a lower total
 * rate, first come first served. The age of a shown explanation is at most the number of waiting jobs divided by that
 * rate.
 */
import type { WaitReason } from "../../domain/scheduling/decision.ts";

export interface Explanation {
  readonly reason: WaitReason | "Queued";
  readonly message: string;
  readonly position: number;
}

export interface ExplainedJob extends Explanation {
  readonly jobId: string;
  /** namespace/name */
  readonly key: string;
}

export interface Round {
  readonly explained: readonly ExplainedJob[];
  /** Ids of jobs that no longer wait. */
  readonly settled: readonly string[];
  /** True if the round has every waiting job of the pool; others are then forgotten. */
  readonly isComplete: boolean;
}

interface Entry {
  readonly key: string;
  latest: Explanation;
  shown: Explanation | undefined;
  shownAtSeconds: number;
}

/** Rate of first explanations and new reasons. */
const urgentPerSecond = 100;
/** Rate of changed messages and positions. */
const refreshedPerSecond = 20;
/** Minimum interval between writes of a job's message and position. */
const refreshSeconds = 10;
/** Positions up to this one are exact; later ones are within 10 %. */
const exactPositions = 10;

const positionMoved = (from: number, to: number): boolean =>
  to <= exactPositions || from <= exactPositions
    ? from !== to
    : Math.abs(to - from) * 10 > Math.min(from, to);

/** A token bucket that holds at most one second's tokens. */
class Budget {
  readonly #perSecond: number;
  #left: number;
  #atSeconds = 0;

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
    this.#left = perSecond;
  }

  at(nowSeconds: number): number {
    const earned = Math.max(0, nowSeconds - this.#atSeconds) * this.#perSecond;
    this.#left = Math.min(this.#perSecond, this.#left + earned);
    this.#atSeconds = nowSeconds;
    return this.#left;
  }

  spend(): void {
    this.#left -= 1;
  }

  /** Seconds until the next token. */
  secondsToNext(nowSeconds: number): number {
    return Math.max(0, (1 - this.at(nowSeconds)) / this.#perSecond);
  }
}

export class WaitReasonPublisher {
  readonly #entries = new Map<string, Entry>();
  readonly #jobsOfPool = new Map<string, Set<string>>();
  /** In order of becoming due. */
  readonly #urgent = new Set<string>();
  readonly #refreshed = new Set<string>();
  readonly #urgentBudget = new Budget(urgentPerSecond);
  readonly #refreshBudget = new Budget(refreshedPerSecond);

  /** The explanation in the job's status. */
  get(jobId: string): Explanation | undefined {
    return this.#entries.get(jobId)?.shown;
  }

  /** The latest explanation, published or not. */
  latest(jobId: string): Explanation | undefined {
    return this.#entries.get(jobId)?.latest;
  }

  /** Forgets everything when the term ends: another leader continues. */
  clear(): void {
    this.#entries.clear();
    this.#jobsOfPool.clear();
    this.#urgent.clear();
    this.#refreshed.clear();
  }

  /** Records the round of a cycle. */
  record(pool: string, { explained, settled, isComplete }: Round): void {
    const known = this.#jobsOfPool.get(pool) ?? new Set();
    const present = isComplete ? new Set<string>() : known;
    for (const job of explained) {
      this.#set(job);
      present.add(job.jobId);
    }
    const gone = isComplete ? [...known].filter((id) => !present.has(id)) : settled;
    for (const id of gone) {
      present.delete(id);
      this.#forget(id);
    }
    this.#jobsOfPool.set(pool, present);
  }

  /** The jobs (namespace/name) whose status is to be written now, with the latest explanation. */
  take(nowSeconds: number): string[] {
    const keys: string[] = [];
    for (const id of this.#urgent) {
      if (this.#urgentBudget.at(nowSeconds) < 1) break;
      this.#urgentBudget.spend();
      keys.push(...this.#show(id, nowSeconds));
    }
    for (const id of this.#refreshed) {
      if (this.#refreshBudget.at(nowSeconds) < 1 || this.#dueAt(id) > nowSeconds) break;
      this.#refreshBudget.spend();
      keys.push(...this.#show(id, nowSeconds));
    }
    return keys;
  }

  /** Seconds until `take` may return a job; undefined if none is due. */
  secondsToNext(nowSeconds: number): number | undefined {
    if (this.#urgent.size > 0) return this.#urgentBudget.secondsToNext(nowSeconds);
    const [first] = this.#refreshed;
    if (first === undefined) return undefined;
    return Math.max(this.#refreshBudget.secondsToNext(nowSeconds), this.#dueAt(first) - nowSeconds);
  }

  #dueAt(jobId: string): number {
    return (this.#entries.get(jobId)?.shownAtSeconds ?? 0) + refreshSeconds;
  }

  #set({ jobId, key, reason, message, position }: ExplainedJob): void {
    const latest = { reason, message, position };
    const entry = this.#entries.get(jobId);
    if (entry === undefined) {
      this.#entries.set(jobId, { key, latest, shown: undefined, shownAtSeconds: 0 });
      this.#urgent.add(jobId);
      return;
    }
    entry.latest = latest;
    const { shown } = entry;
    if (shown?.reason !== reason) this.#urgent.add(jobId);
    else if (shown.message !== message || positionMoved(shown.position, position))
      this.#refreshed.add(jobId);
  }

  #show(jobId: string, nowSeconds: number): string[] {
    this.#urgent.delete(jobId);
    this.#refreshed.delete(jobId);
    const entry = this.#entries.get(jobId);
    if (entry === undefined) return [];
    const before = entry.shown;
    entry.shown = entry.latest;
    entry.shownAtSeconds = nowSeconds;
    const isSame =
      before?.reason === entry.shown.reason &&
      before.message === entry.shown.message &&
      before.position === entry.shown.position;
    return isSame ? [] : [entry.key];
  }

  #forget(jobId: string): void {
    this.#entries.delete(jobId);
    this.#urgent.delete(jobId);
    this.#refreshed.delete(jobId);
  }
}
