/**
 * What the API server is asked about pod templates, remembered for a while: a hundred jobs with one template are one
 * dry run, and a template that was read to check it need not be read again to make its pods.
 */
import { createHash } from "node:crypto";
import type { Clock } from "../../runtime/clock.ts";

/** Policies, quotas and service accounts change what the API server says of a template. */
const answerSeconds = 10;
const maxAnswers = 1000;
const maxTemplates = 2000;
/** Larger ones are few, and read again. */
const maxTemplate = 32_768;

interface Answer<T> {
  readonly promise: Promise<T>;
  readonly untilSeconds: number;
}

export class TemplateCache<Checked> {
  readonly #clock: Clock;
  readonly #isKept: (answer: Checked) => boolean;
  readonly #templates = new Map<string, unknown>();
  readonly #answers = new Map<string, Answer<Checked>>();

  /** @param isKept whether an answer stands for later jobs, too: a refusal does not, since users mend what it names */
  constructor(clock: Clock, isKept: (answer: Checked) => boolean) {
    this.#clock = clock;
    this.#isKept = isKept;
  }

  /** The template of the job with this uid, which never changes. */
  async of(jobUid: string, read: () => Promise<unknown>): Promise<unknown> {
    if (this.#templates.has(jobUid)) return this.#templates.get(jobUid);
    const template = await read();
    if (JSON.stringify(template).length <= maxTemplate) {
      this.#templates.set(jobUid, template);
      forgetBeyond(this.#templates, maxTemplates);
    }
    return template;
  }

  /** What was answered lately to the same question, or is being asked. An error is no answer. */
  check(question: unknown, ask: () => Promise<Checked>): Promise<Checked> {
    const key = createHash("sha256").update(JSON.stringify(question)).digest("base64");
    const nowSeconds = this.#clock.monotonicSeconds();
    const known = this.#answers.get(key);
    if (known && known.untilSeconds > nowSeconds) return known.promise;
    const promise = ask();
    this.#answers.delete(key);
    this.#answers.set(key, { promise, untilSeconds: nowSeconds + answerSeconds });
    forgetBeyond(this.#answers, maxAnswers);
    const forget = (): void => {
      if (this.#answers.get(key)?.promise === promise) this.#answers.delete(key);
    };
    promise.then((answer) => this.#isKept(answer) || forget(), forget);
    return promise;
  }
}

/** The oldest first: maps keep the order of insertion. */
function forgetBeyond(map: Map<string, unknown>, most: number): void {
  const [oldest] = map.keys();
  if (map.size > most && oldest !== undefined) map.delete(oldest);
}
