import type { Clock } from "./clock.ts";
import { startTimer } from "./clock.ts";
import { backoffSeconds } from "./backoff.ts";
import { errorText } from "./logger.ts";
import type { Logger } from "./logger.ts";
import { noMetrics } from "./metrics.ts";
import type { Metrics } from "./metrics.ts";

/** The shared record of the lease. */
export interface LeaseRecord {
  /** Empty: released. */
  readonly holder: string;
  readonly durationSeconds: number;
  readonly acquiredAt: Temporal.Instant;
  readonly renewedAt: Temporal.Instant;
  /** Number of changes of the holder. */
  readonly transitions: number;
}

export interface VersionedLease {
  readonly record: LeaseRecord;
  /** Increases with every write, across deletions of the lease (an etcd revision). */
  readonly version: bigint;
}

/** Storage of the lease. A write succeeds only on the version that was read. */
export interface LeaseLock {
  /** Undefined if there is none yet. */
  read(signal: AbortSignal): Promise<VersionedLease | undefined>;
  /** Undefined if another process was faster. Without `over` it creates the lease. */
  write(
    record: LeaseRecord,
    over: VersionedLease | undefined,
    signal: AbortSignal,
  ): Promise<VersionedLease | undefined>;
}

/** One term of leadership. */
export interface Leadership {
  /** Higher than in any earlier term of any process: a fencing token (Kleppmann, "How to do distributed locking", 2016). */
  readonly fence: bigint;
  /** Aborted when the process stops: start nothing new, finish running work, then settle. The lease is kept until then. */
  readonly stopping: AbortSignal;
  /** Aborted when the term ends: all work must stop immediately. */
  readonly signal: AbortSignal;
  /** False as soon as the lease may be lost, even if a frozen process has not run its timers yet. */
  isValid(): boolean;
}

export interface LeaderElectionOptions {
  readonly lock: LeaseLock;
  /** Unique to this process. */
  readonly identity: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics?: Metrics;
  /** A failed leader is replaced within this time; default 15. */
  readonly leaseSeconds?: number;
  /** A leader that cannot renew for this long stops; default 10. */
  readonly renewWithinSeconds?: number;
  /** Interval of renewals and of checks by candidates; default 2. */
  readonly retrySeconds?: number;
  /**
   * The leader's work, which runs until it is stopped. The lease is renewed until the work has settled and is then
   * released. The term also ends if the work settles by itself or throws.
   */
  readonly lead: (leadership: Leadership) => Promise<void>;
}

interface Timing {
  readonly leaseSeconds: number;
  readonly renewWithinSeconds: number;
  readonly retrySeconds: number;
}

const releaseRetrySeconds = 0.2;
/** Longest pause after terms whose work failed. */
const maxPauseSeconds = 10;

/**
 * Leader election on a lease with versioned writes, like client-go's, with two differences. Candidates take over
 * `leaseSeconds - retrySeconds` after they saw the last renewal: their check may come one period late, and a fail-over
 * must complete within the lease. And the leader compares its own clock on every query, because a frozen process runs
 * no timers.
 *
 * There are never two leaders. A renewal is seen no earlier than it was sent, so a successor waits at least
 * `leaseSeconds - retrySeconds` after it was sent; the leader stops after `renewWithinSeconds`, which must be less.
 * Only clock rates must agree, not clocks. This does not cover a leader that is frozen in the middle of an action:
 * fence important writes.
 */
export class LeaderElection {
  readonly #options: LeaderElectionOptions;
  readonly #timing: Timing;
  readonly #clock: Clock;
  readonly #setLeading: (leading: boolean) => void;
  #seen: VersionedLease | undefined;
  #seenAtSeconds = 0;
  #leadership: Leadership | undefined;

  /** @throws if the times leave no gap between a leader's end and its successor's start */
  constructor(options: LeaderElectionOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#timing = timingOf(options);
    const gauge = (options.metrics ?? noMetrics).gauge({
      name: "leader_election_master_status",
      help: "1 if this process is the leader, otherwise 0",
      labelNames: [],
    });
    this.#setLeading = (leading) => gauge.set({}, leading ? 1 : 0);
    this.#setLeading(false);
  }

  /** The current term, if this process leads. */
  get leadership(): Leadership | undefined {
    return this.#leadership;
  }

  /** The known leader; empty without one. */
  get holder(): string {
    return this.#seen?.record.holder ?? "";
  }

  /** Waits and leads in turn until the signal is aborted and the work has settled; then releases a held lease. */
  async run(signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (!signal.aborted) {
      const term = await this.#tryAcquire(signal);
      if (term === undefined) {
        await this.#pause(this.#waitSeconds(), signal);
        continue;
      }
      const begunSeconds = this.#clock.monotonicSeconds();
      const isFailed = await this.#leadTerm(term, signal);
      const isShort = this.#clock.monotonicSeconds() - begunSeconds < this.#timing.leaseSeconds;
      failures = isFailed ? (isShort ? failures + 1 : 1) : 0;
      if (isFailed) await this.#pause(this.#pauseAfter(failures), signal);
    }
  }

  /** Work that fails at once, as without its database, is not begun again at once; another process may try meanwhile. */
  #pauseAfter(failures: number): number {
    const baseSeconds = this.#timing.retrySeconds;
    return backoffSeconds(failures, { baseSeconds, maxSeconds: maxPauseSeconds });
  }

  async #tryAcquire(signal: AbortSignal): Promise<Term | undefined> {
    try {
      const current = await this.#withTimeout(signal, (limit) => this.#options.lock.read(limit));
      this.#observe(current);
      if (current && !this.#isFree(current)) return undefined;
      const sentSeconds = this.#clock.monotonicSeconds();
      const record = this.#newRecord(current?.record);
      const written = await this.#withTimeout(signal, (limit) =>
        this.#options.lock.write(record, current, limit),
      );
      if (!written) return undefined;
      this.#observe(written);
      return new Term(this.#clock, written, sentSeconds + this.#timing.renewWithinSeconds);
    } catch (error) {
      if (!signal.aborted) this.#warn("failed to read the lease", error);
      return undefined;
    }
  }

  /** True if the work has failed. */
  async #leadTerm(term: Term, signal: AbortSignal): Promise<boolean> {
    const { identity, logger } = this.#options;
    logger.info("leading", { identity, fence: String(term.fence) });
    this.#leadership = term;
    this.#setLeading(true);
    const stop = (): void => term.stop("the process is stopping");
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    const work = this.#work(term);
    await this.#renewUntilEnd(term);
    const isFailed = await work;
    signal.removeEventListener("abort", stop);
    this.#leadership = undefined;
    this.#setLeading(false);
    await this.#release(term);
    logger.info("no longer leading", { identity, reason: errorText(term.signal.reason) });
    return isFailed;
  }

  /** True if the work has failed. */
  async #work(term: Term): Promise<boolean> {
    try {
      await this.#options.lead(term);
      term.end(term.stopping.aborted ? "the process is stopping" : "the work has ended");
      return false;
    } catch (error) {
      if (!term.signal.aborted) this.#warn("the leader's work failed", error);
      term.end("the work has failed");
      return true;
    }
  }

  async #renewUntilEnd(term: Term): Promise<void> {
    while (term.isValid()) {
      await this.#pause(this.#timing.retrySeconds, term.signal);
      if (term.isValid()) await this.#renew(term);
    }
    term.end("the lease was not renewed in time");
  }

  /** Completes even if the term ends meanwhile: a renewal that arrives after the release would undo it. */
  async #renew(term: Term): Promise<void> {
    const sentSeconds = this.#clock.monotonicSeconds();
    const record = { ...term.lease.record, renewedAt: this.#clock.now() };
    try {
      const written = await this.#withTimeout(undefined, (limit) =>
        this.#options.lock.write(record, term.lease, limit),
      );
      if (written) term.renewed(written, sentSeconds + this.#timing.renewWithinSeconds);
      else await this.#reconcileAfterConflict(term);
    } catch (error) {
      if (!term.signal.aborted) this.#warn("failed to renew the lease", error);
    }
  }

  /** The version changed, by an own write whose response was lost or by another holder. */
  async #reconcileAfterConflict(term: Term): Promise<void> {
    const current = await this.#withTimeout(undefined, (limit) => this.#options.lock.read(limit));
    this.#observe(current);
    if (this.#isOf(term, current)) term.lease = current;
    else term.end("the lease has another holder");
  }

  #isOf(term: Term, lease: VersionedLease | undefined): lease is VersionedLease {
    return (
      lease?.record.holder === this.#options.identity &&
      lease.record.transitions === term.lease.record.transitions
    );
  }

  /** Retried while the lease is certainly held: without a release, the next leader waits the whole lease time. */
  async #release(term: Term): Promise<void> {
    while (term.mayRelease()) {
      try {
        if (await this.#writeRelease(term, term.lease)) return;
        // A renewal whose response was lost changed the version.
        const current = await this.#withTimeout(undefined, (limit) =>
          this.#options.lock.read(limit),
        );
        if (!this.#isOf(term, current)) return;
        term.lease = current;
      } catch (error) {
        this.#warn("failed to release the lease", error);
        await this.#clock.sleep(releaseRetrySeconds);
      }
    }
  }

  async #writeRelease(term: Term, over: VersionedLease): Promise<boolean> {
    const renewedAt = this.#clock.now();
    const record = { ...term.lease.record, holder: "", durationSeconds: 1, renewedAt };
    const released = await this.#withTimeout(undefined, (limit) =>
      this.#options.lock.write(record, over, limit),
    );
    if (released) this.#observe(released);
    return released !== undefined;
  }

  #newRecord(current: LeaseRecord | undefined): LeaseRecord {
    const now = this.#clock.now();
    return {
      holder: this.#options.identity,
      durationSeconds: this.#timing.leaseSeconds,
      acquiredAt: now,
      renewedAt: now,
      transitions: current ? current.transitions + 1 : 0,
    };
  }

  #observe(current: VersionedLease | undefined): void {
    if (current?.version === this.#seen?.version) return;
    this.#seen = current;
    this.#seenAtSeconds = this.#clock.monotonicSeconds();
  }

  #isFree(lease: VersionedLease): boolean {
    return lease.record.holder === "" || this.#secondsUntilFree(lease) <= 0;
  }

  /** Counts from the local time at which the version change was seen; the record's times are from another clock. */
  #secondsUntilFree({ record }: VersionedLease): number {
    const silenceSeconds = record.durationSeconds - this.#timing.retrySeconds;
    return this.#seenAtSeconds + silenceSeconds - this.#clock.monotonicSeconds();
  }

  /** Jittered downwards, so that candidates do not check all at once and none checks late. */
  #waitSeconds(): number {
    const { retrySeconds } = this.#timing;
    const jitteredSeconds = retrySeconds * (0.8 + 0.2 * Math.random());
    if (!this.#seen || this.#seen.record.holder === "") return jitteredSeconds;
    const untilFreeSeconds = this.#secondsUntilFree(this.#seen);
    if (untilFreeSeconds <= 0) return jitteredSeconds;
    return Math.min(jitteredSeconds, untilFreeSeconds);
  }

  async #pause(seconds: number, signal: AbortSignal): Promise<void> {
    await this.#clock.sleep(seconds, signal).catch(() => {
      // Ended early: the caller's loop checks the signal.
    });
  }

  /** Each call gets half of the renewal time, so that after a hanging call there is time for another. */
  async #withTimeout<T>(
    signal: AbortSignal | undefined,
    call: (limit: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const limit = new AbortController();
    const seconds = this.#timing.renewWithinSeconds / 2;
    const cancel = startTimer(this.#clock, seconds, () =>
      limit.abort(new Error(`no response about the lease within ${seconds} s`)),
    );
    const abort = (): void => limit.abort(signal?.reason);
    signal?.addEventListener("abort", abort, { once: true });
    if (signal?.aborted) abort();
    try {
      return await call(limit.signal);
    } finally {
      cancel();
      signal?.removeEventListener("abort", abort);
    }
  }

  #warn(message: string, error: unknown): void {
    const { identity, logger } = this.#options;
    logger.warn(message, { identity, error: errorText(error) });
  }
}

function timingOf(options: LeaderElectionOptions): Timing {
  const timing = {
    leaseSeconds: options.leaseSeconds ?? 15,
    renewWithinSeconds: options.renewWithinSeconds ?? 10,
    retrySeconds: options.retrySeconds ?? 2,
  };
  if (timing.retrySeconds <= 0 || timing.renewWithinSeconds <= timing.retrySeconds) {
    throw new RangeError("a leader needs time for more than one attempt to renew its lease");
  }
  if (timing.renewWithinSeconds >= timing.leaseSeconds - timing.retrySeconds) {
    throw new RangeError("renewWithinSeconds must be less than leaseSeconds - retrySeconds");
  }
  return timing;
}

class Term implements Leadership {
  readonly fence: bigint;
  readonly #clock: Clock;
  readonly #ending = new AbortController();
  readonly #stopping = new AbortController();
  #lease: VersionedLease;
  #validUntilSeconds: number;
  #cancelExpiry: () => void = () => {};

  constructor(clock: Clock, lease: VersionedLease, validUntilSeconds: number) {
    this.fence = lease.version;
    this.#clock = clock;
    this.#lease = lease;
    this.#validUntilSeconds = validUntilSeconds;
    this.#armExpiry();
  }

  get signal(): AbortSignal {
    return this.#ending.signal;
  }

  get stopping(): AbortSignal {
    return this.#stopping.signal;
  }

  get lease(): VersionedLease {
    return this.#lease;
  }

  set lease(lease: VersionedLease) {
    this.#lease = lease;
  }

  isValid(): boolean {
    return !this.signal.aborted && this.#inTime();
  }

  /** An expired lease may have another holder; if the term ended for another reason, the lease is still held. */
  mayRelease(): boolean {
    return this.#inTime();
  }

  renewed(lease: VersionedLease, validUntilSeconds: number): void {
    this.#lease = lease;
    this.#validUntilSeconds = validUntilSeconds;
    if (!this.signal.aborted) this.#armExpiry();
  }

  stop(reason: string): void {
    if (!this.stopping.aborted) this.#stopping.abort(new Error(reason));
  }

  end(reason: string): void {
    this.#cancelExpiry();
    this.stop(reason);
    if (!this.signal.aborted) this.#ending.abort(new Error(reason));
  }

  #inTime(): boolean {
    return this.#clock.monotonicSeconds() < this.#validUntilSeconds;
  }

  /** Aborts the work in time even if a renewal hangs. */
  #armExpiry(): void {
    this.#cancelExpiry();
    const leftSeconds = this.#validUntilSeconds - this.#clock.monotonicSeconds();
    this.#cancelExpiry = startTimer(this.#clock, leftSeconds, () =>
      this.end("the lease was not renewed in time"),
    );
  }
}
