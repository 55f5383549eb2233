import { backoffSeconds } from "../runtime/backoff.ts";
import { sleepUnlessAborted, startTimer } from "../runtime/clock.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Change, ChangeHandler, Informer } from "../runtime/informer.ts";
import { limitedLogger } from "../runtime/limited-logger.ts";
import { errorText } from "../runtime/logger.ts";
import type { Logger } from "../runtime/logger.ts";
import { noMetrics } from "../runtime/metrics.ts";
import type { Metrics } from "../runtime/metrics.ts";
import { MemoryStore } from "../runtime/store.ts";
import type { Store } from "../runtime/store.ts";
import type { KubeClient } from "./client.ts";
import { isExpired, KubeError } from "./errors.ts";
import type { PageEnd, PageRequest } from "./list-stream.ts";
import { createReflectorMetrics } from "./reflector-metrics.ts";
import type { ReflectorMetrics } from "./reflector-metrics.ts";
import { keyOf } from "./resource.ts";
import type { KubeObject, ResourceType } from "./resource.ts";
import type { WatchEvent } from "./watch-events.ts";
import { endsInitialEvents } from "./watch-stream.ts";

export interface InformerOptions<T> {
  readonly client: KubeClient;
  readonly type: ResourceType<T>;
  readonly namespace?: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics?: Metrics;
  /**
   * A watch without a byte for this long counts as dead and is resumed; default 75, more than the minute between the API
   * server's bookmarks.
   */
  readonly silentSeconds?: number;
  /** Duration of a watch: random in [1, 2) times this; default 300. */
  readonly watchSeconds?: number;
  /** Jittered exponential back-off after a failure; default 0.25 to 10. */
  readonly backoff?: { readonly baseSeconds: number; readonly maxSeconds: number };
  /** False: lists in pages even if the server supports WatchList; default true. */
  readonly watchList?: boolean;
  /** Objects per page; default 500. */
  readonly pageSize?: number;
  /** A list by watch without an event for this long and without its end mark falls back to pages; default 30. */
  readonly endMarkSeconds?: number;
  /** Called when the server's data went back in time, as after a restore of etcd. This collection has been relisted. */
  readonly onTimeTravel?: () => void;
}

/** For the first byte of the response: with WatchList the server may first catch up with etcd. */
const openTimeoutSeconds = 30;
/** The maximum also limits the delay after the end of a long outage. */
const defaultBackoff = { baseSeconds: 0.25, maxSeconds: 10 };
/** The end of a watch that lived this long does not count as a failure of the server. */
const healthySeconds = 5;
/** The version of objects that must be read again, whatever version the server reports. */
const unknownVersion = -1;

/** A list by watch failed: the bookmark that ends the collection did not arrive. */
class EndMarkMissing extends Error {}

/** A store that follows a collection of the API server across connection failures. */
export function createInformer<T>(options: InformerOptions<T>): Informer<T> {
  return new Reflector(options);
}

/** Where the next watch resumes. */
interface Position {
  /** Undefined if the collection must be listed. */
  resourceVersion: string | undefined;
}

class Reflector<T> implements Informer<T> {
  readonly #options: InformerOptions<T>;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #limitedLogger: Logger;
  readonly #metrics: ReflectorMetrics;
  readonly #store = new MemoryStore<T>();
  /** By key, for all objects that were read, including those that could not be projected and are not in the store. */
  readonly #versions = new Map<string, number>();
  readonly #handlers: ChangeHandler<T>[] = [];
  readonly #position: Position = { resourceVersion: undefined };
  readonly #synced = Promise.withResolvers<void>();
  readonly #stopped = Promise.withResolvers<void>();
  #isSynced = false;
  #isStarted = false;
  #servesWatchList: boolean;
  #failures = 0;
  #lastEventSeconds = Number.NEGATIVE_INFINITY;
  /** The collection's version when its position was last forgotten; undefined before. */
  #formerVersion: string | undefined;
  /** A list, which is never older than what was read before, had an object in an older version. */
  #hasOlderObject = false;
  /** Aborts the current list or watch. */
  #current = new AbortController();

  constructor(options: InformerOptions<T>) {
    this.#options = options;
    this.#servesWatchList = options.watchList ?? true;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#limitedLogger = limitedLogger(options.logger, options.clock);
    this.#metrics = createReflectorMetrics(options.metrics ?? noMetrics, options.type, {
      objects: () => this.#store.size,
      lastEventSeconds: () => this.lastEventSeconds(),
    });
    // A rejection without waiters is not an error.
    this.#synced.promise.catch(() => {});
  }

  get store(): Store<T> {
    return this.#store;
  }

  start(signal: AbortSignal): void {
    if (this.#isStarted) throw new Error(`the informer of ${this.#name} was started twice`);
    this.#isStarted = true;
    void this.#run(signal);
  }

  synced(): boolean {
    return this.#isSynced;
  }

  whenSynced(): Promise<void> {
    return this.#synced.promise;
  }

  onChange(handler: ChangeHandler<T>): void {
    this.#handlers.push(handler);
  }

  reread(): void {
    for (const key of this.#versions.keys()) this.#versions.set(key, unknownVersion);
    this.#position.resourceVersion = undefined;
    this.#formerVersion = undefined;
    this.#current.abort(new Error(`${this.#name} are read anew`));
  }

  lastEventSeconds(): number {
    return this.#clock.monotonicSeconds() - this.#lastEventSeconds;
  }

  stopped(): Promise<void> {
    return this.#stopped.promise;
  }

  get #name(): string {
    const { type, namespace } = this.#options;
    return namespace === undefined ? type.plural : `${type.plural} in ${namespace}`;
  }

  async #run(signal: AbortSignal): Promise<void> {
    await this.#follow(signal);
    this.#synced.reject(new Error(`the informer of ${this.#name} was stopped before it synced`));
    this.#stopped.resolve();
  }

  async #follow(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const startSeconds = this.#clock.monotonicSeconds();
      this.#current = new AbortController();
      const error = await this.#followOnce(AbortSignal.any([signal, this.#current.signal]));
      if (signal.aborted) return;
      if (this.#current.signal.aborted) {
        // Events still buffered when the stream was closed may have restored the position.
        this.#position.resourceVersion = undefined;
        continue;
      }
      const livedSeconds = this.#clock.monotonicSeconds() - startSeconds;
      const wasHealthy = error === undefined || livedSeconds >= healthySeconds;
      if (wasHealthy) this.#failures = 0;
      if (error !== undefined) await this.#pauseAfter(error, wasHealthy, signal);
    }
  }

  /** Runs one list or watch to its end. Returns the error if it failed. */
  async #followOnce(signal: AbortSignal): Promise<unknown> {
    try {
      if (this.#position.resourceVersion === undefined) await this.#list(signal);
      else await this.#watch(signal, this.#position.resourceVersion);
      return undefined;
    } catch (error) {
      return error ?? new Error("unknown failure");
    }
  }

  async #pauseAfter(error: unknown, wasHealthy: boolean, signal: AbortSignal): Promise<void> {
    if (meansRelist(error)) this.#forgetPosition();
    this.#failures += 1;
    this.#metrics.failed(error instanceof KubeError ? error.reason : "Unknown");
    const backoff = this.#options.backoff ?? defaultBackoff;
    const ownSeconds = backoffSeconds(this.#failures, backoff);
    const askedSeconds = error instanceof KubeError ? (error.retryAfterSeconds ?? 0) : 0;
    const retryInSeconds = Math.max(ownSeconds, askedSeconds);
    // Silent or reset connections are normal after a while.
    this.#logger[wasHealthy ? "debug" : "warn"]("watch failed", {
      resource: this.#name,
      error: errorText(error),
      retryInSeconds,
    });
    await sleepUnlessAborted(this.#clock, retryInSeconds, signal);
  }

  /** A 410 proves that the server is healthy again, so relist without back-off. */
  #forgetPosition(): void {
    if (this.#position.resourceVersion !== undefined) this.#failures = 0;
    this.#formerVersion = this.#position.resourceVersion ?? this.#formerVersion;
    this.#position.resourceVersion = undefined;
  }

  async #list(signal: AbortSignal): Promise<void> {
    this.#metrics.listed();
    if (this.#servesWatchList) await this.#listByWatch(signal);
    else await this.#listByPages(signal);
  }

  /** WatchList: one stream with the collection and then its changes; only projections are kept in memory. */
  async #listByWatch(signal: AbortSignal): Promise<void> {
    const { endMarkSeconds = 30 } = this.#options;
    const patience = new AbortController();
    const missing = new EndMarkMissing(`no end mark within ${endMarkSeconds} s of the last event`);
    const wait = () => startTimer(this.#clock, endMarkSeconds, () => patience.abort(missing));
    let cancelWait = wait();
    let unseen: Set<string> | undefined = this.#unseen();
    try {
      for await (const batch of this.#open(AbortSignal.any([signal, patience.signal]), undefined)) {
        cancelWait();
        for (const event of batch) unseen = this.#applyListed(event, unseen);
        this.#recordActivity();
        if (unseen) cancelWait = wait();
      }
    } catch (error) {
      if (!unseen || signal.aborted || !this.#givesUpWatchList(error)) throw error;
      return;
    } finally {
      cancelWait();
    }
    if (unseen) throw new Error("the watch ended before the collection was complete");
  }

  /** Whether to list the collection in pages from now on. */
  #givesUpWatchList(error: unknown): boolean {
    if (error instanceof EndMarkMissing) {
      this.#logger.warn("WatchList did not complete; listing in pages from now on", {
        resource: this.#name,
        error: error.message,
      });
    } else if (refusesWatchList(error)) {
      this.#logger.info("the API server does not support WatchList; listing in pages", {
        resource: this.#name,
      });
    } else return false;
    this.#servesWatchList = false;
    return true;
  }

  /** Stored keys not yet seen in the new collection; empty for the first list, when memory matters most. */
  #unseen(): Set<string> {
    return new Set(this.#versions.keys());
  }

  /** Takes the keys not yet seen, or undefined once the collection is complete; returns them for the next event. */
  #applyListed(event: WatchEvent, unseen: Set<string> | undefined): Set<string> | undefined {
    if (!unseen) {
      this.#apply(event);
      return undefined;
    }
    if (endsInitialEvents(event)) {
      this.#replaced(unseen, event.object.metadata.resourceVersion);
      return undefined;
    }
    this.#applyInitial(event, unseen);
    return unseen;
  }

  /** Initial events apply even if their versions are lower than the known ones (etcd restored from a backup). */
  #applyInitial({ type, object }: WatchEvent, unseen: Set<string>): void {
    // The API server sends the end mark before any other bookmark.
    if (type === "BOOKMARK") throw new EndMarkMissing("another bookmark came before the end mark");
    const key = keyOf(object);
    unseen.delete(key);
    if (type === "DELETED") this.#delete(key);
    else this.#upsertListed(key, object);
  }

  async #listByPages(signal: AbortSignal): Promise<void> {
    const unseen = this.#unseen();
    let page: PageEnd | undefined;
    do {
      page = await this.#readPage(page?.continueToken, unseen, signal);
    } while (page.continueToken !== undefined);
    this.#replaced(unseen, page.resourceVersion);
  }

  #readPage(
    continueToken: string | undefined,
    unseen: Set<string>,
    signal: AbortSignal,
  ): Promise<PageEnd> {
    const { client, type, namespace, silentSeconds, pageSize = 500 } = this.#options;
    const request: PageRequest = {
      pageSize,
      signal,
      timeoutSeconds: openTimeoutSeconds,
      silentSeconds: Math.min(silentSeconds ?? openTimeoutSeconds, openTimeoutSeconds),
      ...selectorsOf(type),
      ...(namespace === undefined ? {} : { namespace }),
      ...(continueToken === undefined ? {} : { continueToken }),
    };
    return client.streamPage(type, request, (item) => {
      const key = keyOf(item);
      unseen.delete(key);
      this.#upsertListed(key, item);
      this.#recordActivity();
    });
  }

  /** The collection is complete: stored objects that are not in it are deleted. */
  #replaced(unseen: ReadonlySet<string>, resourceVersion: string | undefined): void {
    for (const key of unseen) this.#delete(key);
    const former = this.#formerVersion;
    const fell = former !== undefined && Number(resourceVersion) < Number(former);
    const hasTravelled = fell || this.#hasOlderObject;
    this.#formerVersion = undefined;
    this.#hasOlderObject = false;
    this.#position.resourceVersion = resourceVersion;
    this.#failures = 0;
    if (hasTravelled) this.#travelled();
    if (this.#isSynced) return;
    this.#isSynced = true;
    this.#synced.resolve();
  }

  /** The version of the collection or of an object decreased. This informer is current again; the others must be told to relist. */
  #travelled(): void {
    this.#logger.warn("the API server's data went back in time: everything is read anew", {
      resource: this.#name,
    });
    this.#options.onTimeTravel?.();
  }

  async #watch(signal: AbortSignal, resourceVersion: string): Promise<void> {
    for await (const batch of this.#open(signal, resourceVersion)) {
      for (const event of batch) this.#apply(event);
      this.#recordActivity();
    }
  }

  #open(
    signal: AbortSignal,
    resourceVersion: string | undefined,
  ): AsyncIterable<readonly WatchEvent[]> {
    const { client, type, namespace, silentSeconds = 75, watchSeconds = 300 } = this.#options;
    return client.watch(type, {
      signal,
      silentSeconds,
      timeoutSeconds: openTimeoutSeconds,
      serverTimeoutSeconds: watchSeconds * (1 + Math.random()),
      ...selectorsOf(type),
      ...(namespace === undefined ? {} : { namespace }),
      ...(resourceVersion === undefined ? { initialEvents: true } : { resourceVersion }),
    });
  }

  #apply({ type, object }: WatchEvent): void {
    const { resourceVersion } = object.metadata;
    if (type !== "BOOKMARK") this.#applyChange(type, object);
    if (resourceVersion !== undefined) this.#position.resourceVersion = resourceVersion;
  }

  #applyChange(type: "ADDED" | "MODIFIED" | "DELETED", object: KubeObject): void {
    const key = keyOf(object);
    const known = this.#versions.get(key);
    if (known !== undefined && versionOf(object) <= known) return;
    if (type === "DELETED") this.#delete(key);
    else this.#upsert(key, object);
  }

  #upsertListed(key: string, object: KubeObject): void {
    const known = this.#versions.get(key);
    const version = versionOf(object);
    // A restore with `etcdutl --bump-revision` raises the collection's version, not the objects'.
    if (known !== undefined && version < known) this.#hasOlderObject = true;
    if (known !== version) this.#upsert(key, object);
  }

  #upsert(key: string, object: KubeObject): void {
    this.#versions.set(key, versionOf(object));
    const before = this.#store.get(key);
    const after = this.#put(key, object);
    if (after === undefined) this.#store.delete(key);
    if (before !== undefined || after !== undefined) this.#notify({ key, before, after });
  }

  /** An object that cannot be projected must not block the others: it is logged, counted and left out. */
  #put(key: string, object: KubeObject): T | undefined {
    const { type } = this.#options;
    try {
      const value = type.project(object);
      this.#store.set(key, value);
      return value;
    } catch (error) {
      this.#metrics.skipped();
      this.#limitedLogger.warn("an object is not understood, and left out", {
        resource: this.#name,
        key,
        error: errorText(error),
      });
      return this.#putSubstitute(key, object);
    }
  }

  #putSubstitute(key: string, object: KubeObject): T | undefined {
    try {
      const value = this.#options.type.substitute?.(object);
      if (value !== undefined) this.#store.set(key, value);
      return value;
    } catch {
      return undefined;
    }
  }

  #delete(key: string): void {
    this.#versions.delete(key);
    const before = this.#store.delete(key);
    if (before !== undefined) this.#notify({ key, before, after: undefined });
  }

  #notify(change: Change<T>): void {
    this.#metrics.changed();
    for (const handler of this.#handlers) {
      try {
        handler(change);
      } catch (error) {
        this.#logger.error("change handler failed", {
          resource: this.#name,
          key: change.key,
          error: errorText(error),
        });
      }
    }
  }

  #recordActivity(): void {
    this.#lastEventSeconds = this.#clock.monotonicSeconds();
  }
}

/** Resource versions of one resource are comparable decimal numbers (KEP-5504); etcd's stay below 2^53. */
const versionOf = (object: KubeObject): number => Number(object.metadata.resourceVersion);

function selectorsOf(type: ResourceType<unknown>): {
  labelSelector?: string;
  fieldSelector?: string;
} {
  return {
    ...(type.labelSelector === undefined ? {} : { labelSelector: type.labelSelector }),
    ...(type.fieldSelector === undefined ? {} : { fieldSelector: type.fieldSelector }),
  };
}

/** 410: the version was compacted. "Too large": the server's data is older than ours (restored from a backup). */
function meansRelist(error: unknown): boolean {
  if (isExpired(error)) return true;
  if (!(error instanceof KubeError)) return false;
  return error.causes.some((cause) => cause.reason === "ResourceVersionTooLarge");
}

/** Servers before 1.32, or without the feature, reject sendInitialEvents as invalid (422) or bad request (400). */
function refusesWatchList(error: unknown): boolean {
  return error instanceof KubeError && (error.status === 400 || error.status === 422);
}
