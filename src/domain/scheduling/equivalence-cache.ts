/**
 * Results by scheduling signature. Placing jobs only shrinks the room, so a signature that did not fit does not fit
 * later in the same decision. A queue of ten thousand jobs has few signatures, which makes it cheap to decide.
 */
import { constraintsKey } from "./nodes.ts";
import type { ImpossiblePreemption } from "./preemption/policy.ts";
import type { Placement, QueuedJob } from "./snapshot.ts";

interface Impossible {
  readonly priority: number;
  readonly answer: ImpossiblePreemption;
}

type Placements = readonly Placement[] | undefined;

export class EquivalenceCache {
  readonly #signatures = new WeakMap<QueuedJob, string>();
  readonly #rejected = new Set<string>();
  readonly #explanations = new Map<string, unknown>();
  readonly #permanent = new Map<string, unknown>();
  readonly #impossible = new Map<string, Impossible>();

  /** After a preemption freed capacity: what did not fit may fit now. */
  forget(): void {
    this.#rejected.clear();
    this.#explanations.clear();
    this.#impossible.clear();
  }

  /** `place()`, unless the signature is known not to fit. */
  place(job: QueuedJob, when: "now" | "later", place: () => Placements): Placements {
    const key = `${when}|${this.#signature(job)}`;
    if (this.#rejected.has(key)) return undefined;
    const placements = place();
    if (!placements) this.#rejected.add(key);
    return placements;
  }

  /** An explanation shared by all jobs with the signature. */
  explanation<T>(about: "space" | "reserved", job: QueuedJob, explain: () => T): T {
    return remember(
      this.#explanations as Map<string, T>,
      `${about}|${this.#signature(job)}`,
      explain,
    );
  }

  /** A result that no placement and no preemption changes. */
  unplaceable<T>(job: QueuedJob, judge: () => T): T {
    return remember(this.#permanent as Map<string, T>, this.#signature(job), judge);
  }

  /** The result for a job with the same candidates or more that could not preempt enough; undefined if unknown. */
  impossible(job: QueuedJob, withinQuota: boolean): ImpossiblePreemption | undefined {
    const known = this.#impossible.get(this.signature(job, withinQuota));
    return known && known.priority >= job.priority ? known.answer : undefined;
  }

  rememberImpossible(job: QueuedJob, withinQuota: boolean, answer: ImpossiblePreemption): void {
    this.#impossible.set(this.signature(job, withinQuota), { priority: job.priority, answer });
  }

  /** Jobs with equal signatures and priorities have the same candidate victims. */
  signature(job: QueuedJob, withinQuota: boolean): string {
    const { quotas, unplanned, allowsBorrowing } = job;
    return JSON.stringify([this.#signature(job), withinQuota, quotas, unplanned, allowsBorrowing]);
  }

  #signature(job: QueuedJob): string {
    const known = this.#signatures.get(job);
    if (known !== undefined) return known;
    const signature = JSON.stringify([
      job.perPod,
      job.parallelism,
      job.maxPodsPerNode ?? null,
      constraintsKey(job),
    ]);
    this.#signatures.set(job, signature);
    return signature;
  }
}

function remember<T>(map: Map<string, T>, key: string, compute: () => T): T {
  const known = map.get(key);
  if (known !== undefined || map.has(key)) return known as T;
  const value = compute();
  map.set(key, value);
  return value;
}
