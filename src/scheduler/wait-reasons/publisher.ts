/**
 * Why each waiting job waits, as the last cycle of its pool saw it, and which of that is worth a write of its status.
 *
 * Every cycle moves positions and numbers of the whole queue; written each time, ten thousand waiting jobs would be a
 * storm. So a first answer and another reason go out at once, up to a rate; other words and positions when they
 * differ enough, not oftener than every few seconds for a job, and at a lower rate for all together, first come first
 * served. What is shown is therefore old by at most the number of waiting jobs divided by that rate.
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
  /** Jobs that wait no more. */
  readonly settled: readonly string[];
  /** Whether every waiting job of the pool is among them; others are forgotten then. */
  readonly isComplete: boolean;
}

interface Entry {
  readonly key: string;
  latest: Explanation;
  shown: Explanation | undefined;
  shownAtSeconds: number;
}

/** First answers and other reasons a second. */
const urgentPerSecond = 100;
/** Other words and positions a second. */
const refreshedPerSecond = 20;
/** A job's words and position are written at most so often. */
const refreshSeconds = 10;
/** Positions up to this one are exact; behind it they are within a tenth. */
const exactPositions = 10;

const positionMoved = (from: number, to: number): boolean =>
  to <= exactPositions || from <= exactPositions
    ? from !== to
    : Math.abs(to - from) * 10 > Math.min(from, to);

/** Fills with time, up to what a second holds. */
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

  /** Seconds until there is one again. */
  secondsToNext(nowSeconds: number): number {
    return Math.max(0, (1 - this.at(nowSeconds)) / this.#perSecond);
  }
}

export class WaitReasonPublisher {
  readonly #entries = new Map<string, Entry>();
  readonly #jobsOfPool = new Map<string, Set<string>>();
  /** In the order in which they became due. */
  readonly #urgent = new Set<string>();
  readonly #refreshed = new Set<string>();
  readonly #urgentBudget = new Budget(urgentPerSecond);
  readonly #refreshBudget = new Budget(refreshedPerSecond);

  /** What the job's status shows. */
  get(jobId: string): Explanation | undefined {
    return this.#entries.get(jobId)?.shown;
  }

  /** What was said of the job last, shown or not. */
  latest(jobId: string): Explanation | undefined {
    return this.#entries.get(jobId)?.latest;
  }

  /** Forgets everything: another leads, and says more by the time this process leads again. */
  clear(): void {
    this.#entries.clear();
    this.#jobsOfPool.clear();
    this.#urgent.clear();
    this.#refreshed.clear();
  }

  /** Takes in what a cycle of the pool said. */
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

  /** The jobs (namespace/name) whose status is to be written now; it shows what was said last. */
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

  /** Seconds until something can be taken; undefined when nothing waits. */
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
