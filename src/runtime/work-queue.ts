import { backoffSeconds } from "./backoff.ts";
import type { BackoffOptions } from "./backoff.ts";
import { startTimer } from "./clock.ts";
import type { Clock } from "./clock.ts";
import { DelayHeap } from "./delay-heap.ts";
import { Fifo } from "./fifo.ts";
import { noMetrics } from "./metrics.ts";
import type { Metrics } from "./metrics.ts";
import { createQueueMetrics } from "./queue-metrics.ts";
import type { QueueMetrics } from "./queue-metrics.ts";

/** `interactive` keys (something changed) go before `resync` keys (a look that is merely due). */
export type Priority = "interactive" | "resync";

export interface AddOptions {
  readonly priority?: Priority;
}

export interface WorkQueueOptions {
  readonly name: string;
  readonly clock: Clock;
  readonly metrics?: Metrics;
  /** Per-key back-off of retries; default 0.1 s doubling to 300 s. */
  readonly backoff?: BackoffOptions;
}

interface Waiting {
  readonly priority: Priority;
  readonly sinceSeconds: number;
}

const defaultBackoff: BackoffOptions = { baseSeconds: 0.1, maxSeconds: 300 };

/** One resync key after this many interactive ones, so that a busy cluster cannot starve the resync. */
const interactiveInARow = 16;

/**
 * Keys waiting for work. A key waits at most once however often it is added; while it is being worked on it is not handed
 * out again, and an addition meanwhile makes it wait again as soon as it is done. Memory is bounded by the number of keys.
 */
export class WorkQueue {
  readonly #clock: Clock;
  readonly #backoff: BackoffOptions;
  readonly #metrics: QueueMetrics;
  readonly #waiting = new Map<string, Waiting>();
  readonly #interactive = new Fifo<string>();
  readonly #resync = new Fifo<string>();
  readonly #working = new Map<string, number>();
  readonly #addedWhileWorking = new Map<string, Priority>();
  readonly #failures = new Map<string, number>();
  readonly #delayed = new DelayHeap();
  #cancelTimer: (() => void) | undefined;
  #timerDueSeconds = Number.POSITIVE_INFINITY;
  #interactiveRun = 0;
  #closed = false;
  #onReady: () => void = () => {};

  constructor(options: WorkQueueOptions) {
    this.#clock = options.clock;
    this.#backoff = options.backoff ?? defaultBackoff;
    this.#metrics = createQueueMetrics(options.metrics ?? noMetrics, options.name, {
      depth: () => this.depth,
      workingSinceSeconds: () => [...this.#working.values()],
      nowSeconds: () => this.#clock.monotonicSeconds(),
    });
  }

  /** Keys that wait and could be taken now. */
  get depth(): number {
    return this.#waiting.size;
  }

  /** Keys that wait for their time. */
  get delayed(): number {
    return this.#delayed.size;
  }

  /** Keys that were taken and are not done. */
  get working(): number {
    return this.#working.size;
  }

  /** The one listener that is told when a key may be taken. */
  onReady(listener: () => void): void {
    this.#onReady = listener;
  }

  add(key: string, options: AddOptions = {}): void {
    if (this.#closed) return;
    const priority = options.priority ?? "interactive";
    this.#metrics.added();
    if (this.#working.has(key)) {
      this.#addLater(key, priority);
      return;
    }
    this.#enqueue(key, priority);
    this.#onReady();
  }

  /** Adds the key when `seconds` have passed; of several delays of one key the shortest counts. */
  addAfter(key: string, seconds: number): void {
    if (this.#closed) return;
    if (seconds <= 0) {
      this.add(key);
      return;
    }
    const dueSeconds = this.#clock.monotonicSeconds() + seconds;
    if (this.#delayed.set(key, dueSeconds)) this.#armTimer();
  }

  /** Adds the key after its own back-off, which grows with every call until `forget`. Returns the delay in seconds. */
  addRateLimited(key: string): number {
    const failures = (this.#failures.get(key) ?? 0) + 1;
    this.#failures.set(key, failures);
    this.#metrics.retried();
    const seconds = backoffSeconds(failures, this.#backoff);
    this.addAfter(key, seconds);
    return seconds;
  }

  /** How often the key has failed since it was last forgotten. */
  failures(key: string): number {
    return this.#failures.get(key) ?? 0;
  }

  /** Ends the key's back-off: it succeeded, or is given up. */
  forget(key: string): void {
    this.#failures.delete(key);
  }

  /** Takes the next key, or undefined when none waits. Whoever takes a key must call `done` with it. */
  take(): string | undefined {
    const key = this.#pick();
    if (key === undefined) return undefined;
    const nowSeconds = this.#clock.monotonicSeconds();
    const waiting = this.#waiting.get(key);
    this.#waiting.delete(key);
    this.#working.set(key, nowSeconds);
    if (waiting) this.#metrics.taken(nowSeconds - waiting.sinceSeconds);
    return key;
  }

  /** The work on a taken key has ended; if the key was added meanwhile it waits again. */
  done(key: string): void {
    const sinceSeconds = this.#working.get(key);
    if (sinceSeconds === undefined) return;
    this.#working.delete(key);
    this.#metrics.worked(this.#clock.monotonicSeconds() - sinceSeconds);
    const again = this.#addedWhileWorking.get(key);
    if (again === undefined) return;
    this.#addedWhileWorking.delete(key);
    if (this.#closed) return;
    this.#enqueue(key, again);
    this.#onReady();
  }

  /** Forgets what waits and takes nothing more; keys being worked on may still be done. */
  close(): void {
    this.#closed = true;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#delayed.clear();
    this.#waiting.clear();
    this.#interactive.clear();
    this.#resync.clear();
    this.#addedWhileWorking.clear();
    this.#failures.clear();
  }

  #addLater(key: string, priority: Priority): void {
    if (this.#addedWhileWorking.get(key) === "interactive") return;
    this.#addedWhileWorking.set(key, priority);
  }

  #enqueue(key: string, priority: Priority): void {
    const waiting = this.#waiting.get(key);
    const isPromotion = waiting?.priority === "resync" && priority === "interactive";
    if (waiting && !isPromotion) return;
    const sinceSeconds = waiting?.sinceSeconds ?? this.#clock.monotonicSeconds();
    this.#waiting.set(key, { priority, sinceSeconds });
    (priority === "interactive" ? this.#interactive : this.#resync).push(key);
  }

  #pick(): string | undefined {
    if (this.#interactiveRun >= interactiveInARow) {
      this.#interactiveRun = 0;
      const key = this.#shift("resync");
      if (key !== undefined) return key;
    }
    const key = this.#shift("interactive");
    if (key === undefined) return this.#shift("resync");
    this.#interactiveRun += 1;
    return key;
  }

  /** A promoted key leaves its old entry behind; such entries are skipped here. */
  #shift(priority: Priority): string | undefined {
    const fifo = priority === "interactive" ? this.#interactive : this.#resync;
    for (let key = fifo.shift(); key !== undefined; key = fifo.shift()) {
      if (this.#waiting.get(key)?.priority === priority) return key;
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
      this.add(key);
      key = this.#delayed.takeDue(nowSeconds);
    }
    this.#armTimer();
  }
}
