import type { IncomingHttpHeaders } from "node:http";
import type { Dispatcher } from "undici";
import { startTimer } from "../runtime/clock.ts";
import type { Clock } from "../runtime/clock.ts";
import type { CredentialSource, Credentials } from "./credentials.ts";
import { openDispatchers } from "./dispatchers.ts";
import type { Dispatchers } from "./dispatchers.ts";

export interface TransportOptions {
  readonly credentials: CredentialSource;
  readonly clock: Clock;
  readonly userAgent: string;
  /** Connections for calls; default 8, enough for thousands of calls per second. */
  readonly connections?: number;
  /** Maximum of calls in flight or waiting for a connection; default 10,000. */
  readonly maxCalls?: number;
  /** Default 64 MiB. */
  readonly maxResponseBytes?: number;
  /** Default 10. */
  readonly connectTimeoutSeconds?: number;
}

export interface HttpRequest {
  readonly method: string;
  /** Including the query. */
  readonly path: string;
  readonly body?: string;
  readonly contentType?: string;
  /** In addition to those of the credentials, which take precedence. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly timeoutSeconds: number;
  readonly signal?: AbortSignal;
}

export interface HttpResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

export interface StreamRequest {
  readonly path: string;
  /** For the headers of the response. */
  readonly timeoutSeconds: number;
  /** Maximum time between two bytes. */
  readonly silentSeconds: number;
  readonly signal: AbortSignal;
}

/** A response other than 200 has its whole body; a stream is read by the caller. */
export type StreamResponse =
  | { readonly kind: "stream"; readonly chunks: AsyncIterable<Buffer> }
  | { readonly kind: "refused"; readonly response: HttpResponse };

export class CallTimeoutError extends Error {
  override readonly name = "CallTimeoutError";
}

export class TooManyCallsError extends Error {
  override readonly name = "TooManyCallsError";
}

/** Token files are rotated minutes before tokens expire, so this interval is short enough. */
const credentialsMaxAgeSeconds = 30;
/** After a 401 credentials are read again, but not for every call of a burst. */
const freshCredentialsEverySeconds = 5;
const credentialsTimeoutSeconds = 30;

/** HTTP to one API server over few connections with the current credentials, without Kubernetes semantics. */
export class Transport {
  readonly #options: TransportOptions;
  readonly #clock: Clock;
  #credentials: Credentials | undefined;
  #readAtSeconds = Number.NEGATIVE_INFINITY;
  #freshAtSeconds = Number.NEGATIVE_INFINITY;
  #reading: Promise<Credentials> | undefined;
  #dispatchers: Dispatchers | undefined;
  #fingerprint = "";
  #calls = 0;
  #closed = false;

  constructor(options: TransportOptions) {
    this.#options = options;
    this.#clock = options.clock;
  }

  /**
   * One request and its response, regardless of the status. The time-out includes the wait for a connection.
   * @throws the signal's reason, CallTimeoutError, TooManyCallsError, or undici's error if the connection failed
   */
  async request(request: HttpRequest): Promise<HttpResponse> {
    const maxCalls = this.#options.maxCalls ?? 10_000;
    if (this.#calls >= maxCalls) throw new TooManyCallsError(`${maxCalls} calls are waiting`);
    request.signal?.throwIfAborted();
    const deadline = startDeadline(this.#clock, request);
    try {
      return await abortable(this.#counted(request, deadline.signal), deadline.signal);
    } catch (error) {
      throw deadline.signal.aborted ? deadline.signal.reason : error;
    } finally {
      deadline.end();
    }
  }

  /** A GET whose response continues until either side ends it. */
  async stream(request: StreamRequest): Promise<StreamResponse> {
    const dispatchers = await this.#connected();
    const response = await dispatchers.watches.request({
      origin: this.#options.credentials.server.origin,
      method: "GET",
      path: this.#fullPath(request.path),
      headers: this.#headers(),
      signal: request.signal,
      headersTimeout: request.timeoutSeconds * 1000,
      bodyTimeout: request.silentSeconds * 1000,
    });
    if (response.statusCode === 200) return { kind: "stream", chunks: response.body };
    return { kind: "refused", response: await readWhole(response) };
  }

  /** Makes the next call read the credentials again, at most once in five seconds. */
  forgetCredentials(): void {
    const nowSeconds = this.#clock.monotonicSeconds();
    if (nowSeconds - this.#freshAtSeconds < freshCredentialsEverySeconds) return;
    this.#freshAtSeconds = nowSeconds;
    this.#credentials = undefined;
  }

  /** Closes all connections; pending calls fail. */
  async close(): Promise<void> {
    this.#closed = true;
    const dispatchers = this.#dispatchers;
    if (!dispatchers) return;
    this.#dispatchers = undefined;
    await Promise.all([dispatchers.calls.destroy(), dispatchers.watches.destroy()]);
  }

  /** undici keeps an aborted request until it has a connection for it; the request counts until then. */
  async #counted(request: HttpRequest, signal: AbortSignal): Promise<HttpResponse> {
    this.#calls += 1;
    try {
      return await this.#send(request, signal);
    } finally {
      this.#calls -= 1;
    }
  }

  async #send(request: HttpRequest, signal: AbortSignal): Promise<HttpResponse> {
    const dispatchers = await abortable(this.#connected(), signal);
    const timeout = request.timeoutSeconds * 1000;
    const response = await dispatchers.calls.request({
      origin: this.#options.credentials.server.origin,
      method: request.method,
      path: this.#fullPath(request.path),
      headers: { ...request.headers, ...this.#headers(request.contentType) },
      body: request.body ?? null,
      signal,
      headersTimeout: timeout,
      bodyTimeout: timeout,
    });
    return readWhole(response);
  }

  /** A server URL may have a path prefix, as behind Rancher. */
  #fullPath(path: string): string {
    const prefix = this.#options.credentials.server.pathname;
    return prefix === "/" ? path : `${prefix.replace(/\/$/, "")}${path}`;
  }

  #headers(contentType?: string): Record<string, string> {
    const headers: Record<string, string> = {
      ...this.#credentials?.headers,
      accept: "application/json",
      "user-agent": this.#options.userAgent,
    };
    if (contentType !== undefined) headers["content-type"] = contentType;
    return headers;
  }

  async #connected(): Promise<Dispatchers> {
    if (this.#closed) throw new Error("the client is closed");
    const credentials = this.#currentCredentials() ?? (await this.#readCredentials());
    if (this.#dispatchers && credentials.fingerprint === this.#fingerprint)
      return this.#dispatchers;
    return this.#reconnect(credentials);
  }

  #currentCredentials(): Credentials | undefined {
    const ageSeconds = this.#clock.monotonicSeconds() - this.#readAtSeconds;
    return ageSeconds < credentialsMaxAgeSeconds ? this.#credentials : undefined;
  }

  #readCredentials(): Promise<Credentials> {
    this.#reading ??= this.#readOnce().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #readOnce(): Promise<Credentials> {
    const fresh = this.#credentials === undefined && Number.isFinite(this.#freshAtSeconds);
    const deadline = startDeadline(this.#clock, { timeoutSeconds: credentialsTimeoutSeconds });
    try {
      const reading = this.#options.credentials.read(fresh);
      this.#credentials = await abortable(reading, deadline.signal);
      this.#readAtSeconds = this.#clock.monotonicSeconds();
      return this.#credentials;
    } finally {
      deadline.end();
    }
  }

  /** New certificates need new connections. Calls on the old ones finish; watches end with their time-out. */
  #reconnect(credentials: Credentials): Dispatchers {
    const old = this.#dispatchers;
    const { server, proxyUrl } = this.#options.credentials;
    this.#fingerprint = credentials.fingerprint;
    this.#dispatchers = openDispatchers({
      server,
      proxyUrl,
      tls: credentials.tls,
      connections: this.#options.connections ?? 8,
      connectTimeoutSeconds: this.#options.connectTimeoutSeconds ?? 10,
      maxResponseBytes: this.#options.maxResponseBytes ?? 64 * 1024 * 1024,
    });
    if (old) retire(old);
    return this.#dispatchers;
  }
}

function retire(old: Dispatchers): void {
  for (const dispatcher of [old.calls, old.watches]) {
    dispatcher.close().catch(() => {
      // Already destroyed.
    });
  }
}

async function readWhole(response: Dispatcher.ResponseData): Promise<HttpResponse> {
  const text = await response.body.text();
  return { status: response.statusCode, headers: response.headers, text };
}

interface Deadline {
  readonly signal: AbortSignal;
  end(): void;
}

/** Combines the caller's signal and the time-out (AbortSignal.any would keep both alive beyond the call). */
function startDeadline(
  clock: Clock,
  { timeoutSeconds, signal }: { readonly timeoutSeconds: number; readonly signal?: AbortSignal },
): Deadline {
  const controller = new AbortController();
  const cancel = startTimer(clock, timeoutSeconds, () =>
    controller.abort(new CallTimeoutError(`no response within ${timeoutSeconds} s`)),
  );
  const abort = (): void => controller.abort(signal?.reason);
  signal?.addEventListener("abort", abort, { once: true });
  const end = (): void => {
    cancel();
    signal?.removeEventListener("abort", abort);
  };
  return { signal: controller.signal, end };
}

function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) return Promise.reject(signal.reason);
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
