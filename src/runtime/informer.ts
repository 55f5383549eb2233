import type { Store } from "./store.ts";

/** A change of an object in the store. Without `before` it is new, without `after` it is gone. */
export interface Change<T> {
  readonly key: string;
  readonly before: T | undefined;
  readonly after: T | undefined;
}

export type ChangeHandler<T> = (change: Change<T>) => void;

/** Keeps a store in sync with a remote collection until its signal is aborted. */
export interface Informer<T> {
  readonly store: Store<T>;
  /** Call it once. */
  start(signal: AbortSignal): void;
  /** True once the store has had the whole collection; stays true during relists. */
  synced(): boolean;
  /** Rejects if the informer stops before it has synced. */
  whenSynced(): Promise<void>;
  /** Handlers run synchronously and in order. An exception in one is logged and does not affect the others. */
  onChange(handler: ChangeHandler<T>): void;
  /** Relists the collection immediately, regardless of known versions: the server's data went back in time. */
  reread(): void;
  /** Seconds since data of the server was last applied; Infinity before the first time. */
  lastEventSeconds(): number;
  /** Resolves once the informer has stopped and closed its connection. */
  stopped(): Promise<void>;
}
