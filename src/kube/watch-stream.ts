import { errorOfStatus, parseAnswer } from "./error-response.ts";
import type { Attempt } from "./error-response.ts";
import { queryText } from "./query.ts";
import { collectionPath } from "./resource.ts";
import type { KubeObject, ResourceName } from "./resource.ts";
import { openStream } from "./stream.ts";
import type { Transport } from "./transport.ts";
import { LineSplitter } from "./watch-events.ts";
import type { WatchEvent } from "./watch-events.ts";

export interface WatchRequest {
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /** Only events after this version; absent with `initialEvents`. */
  readonly resourceVersion?: string;
  /** WatchList (KEP-3157): starts with the collection as ADDED events, up to the bookmark detected by `endsInitialEvents`. */
  readonly initialEvents?: boolean;
  /** Duration after which the server ends the watch. */
  readonly serverTimeoutSeconds: number;
  /** For the first byte of the response. */
  readonly timeoutSeconds: number;
  /** Maximum time between two bytes. */
  readonly silentSeconds: number;
  readonly signal: AbortSignal;
}

const initialEventsEndAnnotation = "k8s.io/initial-events-end";

/** Whether the event is the bookmark that ends the initial events of a WatchList (KEP-3157). */
export const endsInitialEvents = ({ type, object }: WatchEvent): boolean =>
  type === "BOOKMARK" && object.metadata.annotations?.[initialEventsEndAnnotation] === "true";

/**
 * The events of a watch, in batches as they arrive. Ends when the server ends the watch.
 * @throws KubeError, also for an ERROR event; RangeError if an event exceeds 32 MiB; the signal's reason
 */
export async function* openWatch(
  transport: Transport,
  type: ResourceName,
  request: WatchRequest,
): AsyncGenerator<readonly WatchEvent[], void> {
  const attempt = { verb: "watch", resource: type.plural, name: request.namespace ?? "" };
  const path = watchPath(type, request);
  const splitter = new LineSplitter();
  for await (const chunk of openStream(transport, { ...request, path }, attempt)) {
    const lines = splitter.push(chunk);
    if (lines.length > 0) yield lines.map((line) => parseEvent(line, attempt));
  }
}

function watchPath(type: ResourceName, request: WatchRequest): string {
  const isInitial = request.initialEvents === true;
  const query = queryText({
    watch: 1,
    allowWatchBookmarks: true,
    timeoutSeconds: Math.ceil(request.serverTimeoutSeconds),
    resourceVersion: request.resourceVersion,
    labelSelector: request.labelSelector,
    fieldSelector: request.fieldSelector,
    sendInitialEvents: isInitial ? true : undefined,
    resourceVersionMatch: isInitial ? "NotOlderThan" : undefined,
  });
  return `${collectionPath(type, request.namespace)}${query}`;
}

function parseEvent(line: string, attempt: Attempt): WatchEvent {
  const event = parseAnswer<{ type: WatchEvent["type"] | "ERROR"; object: KubeObject }>(
    attempt,
    line,
  );
  if (event.type === "ERROR") throw errorOfStatus(attempt, event.object);
  return { type: event.type, object: event.object };
}
