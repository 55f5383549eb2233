/**
 * Whether the API server would allow a gang's eviction, by dry runs before anything is decided for good. Answers are
 * kept for a short while: the decision that asked is made again with them.
 */
import type { Clock } from "../runtime/clock.ts";

/** Evicts nothing. Undefined when all pods of the attempt may go, else the budget in the way, as namespace/name. */
export type ProbeGang = (
  jobId: string,
  key: string,
  signal: AbortSignal,
) => Promise<string | undefined>;

interface Answer {
  readonly refusedBy: string | undefined;
  readonly untilSeconds: number;
}

const allowedForSeconds = 10;
/** After that, those who wait for a budget look again. */
export const refusedForSeconds = 15;
const probesAtOnce = 8;

export interface Candidate {
  readonly jobId: string;
  readonly key: string;
  readonly attempt: number;
}

export class EvictionProbe {
  readonly #probe: ProbeGang;
  readonly #clock: Clock;
  readonly #answers = new Map<string, Answer>();

  constructor(probe: ProbeGang, clock: Clock) {
    this.#probe = probe;
    this.#clock = clock;
  }

  #answer({ jobId, attempt }: { jobId: string; attempt: number }): Answer | undefined {
    const answer = this.#answers.get(`${jobId}/${attempt}`);
    return answer && answer.untilSeconds > this.#clock.monotonicSeconds() ? answer : undefined;
  }

  /** Whether the answer for this gang is known and is yes. */
  isAllowed(candidate: Candidate): boolean {
    const answer = this.#answer(candidate);
    return answer !== undefined && answer.refusedBy === undefined;
  }

  /** Jobs whose eviction was refused lately, with what refused it: the decision must not choose them. */
  refusals(): Map<string, string> {
    this.#forgetOld();
    const refused = [...this.#answers].flatMap(([key, { refusedBy }]) =>
      refusedBy === undefined ? [] : [[key.slice(0, key.lastIndexOf("/")), refusedBy] as const],
    );
    return new Map(refused);
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

  async #askOne({ jobId, key, attempt }: Candidate, signal: AbortSignal): Promise<void> {
    const refusedBy = await this.#probe(jobId, key, signal);
    const seconds = refusedBy === undefined ? allowedForSeconds : refusedForSeconds;
    this.#answers.set(`${jobId}/${attempt}`, {
      refusedBy,
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
