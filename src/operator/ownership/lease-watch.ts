/** For how long a Lease has been free, by this process's own clock: the times in a Lease are somebody else's. */
import type { Clock } from "../../runtime/clock.ts";
import type { LeaseLock, VersionedLease } from "../../runtime/lease.ts";

export class LeaseWatch {
  readonly #lock: LeaseLock;
  readonly #clock: Clock;
  #version: bigint | undefined;
  #sinceSeconds: number | undefined;

  constructor(lock: LeaseLock, clock: Clock) {
    this.#lock = lock;
    this.#clock = clock;
  }

  /** Seconds since it was first seen free and unchanged; negative while its holder may still renew it. Throws KubeError. */
  async freeSeconds(signal: AbortSignal): Promise<number> {
    const lease = await this.#lock.read(signal);
    const now = this.#clock.monotonicSeconds();
    if (this.#sinceSeconds === undefined || this.#version !== lease?.version) {
      this.#version = lease?.version;
      this.#sinceSeconds = now;
    }
    return now - this.#sinceSeconds - heldSeconds(lease);
  }
}

/** A holder that is silent for that long has lost it. */
const heldSeconds = (lease: VersionedLease | undefined): number =>
  lease === undefined || lease.record.holder === "" ? 0 : lease.record.durationSeconds;
