import type { LeaseLock, LeaseRecord, VersionedLease } from "../runtime/lease.ts";
import type { KubeClient } from "./client.ts";
import { isAlreadyExists, isConflict, isNotFound } from "./errors.ts";
import type { KubeObject, ResourceName } from "./resource.ts";

export const leases: ResourceName = {
  group: "coordination.k8s.io",
  version: "v1",
  plural: "leases",
  kind: "Lease",
  namespaced: true,
};

/** coordination.k8s.io/v1 LeaseSpec. */
interface LeaseSpec {
  readonly holderIdentity?: string;
  readonly leaseDurationSeconds?: number;
  readonly acquireTime?: string;
  readonly renewTime?: string;
  readonly leaseTransitions?: number;
}

/** Enough for a client that only renews the lease: the current call, and one whose response was abandoned. */
export const leaseConnections = 2;

/** A Lease object as the lock of a leader election. Calls are not retried: the election has its own interval. */
export class KubeLeaseLock implements LeaseLock {
  readonly #client: KubeClient;
  readonly #namespace: string;
  readonly #name: string;
  readonly #onTimeTravel: () => void;
  #lastVersion = 0n;

  /**
   * @param onTimeTravel called when the Lease's version decreased. The leader writes it every few seconds, so it
   * reveals a restore of etcd even if the versions of other resources have already overtaken the known ones.
   */
  constructor(
    client: KubeClient,
    lease: { readonly namespace: string; readonly name: string },
    onTimeTravel: () => void = () => {},
  ) {
    this.#client = client;
    this.#onTimeTravel = onTimeTravel;
    this.#namespace = lease.namespace;
    this.#name = lease.name;
  }

  async read(signal: AbortSignal): Promise<VersionedLease | undefined> {
    try {
      const key = `${this.#namespace}/${this.#name}`;
      return this.#parsed(await this.#client.get(leases, key, { signal, attempts: 1 }));
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  async write(
    record: LeaseRecord,
    over: VersionedLease | undefined,
    signal: AbortSignal,
  ): Promise<VersionedLease | undefined> {
    const object = this.#format(record, over);
    const options = { signal, attempts: 1 };
    try {
      const written = over
        ? await this.#client.replace(leases, object, options)
        : await this.#client.create(leases, object, options);
      return this.#parsed(written);
    } catch (error) {
      if (isConflict(error) || isAlreadyExists(error) || isNotFound(error)) return undefined;
      throw error;
    }
  }

  #parsed(object: KubeObject): VersionedLease {
    const lease = parse(object);
    const fell = lease.version < this.#lastVersion;
    this.#lastVersion = lease.version;
    if (fell) this.#onTimeTravel();
    return lease;
  }

  #format(record: LeaseRecord, over: VersionedLease | undefined): KubeObject {
    return {
      metadata: {
        namespace: this.#namespace,
        name: this.#name,
        ...(over ? { resourceVersion: String(over.version) } : {}),
      },
      spec: {
        holderIdentity: record.holder,
        leaseDurationSeconds: Math.ceil(record.durationSeconds),
        acquireTime: microTime(record.acquiredAt),
        renewTime: microTime(record.renewedAt),
        leaseTransitions: record.transitions,
      },
    };
  }
}

/** metav1.MicroTime has exactly six decimals. */
export const microTime = (instant: Temporal.Instant): string =>
  instant.toString({ smallestUnit: "microsecond" });

function parse(object: KubeObject): VersionedLease {
  const spec: LeaseSpec = object["spec"] ?? {};
  const epoch = "1970-01-01T00:00:00Z";
  return {
    version: BigInt(object.metadata.resourceVersion ?? "0"),
    record: {
      holder: spec.holderIdentity ?? "",
      durationSeconds: spec.leaseDurationSeconds ?? 0,
      acquiredAt: Temporal.Instant.from(spec.acquireTime ?? epoch),
      renewedAt: Temporal.Instant.from(spec.renewTime ?? epoch),
      transitions: spec.leaseTransitions ?? 0,
    },
  };
}
