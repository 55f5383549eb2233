/**
 * Caches pod templates and the API server's answers about them: a hundred jobs with one template need one dry run, and
 * a template that was read for validation is not read again to create its pods.
 */
import { createHash } from "node:crypto";
import { remember } from "../../runtime/bounded-map.ts";
import type { Clock } from "../../runtime/clock.ts";

/** Policies, quotas and service accounts can change the answer for a template. */
const answerSeconds = 10;
const maxAnswers = 1000;
const maxTemplates = 2000;
/** In characters of JSON. Larger templates are rare and are read again. */
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

  /** @param isKept whether to reuse an answer for later jobs; not for rejections, since users fix what they name */
  constructor(clock: Clock, isKept: (answer: Checked) => boolean) {
    this.#clock = clock;
    this.#isKept = isKept;
  }

  /** The template of the job with this uid; it is immutable. */
  async of(jobUid: string, read: () => Promise<unknown>): Promise<unknown> {
    if (this.#templates.has(jobUid)) return this.#templates.get(jobUid);
    const template = await read();
    if (JSON.stringify(template).length <= maxTemplate) {
      remember(this.#templates, jobUid, template, maxTemplates);
    }
    return template;
  }

  /** A recent or pending answer to the same question, otherwise a new one. Errors are not cached. */
  check(question: unknown, ask: () => Promise<Checked>): Promise<Checked> {
    const key = createHash("sha256").update(JSON.stringify(question)).digest("base64");
    const nowSeconds = this.#clock.monotonicSeconds();
    const known = this.#answers.get(key);
    if (known && known.untilSeconds > nowSeconds) return known.promise;
    const promise = ask();
    const untilSeconds = nowSeconds + answerSeconds;
    remember(this.#answers, key, { promise, untilSeconds }, maxAnswers);
    const forget = (): void => {
      if (this.#answers.get(key)?.promise === promise) this.#answers.delete(key);
    };
    promise.then((answer) => this.#isKept(answer) || forget(), forget);
    return promise;
  }
}
