import { parseAnswer } from "./error-response.ts";
import { ListSplitter } from "./list-splitter.ts";
import { queryText } from "./query.ts";
import { collectionPath } from "./resource.ts";
import type { KubeObject, ResourceName } from "./resource.ts";
import { openStream } from "./stream.ts";
import type { Transport } from "./transport.ts";

/** One page of a collection. */
export interface PageSelection {
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  readonly pageSize: number;
  /** Continue token of the previous page. */
  readonly continueToken?: string;
}

export interface PageRequest extends PageSelection {
  /** For the first byte of the response. */
  readonly timeoutSeconds: number;
  /** Maximum time between two bytes. */
  readonly silentSeconds: number;
  readonly signal: AbortSignal;
}

/** A page without its items. */
export interface PageEnd {
  readonly resourceVersion: string;
  readonly continueToken: string | undefined;
}

/** Path and query of a page. */
export function pagePath(type: ResourceName, page: PageSelection): string {
  const query = queryText({
    limit: page.pageSize,
    continue: page.continueToken,
    labelSelector: page.labelSelector,
    fieldSelector: page.fieldSelector,
  });
  return `${collectionPath(type, page.namespace)}${query}`;
}

/** Version and continue token from a list's metadata. */
export function pageEnd(list: KubeObject): PageEnd {
  const metadata: { resourceVersion?: string; continue?: string } = list.metadata;
  return {
    resourceVersion: metadata.resourceVersion ?? "",
    continueToken: metadata.continue === "" ? undefined : metadata.continue,
  };
}

/** Reads a page and passes on items as they arrive. Throws KubeError, also after some items were passed on. */
export async function readPage(
  transport: Transport,
  type: ResourceName,
  request: PageRequest,
  onItem: (item: KubeObject) => void,
): Promise<PageEnd> {
  const attempt = { verb: "list", resource: type.plural, name: request.namespace ?? "" };
  const path = pagePath(type, request);
  const splitter = new ListSplitter();
  for await (const chunk of openStream(transport, { ...request, path }, attempt)) {
    for (const text of splitter.push(chunk)) onItem(parseAnswer(attempt, text));
  }
  return pageEnd(parseAnswer(attempt, splitter.end()));
}
