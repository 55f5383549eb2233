import type { Store } from "./store.ts";

/** One change of one object, as the store saw it: no `before` is new, no `after` is gone. */
export interface Change<T> {
  readonly key: string;
  readonly before: T | undefined;
  readonly after: T | undefined;
}

export type ChangeHandler<T> = (change: Change<T>) => void;

/** A store that follows a remote collection until its signal is aborted. */
export interface Informer<T> {
  readonly store: Store<T>;
  /** Starts following; call it once. */
  start(signal: AbortSignal): void;
  /** True once the store has held the whole collection; stays true while it catches up again. */
  synced(): boolean;
  /** Rejects when the informer stops before it has synced. */
  whenSynced(): Promise<void>;
  /** Handlers run in order, synchronously; one that throws is logged and does not hold up the others. */
  onChange(handler: ChangeHandler<T>): void;
  /** Reads the whole collection anew, at once, whatever versions are known: the server's data went back in time. */
  reread(): void;
  /** Seconds since something the server sent was last applied, or Infinity before the first time. */
  lastEventSeconds(): number;
  /** Resolves when the informer has stopped and closed its connection. */
  stopped(): Promise<void>;
}
