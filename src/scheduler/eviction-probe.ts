/**
 * Whether the API server would allow a gang's eviction, by dry runs before anything is decided for good. Answers are
 * kept for a short while: the decision that asked is made again with them.
 */
import type { Clock } from "../runtime/clock.ts";

/** How much of a PodDisruptionBudget the eviction of a gang takes. */
export interface BudgetUse {
  /** namespace/name */
  readonly budget: string;
  /** Pods of the gang that it counts. */
  readonly pods: number;
  /** Pods that it lets go in all. */
  readonly allowed: number;
}

/** What the API server says of the eviction of a gang. */
export interface GangAnswer {
  /** The budget in the way, as namespace/name; undefined when all pods of the attempt may go. */
  readonly rejectedBy: string | undefined;
  /** The budgets that it uses, where it may go. */
  readonly uses: readonly BudgetUse[];
}

export const mayAllGo: GangAnswer = { rejectedBy: undefined, uses: [] };

/** Evicts nothing. */
export type ProbeGang = (jobId: string, key: string, signal: AbortSignal) => Promise<GangAnswer>;

interface Answer extends GangAnswer {
  readonly untilSeconds: number;
}

const allowedForSeconds = 10;
/** After that, those who wait for a budget look again. */
export const rejectedForSeconds = 15;
const probesAtOnce = 8;

export interface Candidate {
  readonly jobId: string;
  readonly key: string;
  readonly attempt: number;
}

const answerKey = ({ jobId, attempt }: Candidate): string => `${jobId}/${attempt}`;

/** Who of some candidates may leave now. */
export interface Leaving<One extends Candidate> {
  /** These may, all together. */
  readonly allowed: readonly One[];
  /** Nobody has asked about these lately. */
  readonly unknown: readonly One[];
}

export class EvictionProbe {
  readonly #probe: ProbeGang;
  readonly #clock: Clock;
  readonly #answers = new Map<string, Answer>();

  constructor(probe: ProbeGang, clock: Clock) {
    this.#probe = probe;
    this.#clock = clock;
  }

  #answer(candidate: Candidate): Answer | undefined {
    const answer = this.#answers.get(answerKey(candidate));
    return answer && answer.untilSeconds > this.#clock.monotonicSeconds() ? answer : undefined;
  }

  /** Jobs whose eviction was refused lately, with what refused it: the decision must not choose them. */
  rejections(): Map<string, string> {
    this.#forgetOld();
    const rejected = [...this.#answers].flatMap(([key, { rejectedBy }]) =>
      rejectedBy === undefined ? [] : [[key.slice(0, key.lastIndexOf("/")), rejectedBy] as const],
    );
    return new Map(rejected);
  }

  /**
   * Which of these may leave together now. A budget may let each of them go and not all: who comes first goes first, and
   * the others count as refused for a while, so that the decision chooses others.
   */
  together<One extends Candidate>(candidates: readonly One[]): Leaving<One> {
    const allowed: One[] = [];
    const unknown: One[] = [];
    const left = new Map<string, number>();
    for (const candidate of candidates) {
      const answer = this.#answer(candidate);
      if (answer === undefined) unknown.push(candidate);
      else if (answer.rejectedBy === undefined && this.#take(candidate, answer.uses, left))
        allowed.push(candidate);
    }
    return { allowed, unknown };
  }

  /** Whether what the others `left` of the budgets is enough for this one, too. */
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
   * These will be evicted: what they take of their budgets is not there for others any more, though the API server may
   * go on saying so until their pods are asked to leave.
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

  /** Asks about the candidates whose answer is not known. */
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

  async #askOne(candidate: Candidate, signal: AbortSignal): Promise<void> {
    this.#keep(candidate, await this.#probe(candidate.jobId, candidate.key, signal));
  }

  #keep(candidate: Candidate, { rejectedBy, uses }: GangAnswer): void {
    const seconds = rejectedBy === undefined ? allowedForSeconds : rejectedForSeconds;
    this.#answers.set(answerKey(candidate), {
      rejectedBy,
      uses,
      untilSeconds: this.#clock.monotonicSeconds() + seconds,
    });
  }

  #forgetOld(): void {
    const now = this.#clock.monotonicSeconds();
    for (const [key, { untilSeconds }] of this.#answers) {
      if (untilSeconds <= now) this.#answers.delete(key);
    }
  }
}
