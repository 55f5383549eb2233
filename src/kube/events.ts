import { randomBytes } from "node:crypto";
import type { Clock } from "../runtime/clock.ts";
import { startTimer } from "../runtime/clock.ts";
import { errorText } from "../runtime/logger.ts";
import type { Logger } from "../runtime/logger.ts";
import { noMetrics } from "../runtime/metrics.ts";
import type { Counter, Metrics } from "../runtime/metrics.ts";
import { TokenBuckets } from "../runtime/token-buckets.ts";
import type { KubeClient } from "./client.ts";
import { isNotFound } from "./errors.ts";
import { microTime } from "./lease-lock.ts";
import type { KubeObject, ResourceName } from "./resource.ts";

export interface ObjectReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly namespace?: string;
  readonly uid: string;
  readonly resourceVersion?: string;
}

/** An Event as `kubectl describe` shows it. */
export interface EventInput {
  readonly regarding: ObjectReference;
  readonly type: "Normal" | "Warning";
  /** CamelCase, at most 128 characters: the reason. */
  readonly reason: string;
  /** CamelCase, at most 128 characters: the action. */
  readonly action: string;
  /** Truncated to 1,024 bytes, the limit of the API. */
  readonly note: string;
  readonly related?: ObjectReference;
}

export interface EventRecorderOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics?: Metrics;
  /** A qualified name, as in "example.org/operator". */
  readonly controller: string;
  readonly instance: string;
}

export interface EventRecorder {
  /** Never blocks or throws. Under load, repeated events are aggregated, then dropped. */
  event(event: EventInput): void;
  /** Sends pending events, before the process ends. */
  flush(timeoutSeconds: number): Promise<void>;
}

export const events: ResourceName = {
  group: "events.k8s.io",
  version: "v1",
  plural: "events",
  kind: "Event",
  namespaced: true,
};

/** One Event object; repetitions raise its count. */
interface Series {
  readonly input: EventInput;
  readonly firstAt: Temporal.Instant;
  name: string | undefined;
  count: number;
  lastAt: Temporal.Instant;
  lastSeconds: number;
}

/** A series without occurrences for this long is over; the next one starts a new Event (client-go: 6 minutes). */
const seriesSeconds = 360;
const maxSeries = 4096;
/** Maximum writes per second: every Event is an etcd write. */
const writesPerSecond = 20;
/** Per object, as client-go's spam filter: a burst, then one every five minutes. */
const burstPerObject = 25;
const refillSeconds = 300;
const flushEverySeconds = 1;
const maxNoteBytes = 1024;
const writeTimeoutSeconds = 10;

/** Sends events in batches, in the background; call `flush` before the process ends. */
export function createEventRecorder(options: EventRecorderOptions): EventRecorder {
  return new AggregatingRecorder(options);
}

class AggregatingRecorder implements EventRecorder {
  readonly #options: EventRecorderOptions;
  readonly #clock: Clock;
  readonly #series = new Map<string, Series>();
  readonly #dirty = new Set<string>();
  readonly #budgets: TokenBuckets;
  readonly #dropped: Counter;
  #isArmed = false;
  #sending: Promise<void> = Promise.resolve();

  constructor(options: EventRecorderOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#budgets = new TokenBuckets({
      clock: options.clock,
      perSecond: 1 / refillSeconds,
      burst: burstPerObject,
      capacity: maxSeries,
    });
    this.#dropped = (options.metrics ?? noMetrics).counter({
      name: "events_dropped_total",
      help: "Kubernetes Events that were not written, by cause",
      labelNames: ["cause"],
    });
  }

  event(input: EventInput): void {
    const key = keyOfSeries(input);
    const known = this.#series.get(key);
    const nowSeconds = this.#clock.monotonicSeconds();
    if (known && nowSeconds - known.lastSeconds < seriesSeconds) {
      known.count += 1;
      known.lastAt = this.#clock.now();
      known.lastSeconds = nowSeconds;
    } else if (!this.#admit(input.regarding.uid)) {
      return;
    } else {
      this.#begin(key, input, nowSeconds);
    }
    this.#dirty.add(key);
    this.#arm();
  }

  async flush(timeoutSeconds: number): Promise<void> {
    const deadlineSeconds = this.#clock.monotonicSeconds() + timeoutSeconds;
    while (this.#dirty.size > 0 && this.#clock.monotonicSeconds() < deadlineSeconds) {
      await this.#sendBatch();
    }
  }

  #begin(key: string, input: EventInput, nowSeconds: number): void {
    const now = this.#clock.now();
    this.#series.delete(key);
    this.#series.set(key, {
      input: { ...input, note: cutNote(input.note) },
      firstAt: now,
      lastAt: now,
      lastSeconds: nowSeconds,
      count: 1,
      name: undefined,
    });
    if (this.#series.size > maxSeries) this.#forgetOldest();
  }

  #forgetOldest(): void {
    const [oldest] = this.#series.keys();
    if (oldest === undefined) return;
    this.#series.delete(oldest);
    if (this.#dirty.delete(oldest)) this.#dropped.add({ cause: "TooManySeries" });
  }

  #admit(uid: string): boolean {
    if (this.#budgets.take(uid) === 0) return true;
    this.#dropped.add({ cause: "ObjectTooChatty" });
    return false;
  }

  #arm(): void {
    if (this.#isArmed) return;
    this.#isArmed = true;
    startTimer(this.#clock, flushEverySeconds, () => void this.#sendOnTime());
  }

  async #sendOnTime(): Promise<void> {
    await this.#sendBatch();
    this.#isArmed = false;
    if (this.#dirty.size > 0) this.#arm();
  }

  /** Batches of the timer and of a flush do not overlap. */
  #sendBatch(): Promise<void> {
    this.#sending = this.#sending.then(() => this.#sendDirty());
    return this.#sending;
  }

  /** Warnings first, so that routine events of many jobs do not delay them. */
  #nextKeys(): string[] {
    const { Warning = [], Normal = [] } = Object.groupBy(
      this.#dirty,
      (key) => this.#series.get(key)?.input.type ?? "Normal",
    );
    return [...Warning, ...Normal].slice(0, writesPerSecond * flushEverySeconds);
  }

  async #sendDirty(): Promise<void> {
    for (const key of this.#nextKeys()) {
      this.#dirty.delete(key);
      const series = this.#series.get(key);
      if (series) await this.#send(key, series);
    }
  }

  async #send(key: string, series: Series): Promise<void> {
    try {
      if (series.name === undefined) await this.#create(series);
      else await this.#raiseCount(series, series.name);
    } catch (error) {
      // Events expire within an hour, so a lost one is counted but not retried.
      if (isNotFound(error)) this.#series.delete(key);
      this.#dropped.add({ cause: "WriteFailed" });
      this.#options.logger.debug("failed to write an Event", { error: errorText(error) });
    }
  }

  async #create(series: Series): Promise<void> {
    const { client } = this.#options;
    const options = { timeoutSeconds: writeTimeoutSeconds };
    const created = await client.create(events, this.#format(series), options);
    series.name = `${namespaceOf(series.input)}/${created.metadata.name ?? ""}`;
  }

  async #raiseCount(series: Series, key: string): Promise<void> {
    const patch = { series: seriesOf(series) };
    await this.#options.client.patch(events, key, patch, { timeoutSeconds: writeTimeoutSeconds });
  }

  #format(series: Series): KubeObject {
    const { input } = series;
    return {
      metadata: { namespace: namespaceOf(input), name: eventName(input) },
      eventTime: microTime(series.firstAt),
      reportingController: this.#options.controller,
      reportingInstance: this.#options.instance,
      type: input.type,
      reason: input.reason,
      action: input.action,
      note: input.note,
      regarding: input.regarding,
      ...(input.related ? { related: input.related } : {}),
      // The API requires a count of at least 2.
      ...(series.count > 1 ? { series: seriesOf(series) } : {}),
    };
  }
}

const seriesOf = ({ count, lastAt }: Series): object => ({
  count,
  lastObservedTime: microTime(lastAt),
});

/** The API server requires namespace "default" for Events about cluster-scoped objects. */
const namespaceOf = ({ regarding }: EventInput): string => regarding.namespace ?? "default";

/** As in client-go: the name of the regarding object and a unique suffix, at most 253 characters. */
const eventName = ({ regarding }: EventInput): string =>
  `${regarding.name.slice(0, 230)}.${randomBytes(8).toString("hex")}`;

const keyOfSeries = ({ regarding, type, reason, action, note }: EventInput): string =>
  [regarding.uid, regarding.name, type, reason, action, note].join("\n");

function cutNote(note: string): string {
  const bytes = Buffer.from(note);
  if (bytes.length <= maxNoteBytes) return note;
  const cut = bytes
    .subarray(0, maxNoteBytes - 3)
    .toString("utf8")
    .replace(/\uFFFD$/, "");
  return `${cut}…`;
}
