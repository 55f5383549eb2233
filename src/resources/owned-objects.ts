/**
 * Objects that Rota writes and watches: the cache, plus recent writes that the cache does not show yet. A lagging cache
 * must not cause a second write, and the event of an own write is not a drift.
 */
import { keyOf } from "../kube/resource.ts";
import type { KubeObject, ResourceType } from "../kube/resource.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Change, Informer } from "../runtime/informer.ts";
import type { Meta } from "./meta.ts";

export interface Owned extends Meta {
  /** The project in its label. */
  readonly project: string;
}

/** The content as text, to compare without resourceVersion and generation. */
function contentOf<T extends Meta>(object: T): string {
  const { resourceVersion: _version, generation: _generation, ...content } = object;
  return JSON.stringify(content);
}

const versionOf = (object: Meta): number => Number(object.resourceVersion);

/** A write that the cache has not shown by then was reverted before the cache saw it. */
const maxLagSeconds = 60;

interface Written<T> {
  readonly object: T;
  readonly atSeconds: number;
}

export class OwnedObjects<T extends Owned> {
  readonly type: ResourceType<T>;
  readonly informer: Informer<T>;
  /** Own writes that are newer than the cache. */
  readonly #written = new Map<string, Written<T>>();
  /** Versions of deleted objects that the cache still shows. */
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

  /** Records the API server's response to an own write. */
  wrote(raw: KubeObject): T {
    const object = this.type.project(raw);
    this.#written.set(keyOf(raw), { object, atSeconds: this.#clock.monotonicSeconds() });
    return object;
  }

  /** Records that the object was deleted, or found to be gone. */
  removed(key: string): void {
    this.#written.delete(key);
    const cached = this.informer.store.get(key);
    if (cached) this.#removed.set(key, versionOf(cached));
  }

  /** Calls back with project and key for every object that someone else created, changed or deleted. */
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
      // The deleted object includes the later own write, which the cache never shows.
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
