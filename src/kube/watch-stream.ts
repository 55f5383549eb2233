import { errorOfResponse, errorOfStatus, errorWithoutAnswer } from "./error-response.ts";
import type { Attempt } from "./error-response.ts";
import { KubeError } from "./errors.ts";
import { collectionPath } from "./resource.ts";
import type { KubeObject, ResourceName } from "./resource.ts";
import type { StreamResponse, Transport } from "./transport.ts";
import { LineSplitter } from "./watch-events.ts";
import type { WatchEvent } from "./watch-events.ts";

export interface WatchRequest {
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /** Events after this version; absent with `initialEvents`. */
  readonly resourceVersion?: string;
  /** WatchList (KEP-3157): the collection itself as ADDED events, ended by a bookmark that `endsInitialEvents` knows. */
  readonly initialEvents?: boolean;
  /** After this the server ends the watch. */
  readonly serverTimeoutSeconds: number;
  /** For the first byte of the answer. */
  readonly timeoutSeconds: number;
  /** Without a byte for this long the watch fails. */
  readonly silentSeconds: number;
  readonly signal: AbortSignal;
}

const initialEventsEndAnnotation = "k8s.io/initial-events-end";

export const endsInitialEvents = ({ type, object }: WatchEvent): boolean =>
  type === "BOOKMARK" && object.metadata.annotations?.[initialEventsEndAnnotation] === "true";

/**
 * The events of a watch, in the batches they arrived in. Ends when the server ends it.
 * @throws KubeError, also for an ERROR event; the signal's reason
 */
export async function* openWatch(
  transport: Transport,
  type: ResourceName,
  request: WatchRequest,
): AsyncGenerator<readonly WatchEvent[], void> {
  const attempt = { verb: "watch", resource: type.plural, name: request.namespace ?? "" };
  const response = await connect(transport, type, request, attempt);
  if (response.kind === "refused") {
    if (response.response.status === 401) transport.forgetCredentials();
    throw errorOfResponse(attempt, response.response);
  }
  const splitter = new LineSplitter();
  try {
    for await (const chunk of response.chunks) {
      const lines = splitter.push(chunk);
      if (lines.length > 0) yield lines.map((line) => parseEvent(line, attempt));
    }
  } catch (error) {
    throw failureOf(error, request.signal, attempt);
  }
}

async function connect(
  transport: Transport,
  type: ResourceName,
  request: WatchRequest,
  attempt: Attempt,
): Promise<StreamResponse> {
  try {
    return await transport.stream({ ...request, path: watchPath(type, request) });
  } catch (error) {
    throw failureOf(error, request.signal, attempt);
  }
}

function failureOf(error: unknown, signal: AbortSignal, attempt: Attempt): unknown {
  if (signal.aborted) return signal.reason;
  return error instanceof KubeError ? error : errorWithoutAnswer(attempt, error);
}

function watchPath(type: ResourceName, request: WatchRequest): string {
  const query = new URLSearchParams({
    watch: "1",
    allowWatchBookmarks: "true",
    timeoutSeconds: String(Math.ceil(request.serverTimeoutSeconds)),
  });
  if (request.resourceVersion !== undefined) query.set("resourceVersion", request.resourceVersion);
  if (request.labelSelector !== undefined) query.set("labelSelector", request.labelSelector);
  if (request.fieldSelector !== undefined) query.set("fieldSelector", request.fieldSelector);
  if (request.initialEvents === true) {
    query.set("sendInitialEvents", "true");
    query.set("resourceVersionMatch", "NotOlderThan");
  }
  return `${collectionPath(type, request.namespace)}?${query.toString()}`;
}

function parseEvent(line: string, attempt: Attempt): WatchEvent {
  const event: { type: WatchEvent["type"] | "ERROR"; object: KubeObject } = JSON.parse(line);
  if (event.type === "ERROR") throw errorOfStatus(attempt, event.object);
  return { type: event.type, object: event.object };
}
