import type { Clock } from "../runtime/clock.ts";
import { noMetrics } from "../runtime/metrics.ts";
import type { Counter, Histogram, Metrics } from "../runtime/metrics.ts";
import type { CredentialSource } from "./credentials.ts";
import { errorOfResponse, errorWithoutAnswer, parseAnswer } from "./error-response.ts";
import type { Attempt } from "./error-response.ts";
import { KubeError } from "./errors.ts";
import { pageEnd, pagePath, readPage } from "./list-stream.ts";
import type { PageEnd, PageRequest } from "./list-stream.ts";
import { queryText } from "./query.ts";
import type { Query } from "./query.ts";
import { apiVersionOf, collectionPath, objectPath, splitKey } from "./resource.ts";
import type { KubeObject, ResourceName } from "./resource.ts";
import { retryDelaySeconds } from "./retry.ts";
import { Transport } from "./transport.ts";
import type { HttpResponse, TransportOptions } from "./transport.ts";
import { openWatch } from "./watch-stream.ts";
import type { WatchRequest } from "./watch-stream.ts";
import type { WatchEvent } from "./watch-events.ts";

export interface KubeClientOptions extends Pick<
  TransportOptions,
  "connections" | "maxCalls" | "maxResponseBytes" | "connectTimeoutSeconds"
> {
  readonly credentials: CredentialSource;
  readonly clock: Clock;
  /** User agent and default field manager. */
  readonly name: string;
  readonly metrics?: Metrics;
  /** For a call including retries; default 30. */
  readonly timeoutSeconds?: number;
}

export interface CallOptions {
  readonly signal?: AbortSignal;
  /** For the call including retries. */
  readonly timeoutSeconds?: number;
  /** Maximum number of attempts; default 5. */
  readonly attempts?: number;
}

export interface ListOptions extends CallOptions {
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

export interface WriteOptions extends CallOptions {
  readonly dryRun?: boolean;
  readonly fieldManager?: string;
  /** Strict: the API server rejects unknown and duplicate fields instead of dropping them. */
  readonly fieldValidation?: "Strict";
}

export interface PageOptions extends ListOptions {
  readonly pageSize: number;
  readonly continueToken?: string;
}

export interface Page extends PageEnd {
  readonly items: readonly KubeObject[];
}

export interface DeleteOptions extends CallOptions {
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly gracePeriodSeconds?: number;
  readonly propagationPolicy?: "Foreground" | "Background" | "Orphan";
  readonly dryRun?: boolean;
}

export interface EvictOptions extends CallOptions {
  readonly uid?: string;
  readonly dryRun?: boolean;
  readonly gracePeriodSeconds?: number;
}

export interface RawOptions extends CallOptions {
  /** Default application/json. */
  readonly contentType?: string;
  /** Whether it may be sent twice; by default GET and HEAD only. */
  readonly idempotent?: boolean;
}

interface Call extends Attempt {
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly idempotent: boolean;
}

const defaultTimeoutSeconds = 30;
const defaultAttempts = 5;
const listPageSize = 500;

const pods: ResourceName = {
  group: "",
  version: "v1",
  plural: "pods",
  kind: "Pod",
  namespaced: true,
};

/**
 * Typed calls to one API server. Every method throws a KubeError that names the attempted call, or the signal's reason.
 * Calls that are safe to repeat are retried with jittered back-off within the time-out; Retry-After is respected.
 */
export class KubeClient {
  /** The default field manager of writes. */
  readonly name: string;
  readonly #transport: Transport;
  readonly #clock: Clock;
  readonly #timeoutSeconds: number;
  readonly #requests: Counter;
  readonly #latency: Histogram;

  constructor(options: KubeClientOptions) {
    const metrics = options.metrics ?? noMetrics;
    this.name = options.name;
    this.#clock = options.clock;
    this.#timeoutSeconds = options.timeoutSeconds ?? defaultTimeoutSeconds;
    this.#transport = new Transport({ ...options, userAgent: options.name });
    this.#requests = metrics.counter({
      name: "rest_client_requests_total",
      help: "API server requests by HTTP status (0: no response), one per attempt",
      labelNames: ["code", "verb", "resource"],
    });
    this.#latency = metrics.histogram({
      name: "rest_client_request_duration_seconds",
      help: "Duration of API server requests, one observation per attempt",
      labelNames: ["verb", "resource"],
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    });
  }

  get(type: ResourceName, key: string, options: CallOptions = {}): Promise<KubeObject> {
    const path = objectPath(type, key);
    return this.#object(
      { verb: "get", method: "GET", path, idempotent: true, ...subject(type, key) },
      options,
    );
  }

  /** The whole collection, read in pages of 500. */
  async list(type: ResourceName, options: ListOptions = {}): Promise<KubeObject[]> {
    const items: KubeObject[] = [];
    let continueToken: string | undefined;
    do {
      const page: Page = await this.listPage(type, {
        ...options,
        pageSize: listPageSize,
        ...(continueToken === undefined ? {} : { continueToken }),
      });
      items.push(...page.items);
      ({ continueToken } = page);
    } while (continueToken !== undefined);
    return items;
  }

  /** One page of a collection. A continue token may have expired (isExpired): start again without it. */
  async listPage(type: ResourceName, options: PageOptions): Promise<Page> {
    const list = await this.#object(
      {
        verb: "list",
        method: "GET",
        path: pagePath(type, options),
        idempotent: true,
        resource: type.plural,
        name: options.namespace ?? "",
      },
      options,
    );
    return { items: Array.isArray(list["items"]) ? list["items"] : [], ...pageEnd(list) };
  }

  /**
   * Reads one page and passes on items as they arrive, without buffering the page. Not retried, because items were
   * already passed on. A continue token may have expired, as for listPage.
   */
  streamPage(
    type: ResourceName,
    request: PageRequest,
    onItem: (item: KubeObject) => void,
  ): Promise<PageEnd> {
    return readPage(this.#transport, type, request, onItem);
  }

  /** Watches a collection. The iteration ends when the server ends the watch, and throws if it fails. */
  watch(type: ResourceName, request: WatchRequest): AsyncIterable<readonly WatchEvent[]> {
    return openWatch(this.#transport, type, request);
  }

  /** Not retried once the server may have received it: the object may exist. */
  create(type: ResourceName, object: KubeObject, options: WriteOptions = {}): Promise<KubeObject> {
    const { namespace, name = "" } = object.metadata;
    const path = `${collectionPath(type, namespaceOf(type, namespace))}${this.#writeQuery(options)}`;
    const body = { apiVersion: apiVersionOf(type), kind: type.kind, ...object };
    const key = namespace === undefined ? name : `${namespace}/${name}`;
    return this.#object(
      { verb: "create", method: "POST", path, body, idempotent: false, ...subject(type, key) },
      options,
    );
  }

  /** Replaces the object; with metadata.resourceVersion set, only if it is unchanged (isConflict). */
  replace(type: ResourceName, object: KubeObject, options: WriteOptions = {}): Promise<KubeObject> {
    const key = keyFor(type, object);
    const path = `${objectPath(type, key)}${this.#writeQuery(options)}`;
    const body = { apiVersion: apiVersionOf(type), kind: type.kind, ...object };
    return this.#object(
      { verb: "update", method: "PUT", path, body, idempotent: true, ...subject(type, key) },
      options,
    );
  }

  /**
   * Server-side apply (KEP-555): creates the object, or sets the given fields and owns them. By default it takes over
   * fields of other managers (force).
   */
  apply(
    type: ResourceName,
    object: KubeObject,
    options: WriteOptions & { readonly force?: boolean } = {},
  ): Promise<KubeObject> {
    const key = keyFor(type, object);
    const query = this.#writeQuery(options, { force: options.force ?? true });
    return this.#object(
      {
        verb: "apply",
        method: "PATCH",
        path: `${objectPath(type, key)}${query}`,
        body: { apiVersion: apiVersionOf(type), kind: type.kind, ...object },
        contentType: "application/apply-patch+yaml",
        idempotent: true,
        ...subject(type, key),
      },
      options,
    );
  }

  /** JSON merge patch (RFC 7396). metadata.uid or metadata.resourceVersion in it are preconditions (isConflict). */
  patch(
    type: ResourceName,
    key: string,
    mergePatch: object,
    options: WriteOptions & { readonly subresource?: string } = {},
  ): Promise<KubeObject> {
    return this.#object(
      {
        verb: "patch",
        method: "PATCH",
        path: `${objectPath(type, key, options.subresource)}${this.#writeQuery(options)}`,
        body: mergePatch,
        contentType: "application/merge-patch+json",
        idempotent: true,
        ...subject(type, key),
      },
      options,
    );
  }

  /** Returns the object if its deletion has started, or the Status if it is gone. */
  delete(type: ResourceName, key: string, options: DeleteOptions = {}): Promise<KubeObject> {
    const preconditions = definedOnly({
      uid: options.uid,
      resourceVersion: options.resourceVersion,
    });
    const body = definedOnly({
      apiVersion: "v1",
      kind: "DeleteOptions",
      preconditions: Object.keys(preconditions).length > 0 ? preconditions : undefined,
      gracePeriodSeconds: options.gracePeriodSeconds,
      propagationPolicy: options.propagationPolicy,
      dryRun: options.dryRun === true ? ["All"] : undefined,
    });
    return this.#object(
      {
        verb: "delete",
        method: "DELETE",
        path: objectPath(type, key),
        body,
        idempotent: true,
        ...subject(type, key),
      },
      options,
    );
  }

  /**
   * Evicts a pod through policy/v1 Eviction, which respects PodDisruptionBudgets. A rejection by a budget
   * (isDisruptionBudget) is thrown immediately; one by an overloaded server is retried.
   */
  evict(podKey: string, options: EvictOptions = {}): Promise<KubeObject> {
    const { namespace, name } = splitKey(podKey);
    const deleteOptions = definedOnly({
      preconditions: options.uid === undefined ? undefined : { uid: options.uid },
      gracePeriodSeconds: options.gracePeriodSeconds,
      dryRun: options.dryRun === true ? ["All"] : undefined,
    });
    return this.#object(
      {
        verb: "evict",
        method: "POST",
        path: objectPath(pods, podKey, "eviction"),
        body: {
          apiVersion: "policy/v1",
          kind: "Eviction",
          metadata: { name, namespace },
          deleteOptions,
        },
        idempotent: false,
        ...subject(pods, podKey),
      },
      options,
    );
  }

  /** Any request; returns the response's JSON, or its text if it is not JSON. */
  async raw(
    method: string,
    path: string,
    body?: unknown,
    options: RawOptions = {},
  ): Promise<unknown> {
    const verb = method.toLowerCase();
    const resource = path.split("?", 1)[0] ?? path;
    const response = await this.#call(
      {
        verb,
        method,
        path,
        body,
        idempotent: options.idempotent ?? (method === "GET" || method === "HEAD"),
        resource,
        name: "",
        ...(options.contentType === undefined ? {} : { contentType: options.contentType }),
      },
      options,
    );
    const isJson = response.headers["content-type"]?.includes("json") === true;
    return isJson ? parseAnswer({ verb, resource, name: "" }, response.text) : response.text;
  }

  /** Closes all connections; pending calls fail. */
  close(): Promise<void> {
    return this.#transport.close();
  }

  #writeQuery(options: WriteOptions, more: Query = {}): string {
    return queryText({
      fieldManager: options.fieldManager ?? this.name,
      dryRun: options.dryRun === true ? "All" : undefined,
      fieldValidation: options.fieldValidation,
      ...more,
    });
  }

  async #object(call: Call, options: CallOptions): Promise<KubeObject> {
    const response = await this.#call(call, options);
    return parseAnswer(attemptOf(call), response.text);
  }

  async #call(call: Call, options: CallOptions): Promise<HttpResponse> {
    const body = call.body === undefined ? undefined : JSON.stringify(call.body);
    const timeoutSeconds = options.timeoutSeconds ?? this.#timeoutSeconds;
    const deadlineSeconds = this.#clock.monotonicSeconds() + timeoutSeconds;
    const maxAttempts = options.attempts ?? defaultAttempts;
    for (let attempts = 1; ; attempts += 1) {
      const leftSeconds = deadlineSeconds - this.#clock.monotonicSeconds();
      const outcome = await this.#attempt(call, body, leftSeconds, options.signal);
      if (!(outcome instanceof KubeError)) return outcome;
      if (attempts >= maxAttempts) throw outcome;
      const delaySeconds = this.#delayBeforeRetry(outcome, call.idempotent, attempts);
      if (delaySeconds === undefined) throw outcome;
      if (this.#clock.monotonicSeconds() + delaySeconds >= deadlineSeconds) throw outcome;
      await this.#clock.sleep(delaySeconds, options.signal);
    }
  }

  #delayBeforeRetry(error: KubeError, idempotent: boolean, attempts: number): number | undefined {
    if (error.status !== 401) return retryDelaySeconds(error, idempotent, attempts);
    // The token may just have been rotated; a second 401 is final.
    this.#transport.forgetCredentials();
    return attempts === 1 ? 0 : undefined;
  }

  async #attempt(
    call: Call,
    body: string | undefined,
    timeoutSeconds: number,
    signal: AbortSignal | undefined,
  ): Promise<HttpResponse | KubeError> {
    const startSeconds = this.#clock.monotonicSeconds();
    try {
      const response = await this.#transport.request({
        method: call.method,
        path: call.path,
        timeoutSeconds,
        ...(body === undefined
          ? {}
          : { body, contentType: call.contentType ?? "application/json" }),
        ...(signal === undefined ? {} : { signal }),
      });
      this.#observe(call, response.status, startSeconds);
      return response.status < 400 ? response : errorOfResponse(attemptOf(call), response);
    } catch (error) {
      if (signal?.aborted) throw error;
      this.#observe(call, 0, startSeconds);
      return errorWithoutAnswer(attemptOf(call), error);
    }
  }

  #observe(call: Call, status: number, startSeconds: number): void {
    const { verb, resource } = call;
    this.#requests.add({ code: String(status), verb, resource });
    this.#latency.observe({ verb, resource }, this.#clock.monotonicSeconds() - startSeconds);
  }
}

const attemptOf = ({ verb, resource, name }: Attempt): Attempt => ({ verb, resource, name });

const subject = (type: ResourceName, key: string): { resource: string; name: string } => ({
  resource: type.plural,
  name: key,
});

function namespaceOf(type: ResourceName, namespace: string | undefined): string | undefined {
  if (!type.namespaced) return undefined;
  if (namespace === undefined) throw new Error(`an object of ${type.plural} needs a namespace`);
  return namespace;
}

function keyFor(type: ResourceName, object: KubeObject): string {
  const { name = "" } = object.metadata;
  const namespace = namespaceOf(type, object.metadata.namespace);
  return namespace === undefined ? name : `${namespace}/${name}`;
}

function definedOnly(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}
