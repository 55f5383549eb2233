/** Client of the HTTP API, through the API server's service proxy or directly. */
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
  /** Namespace of the installation. */
  readonly rotaNamespace: string;
  /** URL of an operator's API, to bypass the API server. */
  readonly server?: string | undefined;
  /** PEM file that verifies the certificate of that URL. */
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
  /** The items of all pages, at most `maxItems`. */
  all<Item>(path: string, query: Query, maxItems: number): Promise<Item[]>;
  /** The same with the other fields of the first page; `next` is null if there are no more items. */
  whole<Answer extends Paged>(path: string, query: Query, maxItems: number): Promise<Answer>;
  close(): Promise<void>;
}

const service = "https:rota-operator:api";
const timeoutSeconds = 20;
const itemsPerPage = 500;

function authorityOf(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    throw new CliError(`cannot read --certificate-authority: ${text}`, exitCodes.usage, {
      cause: error,
    });
  }
}

/** The address of the operator's own port. */
function direct({ server = "", ...options }: RotaApiOptions): CredentialSource {
  if (!URL.canParse(server) || new URL(server).protocol !== "https:") {
    throw new CliError(
      `invalid --server "${server}": must be a URL that begins with https://`,
      exitCodes.usage,
    );
  }
  const tls = {
    ...(options.certificateAuthority === undefined
      ? {}
      : { ca: authorityOf(options.certificateAuthority) }),
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

/** An answer of the operator. */
function problemError({ status, text }: HttpResponse): CliError {
  const { title, detail }: Problem = JSON.parse(text);
  return new CliError(`${title}: ${detail}`, exitCodeOf(status));
}

const certificateCodes: ReadonlySet<string> = new Set([
  "CERT_HAS_EXPIRED",
  "CERT_NOT_YET_VALID",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "ERR_TLS_CERT_ALTNAME_INVALID",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
]);

/** The operator at --server does not answer, or its certificate is not trusted. */
function directError(server: string, error: unknown): CliError {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const options = { cause: error };
  if (certificateCodes.has(code)) {
    return new CliError(
      `the certificate of ${server} is not trusted (${code}): name its authority with --certificate-authority, or use --insecure-skip-tls-verify`,
      exitCodes.unreachable,
      options,
    );
  }
  const failed = { verb: "ask", resource: "Rota", name: "" };
  const { explanation } = errorWithoutAnswer(failed, error);
  return new CliError(
    `no operator answers at ${server}: ${explanation}\ncheck that it runs, and --server or ROTA_SERVER`,
    exitCodes.unreachable,
    options,
  );
}

/** The request did not reach an operator. */
function proxyError({ status, text }: HttpResponse, namespace: string): CliError {
  if (status === 403) {
    return new CliError(
      `you may not use Rota's API in namespace ${namespace}: a cluster administrator can bind the Role rota-api-user to you (manifests/base/api.yaml)`,
      exitCodes.notPermitted,
    );
  }
  if (status === 404) {
    return new CliError(
      `no Service rota-operator in namespace ${namespace}: name the installation's namespace with --rota-namespace, or an operator's URL with --server (after npm run local:up: source .local/env)`,
      exitCodes.unreachable,
    );
  }
  if (status === 502 || status === 503) {
    return new CliError(
      `no operator answers in namespace ${namespace}: check kubectl -n ${namespace} get pods. Running jobs continue; no job starts`,
      exitCodes.unreachable,
    );
  }
  return new CliError(`the API server answered ${status}: ${text.slice(0, 300)}`);
}

/**
 * Reaches an operator through the API server's service proxy, or directly with `server`. Throws CliError or KubeError.
 */
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
      if (options.server !== undefined) throw directError(options.server, error);
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
    maxItems: number,
  ): Promise<Answer> => {
    const read = (wanted: number, cursor?: string) =>
      get<Answer>(path, { ...query, limit: Math.min(itemsPerPage, wanted), cursor });
    const first = await read(maxItems);
    const items = [...first.items];
    let { next } = first;
    while (next !== null && items.length < maxItems) {
      const page: Answer = await read(maxItems - items.length, next);
      items.push(...page.items);
      ({ next } = page);
    }
    return { ...first, items, next };
  };

  return {
    get,
    whole,
    all: async <Item>(path: string, query: Query, maxItems: number) =>
      (await whole<{ items: Item[]; next: string | null }>(path, query, maxItems)).items,
    close: () => transport.close(),
  };
}
