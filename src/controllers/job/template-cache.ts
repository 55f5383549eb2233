/**
 * Caches pod templates and the API server's answers about them: a hundred jobs with one template need one dry run, and
 * a template that was read for validation is not read again to create its pods.
 */
import { createHash } from "node:crypto";
import { WeighedMap } from "../../runtime/bounded-map.ts";
import type { Clock } from "../../runtime/clock.ts";
import { Turns } from "../../runtime/parallel.ts";

/** Policies, quotas and service accounts can change the answer for a template. */
const answerSeconds = 10;
/** Of one template, in characters of JSON. The API server accepts up to 1.5 MB. */
export const maxTemplateLength = 65_536;
/** Of all cached templates, and of all questions with cached answers. Parsed they take three times as much. */
const maxCachedLength = 8_388_608;
/** A template is read with its whole Job, which may take 10 MB while it is parsed. */
const readsAtOnce = 8;

interface Answer<T> {
  readonly promise: Promise<T>;
  readonly untilSeconds: number;
}

export class TemplateCache<Checked> {
  readonly #clock: Clock;
  readonly #isKept: (answer: Checked) => boolean;
  readonly #templates = new WeighedMap<string, { readonly template: unknown }>(maxCachedLength);
  readonly #answers = new WeighedMap<string, Answer<Checked>>(maxCachedLength);
  readonly #reads = new Turns(readsAtOnce);

  /** @param isKept whether to reuse an answer for later jobs; not for rejections, since users fix what they name */
  constructor(clock: Clock, isKept: (answer: Checked) => boolean) {
    this.#clock = clock;
    this.#isKept = isKept;
  }

  /** The template of the job with this uid; it is immutable. */
  async of(jobUid: string, read: () => Promise<unknown>): Promise<unknown> {
    const known = this.#templates.get(jobUid);
    if (known) return known.template;
    const template = await this.#reads.run(read);
    const { length } = JSON.stringify(template);
    if (length <= maxTemplateLength) this.#templates.set(jobUid, { template }, length);
    return template;
  }

  /** A recent or pending answer to the same question, otherwise a new one. Errors are not cached. */
  check(question: unknown, ask: () => Promise<Checked>): Promise<Checked> {
    const text = JSON.stringify(question);
    const key = createHash("sha256").update(text).digest("base64");
    const nowSeconds = this.#clock.monotonicSeconds();
    const known = this.#answers.get(key);
    if (known && known.untilSeconds > nowSeconds) return known.promise;
    const promise = ask();
    const untilSeconds = nowSeconds + answerSeconds;
    this.#answers.set(key, { promise, untilSeconds }, text.length);
    const forget = (): void => {
      if (this.#answers.get(key)?.promise === promise) this.#answers.delete(key);
    };
    promise.then((answer) => this.#isKept(answer) || forget(), forget);
    return promise;
  }
}
