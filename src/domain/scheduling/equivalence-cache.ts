/**
 * Refusals remembered by shape: while a decision places jobs, room only shrinks, so that a shape that did not fit
 * does not fit later either. A queue of ten thousand jobs has few shapes; this is what makes it cheap.
 */
import { constraintsKey } from "./nodes.ts";
import type { ImpossiblePreemption } from "./preemption/policy.ts";
import type { Placement, QueuedJob } from "./snapshot.ts";

interface Impossible {
  readonly priority: number;
  readonly answer: ImpossiblePreemption;
}

type Placed = readonly Placement[] | undefined;

export class EquivalenceCache {
  readonly #signatures = new WeakMap<QueuedJob, string>();
  readonly #rejected = new Set<string>();
  readonly #told = new Map<string, unknown>();
  readonly #permanent = new Map<string, unknown>();
  readonly #impossible = new Map<string, Impossible>();

  /** Evictions made room: what was refused may be possible now. */
  forget(): void {
    this.#rejected.clear();
    this.#told.clear();
    this.#impossible.clear();
  }

  place(job: QueuedJob, when: "now" | "later", place: () => Placed): Placed {
    const key = `${when}|${this.#signature(job)}`;
    if (this.#rejected.has(key)) return undefined;
    const placements = place();
    if (!placements) this.#rejected.add(key);
    return placements;
  }

  /** An explanation that is the same for all jobs of the shape. */
  told<T>(about: "space" | "kept", job: QueuedJob, explain: () => T): T {
    return remember(this.#told as Map<string, T>, `${about}|${this.#signature(job)}`, explain);
  }

  /** An answer that no placement and no eviction changes. */
  unplaceable<T>(job: QueuedJob, judge: () => T): T {
    return remember(this.#permanent as Map<string, T>, this.#signature(job), judge);
  }

  /** Whether a job that may evict at least as much was found unable to make room. */
  impossible(job: QueuedJob, inside: boolean): ImpossiblePreemption | undefined {
    const known = this.#impossible.get(this.signature(job, inside));
    return known && known.priority >= job.priority ? known.answer : undefined;
  }

  rememberImpossible(job: QueuedJob, inside: boolean, answer: ImpossiblePreemption): void {
    this.#impossible.set(this.signature(job, inside), { priority: job.priority, answer });
  }

  /** Jobs with the same grounds and priority may evict the same others for the same room. */
  signature(job: QueuedJob, inside: boolean): string {
    const { quotas, unplanned, allowsBorrowing } = job;
    return JSON.stringify([this.#signature(job), inside, quotas, unplanned, allowsBorrowing]);
  }

  #signature(job: QueuedJob): string {
    const known = this.#signatures.get(job);
    if (known !== undefined) return known;
    const signature = JSON.stringify([job.perPod, job.parallelism, constraintsKey(job)]);
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
