/** Questions to the HTTP API: through the API server's service proxy, or straight to an operator's address. */
import { readFileSync } from "node:fs";
import { tokenHeader } from "../api/http/identity.ts";
import type { Problem } from "../api/http/schemas.ts";
import type { CredentialSource } from "../kube/credentials.ts";
import { errorWithoutAnswer } from "../kube/error-response.ts";
import { Transport, type HttpResponse } from "../kube/transport.ts";
import { systemClock } from "../runtime/clock.ts";
import type { Connection } from "./connection.ts";
import { CliError, exitCodes } from "./errors.ts";
import { createAuthentication } from "./authentication.ts";

export interface RotaApiOptions {
  /** Where the operator is installed. */
  readonly rotaNamespace: string;
  /** URL of an operator's API, without the API server between. */
  readonly server?: string | undefined;
  /** PEM file of the authority of that URL's certificate. */
  readonly certificateAuthority?: string | undefined;
  readonly insecureSkipTlsVerify?: boolean | undefined;
}

export type Query = Readonly<Record<string, string | number | readonly string[] | undefined>>;

export interface Paged {
  readonly items: readonly unknown[];
  readonly next: string | null;
}

export interface RotaApi {
  get<Answer>(path: string, query?: Query): Promise<Answer>;
  /** Every item, page by page; at most so many. */
  all<Item>(path: string, query: Query, most: number): Promise<Item[]>;
  /** The same with what the first page says beside its items; `next` tells whether there are more. */
  whole<Answer extends Paged>(path: string, query: Query, most: number): Promise<Answer>;
  close(): Promise<void>;
}

const service = "https:rota-operator:api";
const timeoutSeconds = 20;
const itemsPerPage = 500;

/** The address of the operator's own port. */
function direct({ server = "", ...options }: RotaApiOptions): CredentialSource {
  if (!URL.canParse(server) || new URL(server).protocol !== "https:") {
    throw new CliError(
      `--server wants a URL that begins with https://, not ${server}`,
      exitCodes.usage,
    );
  }
  const tls = {
    ...(options.certificateAuthority === undefined
      ? {}
      : { ca: readFileSync(options.certificateAuthority) }),
    ...(options.insecureSkipTlsVerify === true ? { rejectUnauthorized: false } : {}),
  };
  return {
    server: new URL(server),
    proxyUrl: undefined,
    read: () => Promise.resolve({ headers: {}, tls, fingerprint: server }),
  };
}

function targetOf(path: string, query: Query): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined) continue;
    for (const one of [value].flat()) parameters.append(name, String(one));
  }
  return parameters.size === 0 ? path : `${path}?${parameters.toString()}`;
}

const exitCodeOf = (status: number): number => {
  if (status === 401 || status === 403) return exitCodes.notPermitted;
  if (status === 404) return exitCodes.notFound;
  if (status === 400) return exitCodes.usage;
  return status >= 500 ? exitCodes.unreachable : exitCodes.failed;
};

/** The operator's own words. */
function problemError({ status, text }: HttpResponse): CliError {
  const { title, detail }: Problem = JSON.parse(text);
  return new CliError(`${title}: ${detail}`, exitCodeOf(status));
}

/** The request did not reach an operator. */
function proxyError({ status, text }: HttpResponse, namespace: string): CliError {
  if (status === 403) {
    return new CliError(
      `you may not reach Rota's API in namespace ${namespace}: an administrator binds the Role rota-api-user there (manifests/base/api.yaml)`,
      exitCodes.notPermitted,
    );
  }
  if (status === 404) {
    return new CliError(
      `there is no Service rota-operator in namespace ${namespace}: is Rota installed there? --rota-namespace names another`,
      exitCodes.unreachable,
    );
  }
  if (status === 502 || status === 503) {
    return new CliError(
      `no operator answers in namespace ${namespace}: kubectl -n ${namespace} get pods says why. Jobs run on meanwhile; nothing new starts`,
      exitCodes.unreachable,
    );
  }
  return new CliError(`the API server answered ${status}: ${text.slice(0, 300)}`);
}

export function createRotaApi(connection: Connection, options: RotaApiOptions): RotaApi {
  const isDirect = options.server !== undefined;
  const credentials = isDirect ? direct(options) : connection.credentials;
  const prefix = isDirect
    ? ""
    : `/api/v1/namespaces/${encodeURIComponent(options.rotaNamespace)}/services/${service}/proxy`;
  const transport = new Transport({ credentials, clock: systemClock, userAgent: "kubectl-rota" });
  const proof = createAuthentication(connection.client, connection.credentials);

  const send = async (target: string): Promise<HttpResponse> => {
    const headers = { [tokenHeader]: await proof.for("GET", target) };
    try {
      return await transport.request({
        method: "GET",
        path: `${prefix}${target}`,
        headers,
        timeoutSeconds,
      });
    } catch (error) {
      const failed = { verb: "ask", resource: "Rota", name: "" };
      throw errorWithoutAnswer(failed, error);
    }
  };

  const get = async <Answer>(path: string, query: Query = {}): Promise<Answer> => {
    const response = await send(targetOf(path, query));
    const type = response.headers["content-type"] ?? "";
    if (type.startsWith("application/problem+json")) throw problemError(response);
    if (response.status !== 200) throw proxyError(response, options.rotaNamespace);
    return JSON.parse(response.text) as Answer;
  };

  const whole = async <Answer extends Paged>(
    path: string,
    query: Query,
    most: number,
  ): Promise<Answer> => {
    const read = (wanted: number, cursor?: string) =>
      get<Answer>(path, { ...query, limit: Math.min(itemsPerPage, wanted), cursor });
    const first = await read(most);
    const items = [...first.items];
    let { next } = first;
    while (next !== null && items.length < most) {
      const page: Answer = await read(most - items.length, next);
      items.push(...page.items);
      ({ next } = page);
    }
    return { ...first, items, next };
  };

  return {
    get,
    whole,
    all: async <Item>(path: string, query: Query, most: number) =>
      (await whole<{ items: Item[]; next: string | null }>(path, query, most)).items,
    close: () => transport.close(),
  };
}
