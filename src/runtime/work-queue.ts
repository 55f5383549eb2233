import { backoffSeconds } from "./backoff.ts";
import type { BackoffOptions } from "./backoff.ts";
import { startTimer } from "./clock.ts";
import type { Clock } from "./clock.ts";
import { DelayHeap } from "./delay-heap.ts";
import { FairLines } from "./fair-lines.ts";
import { noMetrics } from "./metrics.ts";
import type { Metrics } from "./metrics.ts";
import { createQueueMetrics } from "./queue-metrics.ts";
import type { QueueMetrics } from "./queue-metrics.ts";

/**
 * `urgent` keys (something is under way that others wait for) come before `interactive` keys (something changed), and these
 * before `resync` keys (a periodic check).
 */
export type Priority = "urgent" | "interactive" | "resync";

export interface AddOptions {
  readonly priority?: Priority;
}

export interface WorkQueueOptions {
  readonly name: string;
  readonly clock: Clock;
  readonly metrics?: Metrics;
  /** Whether a key that is not added as a resync is urgent by what it stands for; default: none is. */
  readonly isUrgent?: (key: string) => boolean;
  /** Per-key back-off of retries; default 0.1 s doubling to 30 s. */
  readonly backoff?: BackoffOptions;
  /** Total rate of retries, except those of keys that failed only a few times; default 50. */
  readonly retriesPerSecond?: number;
}

/**
 * When each key started to wait, in whole milliseconds: V8 stores a small integer in the table, but any other number as
 * a separate object. At startup every key of the cluster waits.
 */
type WaitingSince = Map<string, number>;

interface Picked {
  readonly key: string;
  readonly sinceMilliseconds: number;
}

/** Highest first. */
const priorities: readonly Priority[] = ["urgent", "interactive", "resync"];
const rankOf: Readonly<Record<Priority, number>> = { urgent: 0, interactive: 1, resync: 2 };

/** The maximum pause of a few failing keys is also the delay after the end of a long outage. */
const defaultBackoff: BackoffOptions = { baseSeconds: 0.1, maxSeconds: 30 };

/** All failing keys share this rate, so that 50,000 of them do not cause 2,000 retries per second. */
const defaultRetriesPerSecond = 50;

/** Retries of a key that ignore the shared rate: most keys that fail once succeed on the next try. */
const freeRetries = 2;

/** How many delayed retries start at once after a success, so that recovery from an outage takes only seconds. */
const pulledBySuccess = 2;

/** A key comes after this many of higher priorities, so that a busy cluster starves none. */
const maxPassedOver = 16;

/**
 * Keys waiting for work. A key waits at most once, however often it is added. A key that is being worked on is not
 * handed out again; if it is added meanwhile, it waits again when it is done. Of keys of one priority the namespaces take
 * turns. Memory is bounded by the number of keys.
 */
export class WorkQueue {
  readonly #clock: Clock;
  readonly #backoff: BackoffOptions;
  readonly #metrics: QueueMetrics;
  readonly #waiting: Readonly<Record<Priority, WaitingSince>> = {
    urgent: new Map(),
    interactive: new Map(),
    resync: new Map(),
  };
  readonly #order: Readonly<Record<Priority, FairLines>> = {
    urgent: new FairLines(),
    interactive: new FairLines(),
    resync: new FairLines(),
  };
  readonly #working = new Map<string, number>();
  readonly #addedWhileWorking = new Map<string, Priority>();
  readonly #failures = new Map<string, number>();
  /** Keys waiting for their retry, longest waiting first. */
  readonly #retrying = new Set<string>();
  readonly #retriesPerSecond: number;
  readonly #delayed = new DelayHeap();
  #cancelTimer: (() => void) | undefined;
  #timerDueSeconds = Number.POSITIVE_INFINITY;
  /** How many keys of higher priorities were taken since the last one of this. */
  readonly #passedOver: Record<Priority, number> = { urgent: 0, interactive: 0, resync: 0 };
  readonly #isUrgent: (key: string) => boolean;
  #closed = false;
  #onReady: () => void = () => {};

  constructor(options: WorkQueueOptions) {
    this.#clock = options.clock;
    this.#backoff = options.backoff ?? defaultBackoff;
    this.#isUrgent = options.isUrgent ?? (() => false);
    this.#retriesPerSecond = options.retriesPerSecond ?? defaultRetriesPerSecond;
    this.#metrics = createQueueMetrics(options.metrics ?? noMetrics, options.name, {
      depth: () => this.depth,
      workingSinceSeconds: () => [...this.#working.values()],
      nowSeconds: () => this.#clock.monotonicSeconds(),
    });
  }

  /** Number of waiting keys that could be taken now. */
  get depth(): number {
    return priorities.reduce((sum, priority) => sum + this.#waiting[priority].size, 0);
  }

  /** Number of keys waiting for their due time. */
  get delayed(): number {
    return this.#delayed.size;
  }

  /** Number of keys that were taken and are not done. */
  get working(): number {
    return this.#working.size;
  }

  /** Sets the only listener; it is called when a key can be taken. */
  onReady(listener: () => void): void {
    this.#onReady = listener;
  }

  add(key: string, options: AddOptions = {}): void {
    if (this.#closed) return;
    const asked = options.priority ?? "interactive";
    const priority = asked === "interactive" && this.#isUrgent(key) ? "urgent" : asked;
    this.#metrics.added();
    if (this.#working.has(key)) {
      this.#addLater(key, priority);
      return;
    }
    this.#enqueue(key, priority);
    this.#onReady();
  }

  /** Adds the key after `seconds`; of several delays of one key the shortest counts. */
  addAfter(key: string, seconds: number): void {
    if (this.#closed) return;
    if (seconds <= 0) {
      this.add(key);
      return;
    }
    const dueSeconds = this.#clock.monotonicSeconds() + seconds;
    if (this.#delayed.set(key, dueSeconds)) this.#armTimer();
  }

  /**
   * Adds the key after its own back-off, which grows with every call until `forget`; later if many keys fail. Returns
   * the delay in seconds.
   */
  addRateLimited(key: string): number {
    const failures = (this.#failures.get(key) ?? 0) + 1;
    this.#failures.set(key, failures);
    this.#metrics.retried();
    const own = backoffSeconds(failures, this.#backoff);
    const seconds = failures > freeRetries ? Math.max(own, this.#ownShare()) : own;
    if (!this.#closed) this.#retrying.add(key);
    this.addAfter(key, seconds);
    return seconds;
  }

  /** A random pause whose mean is the key's share of the retry rate; random, so that retries spread out. */
  #ownShare(): number {
    const { random = Math.random } = this.#backoff;
    return (2 * random() * this.#failures.size) / this.#retriesPerSecond;
  }

  /** How often the key has failed since it was last forgotten. */
  failures(key: string): number {
    return this.#failures.get(key) ?? 0;
  }

  /**
   * Ends the key's back-off after a success or when it is given up, and retries others: the cause may be gone for them.
   */
  forget(key: string): void {
    this.#retrying.delete(key);
    if (this.#failures.delete(key)) this.#pullRetries();
  }

  #pullRetries(): void {
    const pulled = [...this.#retrying.values().take(pulledBySuccess)];
    for (const key of pulled) {
      this.#retrying.delete(key);
      this.#delayed.delete(key);
      this.add(key);
    }
  }

  /** Takes the next key; undefined if none waits. The caller must call `done` with it. */
  take(): string | undefined {
    const picked = this.#pick();
    if (picked === undefined) return undefined;
    const { key, sinceMilliseconds } = picked;
    this.#working.set(key, this.#clock.monotonicSeconds());
    this.#metrics.taken(Math.max(0, this.#nowMilliseconds() - sinceMilliseconds) / 1000);
    return key;
  }

  /** Call it when the work on a taken key has ended; if the key was added meanwhile, it waits again. */
  done(key: string): void {
    const sinceSeconds = this.#working.get(key);
    if (sinceSeconds === undefined) return;
    this.#working.delete(key);
    this.#metrics.worked(this.#clock.monotonicSeconds() - sinceSeconds);
    const priority = this.#addedWhileWorking.get(key);
    if (priority === undefined) return;
    this.#addedWhileWorking.delete(key);
    if (this.#closed) return;
    this.#enqueue(key, priority);
    this.#onReady();
  }

  /** Accepts keys again after `close`; a new queue is open. */
  open(): void {
    this.#closed = false;
  }

  /** Forgets all waiting keys and accepts none until it is opened; taken keys may still be done. */
  close(): void {
    this.#closed = true;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#timerDueSeconds = Number.POSITIVE_INFINITY;
    this.#delayed.clear();
    for (const priority of priorities) {
      this.#waiting[priority].clear();
      this.#order[priority].clear();
    }
    this.#addedWhileWorking.clear();
    this.#failures.clear();
    this.#retrying.clear();
  }

  #addLater(key: string, priority: Priority): void {
    const former = this.#addedWhileWorking.get(key);
    if (former !== undefined && rankOf[former] <= rankOf[priority]) return;
    this.#addedWhileWorking.set(key, priority);
  }

  #enqueue(key: string, priority: Priority): void {
    const former = priorities.find((one) => this.#waiting[one].has(key));
    if (former !== undefined && rankOf[former] <= rankOf[priority]) return;
    const sinceMilliseconds = former && this.#waiting[former].get(key);
    if (former !== undefined) this.#waiting[former].delete(key);
    this.#waiting[priority].set(key, sinceMilliseconds ?? this.#nowMilliseconds());
    this.#order[priority].push(key);
  }

  #nowMilliseconds(): number {
    return Math.floor(this.#clock.monotonicSeconds() * 1000);
  }

  #pick(): Picked | undefined {
    for (const priority of priorities) {
      if (this.#passedOver[priority] < maxPassedOver) continue;
      const picked = this.#pickFrom(priority);
      if (picked !== undefined) return picked;
    }
    for (const priority of priorities) {
      const picked = this.#pickFrom(priority);
      if (picked !== undefined) return picked;
    }
    return undefined;
  }

  #pickFrom(priority: Priority): Picked | undefined {
    const picked = this.#shift(priority);
    this.#passedOver[priority] = 0;
    if (picked === undefined) return undefined;
    for (const lower of priorities)
      if (rankOf[lower] > rankOf[priority]) this.#passedOver[lower] += 1;
    return picked;
  }

  /** Promotion to another priority leaves the old entry in the order; it is skipped here. */
  #shift(priority: Priority): Picked | undefined {
    const order = this.#order[priority];
    const waiting = this.#waiting[priority];
    for (let key = order.shift(); key !== undefined; key = order.shift()) {
      const sinceMilliseconds = waiting.get(key);
      if (sinceMilliseconds === undefined) continue;
      waiting.delete(key);
      return { key, sinceMilliseconds };
    }
    return undefined;
  }

  #armTimer(): void {
    const dueSeconds = this.#delayed.nextDueSeconds();
    if (dueSeconds === undefined || dueSeconds >= this.#timerDueSeconds) return;
    this.#cancelTimer?.();
    this.#timerDueSeconds = dueSeconds;
    const seconds = dueSeconds - this.#clock.monotonicSeconds();
    this.#cancelTimer = startTimer(this.#clock, seconds, () => this.#addDue());
  }

  #addDue(): void {
    this.#timerDueSeconds = Number.POSITIVE_INFINITY;
    const nowSeconds = this.#clock.monotonicSeconds();
    for (let key = this.#delayed.takeDue(nowSeconds); key !== undefined;) {
      this.#retrying.delete(key);
      this.add(key);
      key = this.#delayed.takeDue(nowSeconds);
    }
    this.#armTimer();
  }
}
