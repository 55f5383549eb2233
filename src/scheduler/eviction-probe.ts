/**
 * Checks by dry run whether the API server would allow a gang's eviction, before the decision is written. Answers are
 * cached for a short time, because the cycle decides again with them.
 */
import type { EvictionRejection } from "../domain/scheduling/eviction-rejection.ts";
import type { Clock } from "../runtime/clock.ts";

/** How much of a PodDisruptionBudget a gang's eviction uses. */
export interface BudgetUse {
  /** namespace/name */
  readonly budget: string;
  /** Number of the gang's pods that it selects. */
  readonly pods: number;
  /** Total number of pods that it allows to be disrupted. */
  readonly allowed: number;
}

/** The API server's answer about the eviction of a gang. */
export interface GangAnswer {
  /** The budget that blocks it, as namespace/name; undefined: none does. */
  readonly rejectedBy: string | undefined;
  /** The API server refuses it for another reason. */
  readonly isRefused?: boolean | undefined;
  /** The budgets that it uses; complete only if it is not blocked. */
  readonly uses: readonly BudgetUse[];
}

const isBlocked = ({ rejectedBy, isRefused = false }: GangAnswer): boolean =>
  isRefused || rejectedBy !== undefined;

/** Dry run; evicts nothing. */
export type ProbeGang = (jobId: string, key: string, signal: AbortSignal) => Promise<GangAnswer>;

interface Answer extends GangAnswer {
  readonly untilSeconds: number;
  /** Since when a budget has blocked it at every question; undefined: none does. */
  readonly blockedSinceSeconds: number | undefined;
}

const allowedForSeconds = 10;
/** After this time, a blocked eviction is tried again. */
export const rejectedForSeconds = 15;
/** Who nobody has wanted to evict for so long is blocked anew. */
const forgottenAfterSeconds = 10 * rejectedForSeconds;
const probesAtOnce = 8;

export interface Candidate {
  readonly jobId: string;
  readonly key: string;
  readonly attempt: number;
  /** A budget whose delay is over: it blocks the eviction no longer. */
  readonly pastBudget?: string;
}

const answerKey = ({ jobId, attempt }: Candidate): string => `${jobId}/${attempt}`;

/** Which candidates may be evicted now. */
export interface Leaving<One extends Candidate> {
  /** These may be evicted, all together. */
  readonly allowed: readonly One[];
  /** There is no current answer about these. */
  readonly unknown: readonly One[];
}

export class EvictionProbe {
  readonly #probe: ProbeGang;
  readonly #clock: Clock;
  readonly #maxBudgetDelaySeconds: number;
  readonly #onFailure: (key: string, error: unknown) => void;
  readonly #answers = new Map<string, Answer>();

  /**
   * @param maxBudgetDelaySeconds how long a budget protects a job that borrows; Infinity: without limit
   * @param onFailure receives jobs (namespace/name) about which the API server does not answer
   */
  constructor(
    probe: ProbeGang,
    clock: Clock,
    maxBudgetDelaySeconds = Number.POSITIVE_INFINITY,
    onFailure: (key: string, error: unknown) => void = () => {},
  ) {
    this.#probe = probe;
    this.#clock = clock;
    this.#maxBudgetDelaySeconds = maxBudgetDelaySeconds;
    this.#onFailure = onFailure;
  }

  #answer(candidate: Candidate): Answer | undefined {
    const answer = this.#answers.get(answerKey(candidate));
    return answer && answer.untilSeconds > this.#clock.monotonicSeconds() ? answer : undefined;
  }

  /** What blocked evictions recently, by job id: the decision must not choose these jobs. */
  rejections(): Map<string, EvictionRejection> {
    const now = this.#clock.monotonicSeconds();
    const rejected = [...this.#answers].flatMap(([key, answer]) => {
      const { rejectedBy: budget, untilSeconds, blockedSinceSeconds = now } = answer;
      if (!isBlocked(answer) || untilSeconds <= now) return [];
      const isOverdue =
        budget !== undefined && now - blockedSinceSeconds >= this.#maxBudgetDelaySeconds;
      const slash = key.lastIndexOf("/");
      const attempt = Number(key.slice(slash + 1));
      return [[key.slice(0, slash), { budget, isOverdue, attempt }] as const];
    });
    return new Map(rejected);
  }

  /**
   * Which of these may be evicted together now. A budget may allow each eviction but not all: earlier candidates take
   * precedence, and the others count as blocked for a while, so that the decision chooses other victims.
   */
  together<One extends Candidate>(candidates: readonly One[]): Leaving<One> {
    const allowed: One[] = [];
    const unknown: One[] = [];
    const left = new Map<string, number>();
    for (const candidate of candidates) {
      const answer = this.#answer(candidate);
      if (candidate.pastBudget !== undefined) allowed.push(candidate);
      else if (answer === undefined) unknown.push(candidate);
      else if (!isBlocked(answer) && this.#take(candidate, answer.uses, left))
        allowed.push(candidate);
    }
    return { allowed, unknown };
  }

  /** Whether `left`, the rest of the budgets after earlier candidates, is enough for this one. */
  #take(candidate: Candidate, uses: readonly BudgetUse[], left: Map<string, number>): boolean {
    const room = ({ budget, allowed }: BudgetUse): number =>
      Math.min(allowed, left.get(budget) ?? allowed);
    const over = uses.find((use) => use.pods > room(use));
    if (over !== undefined) {
      this.#keep(candidate, { rejectedBy: over.budget, uses: [] });
      return false;
    }
    for (const use of uses) left.set(use.budget, room(use) - use.pods);
    return true;
  }

  /**
   * Call it for victims whose eviction was written: it deducts their use of budgets from the cached answers. The API
   * server may report the old numbers until the pods are asked to terminate.
   */
  spend(candidates: readonly Candidate[]): void {
    const spent = new Map<string, number>();
    for (const candidate of candidates) {
      for (const { budget, pods } of this.#answer(candidate)?.uses ?? [])
        spent.set(budget, (spent.get(budget) ?? 0) + pods);
      this.#answers.delete(answerKey(candidate));
    }
    for (const [key, answer] of this.#answers) {
      const uses = answer.uses.map((use) => ({
        ...use,
        allowed: use.allowed - (spent.get(use.budget) ?? 0),
      }));
      this.#answers.set(key, { ...answer, uses });
    }
  }

  /** Does a dry run for each candidate without a current answer. */
  async ask(candidates: readonly Candidate[], signal: AbortSignal): Promise<void> {
    this.#forgetOld();
    const queue = candidates.filter((candidate) => this.#answer(candidate) === undefined);
    const worker = async (): Promise<void> => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
        await this.#askOne(next, signal);
      }
    };
    await Promise.all(Array.from({ length: probesAtOnce }, worker));
  }

  /**
   * A question that fails is about this gang: an admission webhook of its namespace may hang. It is no victim for a
   * while, and nobody else waits for the answer.
   */
  async #askOne(candidate: Candidate, signal: AbortSignal): Promise<void> {
    const { jobId, key } = candidate;
    try {
      this.#keep(candidate, await this.#probe(jobId, key, signal));
    } catch (error) {
      if (signal.aborted) throw error;
      this.#onFailure(key, error);
      this.#keep(candidate, { isRefused: true, rejectedBy: undefined, uses: [] });
    }
  }

  #keep(candidate: Candidate, answer: GangAnswer): void {
    const seconds = isBlocked(answer) ? rejectedForSeconds : allowedForSeconds;
    const now = this.#clock.monotonicSeconds();
    const former = this.#answers.get(answerKey(candidate));
    this.#answers.set(answerKey(candidate), {
      ...answer,
      untilSeconds: now + seconds,
      blockedSinceSeconds:
        answer.rejectedBy === undefined ? undefined : (former?.blockedSinceSeconds ?? now),
    });
  }

  #forgetOld(): void {
    const now = this.#clock.monotonicSeconds();
    for (const [key, { untilSeconds, rejectedBy }] of this.#answers) {
      const kept = rejectedBy === undefined ? 0 : forgottenAfterSeconds;
      if (untilSeconds + kept <= now) this.#answers.delete(key);
    }
  }
}
