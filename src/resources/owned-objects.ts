/**
 * Objects that Rota writes and watches: the cache of them, and what was last written where the cache lags behind. A cache
 * that lags must not make us write again, and the echo of our own write is no news.
 */
import { keyOf } from "../kube/resource.ts";
import type { KubeObject, ResourceType } from "../kube/resource.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Change, Informer } from "../runtime/informer.ts";
import type { Meta } from "./meta.ts";

export interface Owned extends Meta {
  /** The project that its label names. */
  readonly project: string;
}

/** What matters of the object, as text: its version tells nothing by itself. */
function contentOf<T extends Meta>(object: T): string {
  const { resourceVersion: _version, generation: _generation, ...content } = object;
  return JSON.stringify(content);
}

const versionOf = (object: Meta): number => Number(object.resourceVersion);

/** A write that the cache has not shown by then was undone before the cache saw it. */
const maxLagSeconds = 60;

interface Written<T> {
  readonly object: T;
  readonly atSeconds: number;
}

export class OwnedObjects<T extends Owned> {
  readonly type: ResourceType<T>;
  readonly informer: Informer<T>;
  /** Newer than the cache, until it catches up. */
  readonly #written = new Map<string, Written<T>>();
  /** Versions that were deleted, until the cache knows. */
  readonly #removed = new Map<string, number>();
  readonly #clock: Clock;

  constructor(type: ResourceType<T>, informer: Informer<T>, clock: Clock) {
    this.type = type;
    this.informer = informer;
    this.#clock = clock;
  }

  get(key: string): T | undefined {
    const cached = this.informer.store.get(key);
    const written = this.#lately(key);
    if (written && (!cached || versionOf(written) > versionOf(cached))) return written;
    const removed = this.#removed.get(key);
    return cached && removed !== undefined && versionOf(cached) <= removed ? undefined : cached;
  }

  /** Takes the API server's answer to a write of ours. */
  wrote(raw: KubeObject): T {
    const object = this.type.project(raw);
    this.#written.set(keyOf(raw), { object, atSeconds: this.#clock.monotonicSeconds() });
    return object;
  }

  /** The object was deleted by us, or found to be gone. */
  removed(key: string): void {
    this.#written.delete(key);
    const cached = this.informer.store.get(key);
    if (cached) this.#removed.set(key, versionOf(cached));
  }

  /** Calls back with the project, and the key, of every object that somebody else made, changed or deleted. */
  onDrift(handler: (project: string, key: string) => void): void {
    this.informer.onChange((change) => {
      if (!this.#isNews(change)) return;
      const { before, after } = change;
      const projects = [before?.project, after?.project].filter((name) => name !== undefined);
      for (const project of new Set(projects)) handler(project, change.key);
    });
  }

  #lately(key: string): T | undefined {
    const written = this.#written.get(key);
    if (!written) return undefined;
    const lagSeconds = this.#clock.monotonicSeconds() - written.atSeconds;
    if (lagSeconds <= maxLagSeconds) return written.object;
    this.#written.delete(key);
    return undefined;
  }

  #isNews({ key, before, after }: Change<T>): boolean {
    if (after === undefined) {
      const isOurs = this.#removed.delete(key);
      // What was written after the version that went is not in the cache, and never will be.
      this.#written.delete(key);
      return !isOurs;
    }
    this.#removed.delete(key);
    const written = this.#lately(key);
    if (written && versionOf(after) >= versionOf(written)) this.#written.delete(key);
    const content = contentOf(after);
    const isKnown = (object: T | undefined) =>
      object !== undefined && contentOf(object) === content;
    return !isKnown(before) && !isKnown(written);
  }
}
