import { remember } from "../runtime/bounded-map.ts";
import type { Clock } from "../runtime/clock.ts";
import type { KubeClient } from "./client.ts";
import { isConflict, isNotFound, refusesField } from "./errors.ts";
import { mergePatch } from "./merge-patch.ts";
import type { JsonObject } from "./merge-patch.ts";
import type { KubeObject, ResourceName } from "./resource.ts";

/** The object whose status is written, as in the caller's store. */
export interface StatusTarget {
  readonly type: ResourceName;
  readonly key: string;
  /** A new object with the same name is not written. */
  readonly uid: string;
  /** The known status; undefined if there is none or it is not stored. */
  readonly status: JsonObject | undefined;
  /** The resourceVersion of that status. */
  readonly resourceVersion: string;
}

/** `gone`: the object was deleted, or replaced by one with the same name. */
export type StatusOutcome = "written" | "unchanged" | "gone";

export interface StatusWriterOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  /** Changes within this time are combined into one write; default 0.05. */
  readonly coalesceSeconds?: number;
  /** Number of objects whose last write is cached; default 10,000. */
  readonly remembered?: number;
}

interface Known {
  readonly status: JsonObject;
  readonly version: number;
}

interface Pending {
  target: StatusTarget;
  status: JsonObject;
  readonly outcome: PromiseWithResolvers<StatusOutcome>;
}

/**
 * Writes the status of objects as merge patches of the differences. Of several pending writes to one object only the last
 * is sent, and all callers get its outcome; each object has at most one write in flight.
 */
export class StatusWriter {
  readonly #client: KubeClient;
  readonly #clock: Clock;
  readonly #coalesceSeconds: number;
  readonly #remembered: number;
  readonly #pending = new Map<string, Pending>();
  readonly #writing = new Set<string>();
  readonly #written = new Map<string, Known>();

  constructor(options: StatusWriterOptions) {
    this.#client = options.client;
    this.#clock = options.clock;
    this.#coalesceSeconds = options.coalesceSeconds ?? 0.05;
    this.#remembered = options.remembered ?? 10_000;
  }

  /**
   * Replaces the object's status; absent fields are removed.
   * @returns once this status or a later one has been written, or is already there
   * @throws KubeError if it could not be written; call again
   */
  write(target: StatusTarget, status: JsonObject): Promise<StatusOutcome> {
    const id = idOf(target);
    const waiting = this.#pending.get(id);
    if (waiting) {
      waiting.target = target;
      waiting.status = status;
      return waiting.outcome.promise;
    }
    const pending = { target, status, outcome: Promise.withResolvers<StatusOutcome>() };
    if (!this.#writing.has(id) && this.#patchFor(pending) === undefined) {
      return Promise.resolve("unchanged");
    }
    this.#pending.set(id, pending);
    if (!this.#writing.has(id)) void this.#flush(id);
    return pending.outcome.promise;
  }

  /** Distrusts all last writes: a restored API server may have lost them, though their versions are higher. */
  forget(): void {
    this.#written.clear();
  }

  async #flush(id: string): Promise<void> {
    this.#writing.add(id);
    do {
      await this.#clock.sleep(this.#coalesceSeconds);
      const pending = this.#pending.get(id);
      this.#pending.delete(id);
      if (pending) await this.#send(id, pending);
    } while (this.#pending.has(id));
    this.#writing.delete(id);
  }

  async #send(id: string, pending: Pending): Promise<void> {
    const { outcome, status, target } = pending;
    try {
      const patch = this.#patchFor(pending);
      if (patch === undefined) {
        outcome.resolve("unchanged");
        return;
      }
      const { type, key, uid } = target;
      const body = { metadata: { uid }, status: patch };
      const written = await this.#client.patch(type, key, body, { subresource: "status" });
      this.#remember(id, status, written);
      outcome.resolve("written");
    } catch (error) {
      this.#written.delete(id);
      if (isGone(error)) outcome.resolve("gone");
      else outcome.reject(error);
    }
  }

  /** The differences from the newer of the caller's version and our last write. */
  #patchFor({ target, status }: Pending): JsonObject | undefined {
    const written = this.#written.get(idOf(target));
    const storeIsNewer = !written || Number(target.resourceVersion) >= written.version;
    const present = (storeIsNewer ? target.status : written.status) ?? {};
    return mergePatch(present, withTransitionTimesOf(present, status));
  }

  #remember(id: string, status: JsonObject, object: KubeObject): void {
    const version = Number(object.metadata.resourceVersion);
    remember(this.#written, id, { status, version }, this.#remembered);
  }
}

/**
 * A condition keeps lastTransitionTime while its status is unchanged. The caller does not know it until its store has
 * seen the last write, and a different time would cause a write.
 */
function withTransitionTimesOf(present: JsonObject, status: JsonObject): JsonObject {
  const { conditions } = status;
  if (!Array.isArray(conditions) || !Array.isArray(present["conditions"])) return status;
  const former: readonly unknown[] = present["conditions"];
  return {
    ...status,
    conditions: conditions.map((condition) => withFormerTime(former, condition)),
  };
}

function withFormerTime(former: readonly unknown[], condition: unknown): unknown {
  if (!isCondition(condition)) return condition;
  const same = former
    .filter(isCondition)
    .find(({ type, status }) => type === condition.type && status === condition.status);
  return same ? { ...condition, lastTransitionTime: same.lastTransitionTime } : condition;
}

interface TimedCondition {
  readonly type: string;
  readonly status: string;
  readonly lastTransitionTime: string;
}

const isCondition = (value: unknown): value is TimedCondition =>
  typeof value === "object" && value !== null && "lastTransitionTime" in value;

/** The patch has the uid but no version: a conflict, or a rejected uid, means that the object was replaced. */
const isGone = (error: unknown): boolean =>
  isNotFound(error) || isConflict(error) || refusesField(error, "metadata.uid");

const idOf = ({ type, key, uid }: StatusTarget): string => `${type.plural}/${key}/${uid}`;
