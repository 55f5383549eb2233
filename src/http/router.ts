/** Routes a request: authentication, rate limit, validation, handler. Each step throws HttpProblem. */
import type { IncomingHttpHeaders } from "node:http";
import type { z } from "zod";
import { routes, type Route, type RouteName } from "../api/http/routes.ts";
import { tokenHeader } from "../api/http/identity.ts";
import type { Authenticator } from "./authentication.ts";
import type { Handler, Handlers, ApiRequest } from "./endpoints/types.ts";
import type { Caller } from "./identity.ts";
import { openApiDocument } from "./openapi.ts";
import { HttpProblem } from "./problem.ts";
import { Counts } from "../runtime/bounded-map.ts";
import type { TokenBuckets } from "../runtime/token-buckets.ts";

export interface RequestParts {
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  readonly headers: IncomingHttpHeaders;
}

export interface Answer {
  readonly body: unknown;
  readonly contentType: string;
}

export interface RouterOptions {
  readonly handlers: Handlers;
  readonly callers: Authenticator;
  readonly rates: TokenBuckets;
}

interface Matched {
  readonly name: RouteName;
  readonly parameters: Readonly<Record<string, string>>;
}

const maxInFlightOfCaller = 4;
/** Tokens that a request takes of its caller's rate; others take one. */
const costs: Readonly<Partial<Record<RouteName, number>>> = { why: 5 };

const documentPath = "/openapi.json";

/** "/a/{name}" as a pattern with named groups; a segment of a path never holds a slash. */
const patternOf = (path: string): RegExp =>
  new RegExp(`^${path.replaceAll(/\{(\w+)\}/g, String.raw`(?<$1>[^/]+)`)}$`);

const patterns = (Object.entries(routes) as [RouteName, Route][]).map(
  ([name, { path }]) => [name, patternOf(path)] as const,
);

function decoded(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch (error) {
    throw new HttpProblem("InvalidParameter", "the path is not percent-encoded correctly", {
      cause: error,
    });
  }
}

function match(path: string): Matched | undefined {
  for (const [name, pattern] of patterns) {
    const groups = pattern.exec(path)?.groups;
    if (groups === undefined && !pattern.test(path)) continue;
    const parameters = Object.entries(groups ?? {}).map(([key, value]) => [key, decoded(value)]);
    return { name, parameters: Object.fromEntries(parameters) };
  }
  return undefined;
}

/** PostgreSQL's text has no NUL. */
const hasNul = (value: unknown): boolean => JSON.stringify(value).includes(String.raw`\u0000`);

function checked<Schema extends z.ZodObject>(schema: Schema, value: unknown): z.output<Schema> {
  if (hasNul(value)) throw new HttpProblem("InvalidParameter", "a parameter has a NUL character");
  const result = schema.strict().safeParse(value);
  if (result.success) return result.data as z.output<Schema>;
  const details = result.error.issues
    .slice(0, 5)
    .map(({ path, message }) => (path.length === 0 ? message : `${path.join(".")}: ${message}`));
  throw new HttpProblem("InvalidParameter", details.join("; "));
}

/** A repeated parameter becomes a list, which only some schemas accept. */
function queryOf(search: URLSearchParams): Record<string, string | string[]> {
  const names = [...new Set(search.keys())];
  return Object.fromEntries(
    names.map((name) => {
      const values = search.getAll(name);
      return [name, values.length === 1 ? (values[0] ?? "") : values];
    }),
  );
}

export class Router {
  readonly #options: RouterOptions;
  /** Requests being answered, by user. */
  readonly #inFlight = new Counts();
  #document: Answer | undefined;

  constructor(options: RouterOptions) {
    this.#options = options;
  }

  /** The label for metrics: a bounded set of values. */
  operationOf(target: string): string {
    const path = target.split("?", 1)[0] ?? "";
    if (path === documentPath) return "openApi";
    try {
      return match(path)?.name ?? "unknown";
    } catch {
      return "unknown"; // not percent-encoded correctly
    }
  }

  async answer({ method, target, headers }: RequestParts): Promise<Answer> {
    const mark = target.indexOf("?");
    const path = mark < 0 ? target : target.slice(0, mark);
    if (path === documentPath) return this.#openApi();
    const matched = match(path);
    if (!matched) throw new HttpProblem("NotFound", `no such path: ${path}; see ${documentPath}`);
    const token = headers[tokenHeader];
    const { caller, redeem } = await this.#options.callers.identify({
      method,
      target,
      token: Array.isArray(token) ? token[0] : token,
    });
    const waitSeconds = this.#options.rates.take(caller.user, costs[matched.name] ?? 1);
    if (waitSeconds > 0) {
      throw new HttpProblem(
        "TooManyRequests",
        `rate limit of ${caller.user} exceeded: retry in ${Math.ceil(waitSeconds)} s`,
        { retryAfterSeconds: waitSeconds },
      );
    }
    redeem();
    return this.#inTurn(caller.user, () => this.#ask(matched, target, caller));
  }

  /** One caller must not take every place: what it asks may wait long for the database or the API server. */
  async #inTurn(user: string, ask: () => Promise<Answer>): Promise<Answer> {
    const under = this.#inFlight.of(user);
    if (under >= maxInFlightOfCaller) {
      throw new HttpProblem(
        "TooManyRequests",
        `${user} has ${under} requests that are being answered: wait for one of them`,
        { retryAfterSeconds: 1 },
      );
    }
    this.#inFlight.add(user);
    try {
      return await ask();
    } finally {
      this.#inFlight.remove(user);
    }
  }

  async #ask(matched: Matched, target: string, caller: Caller): Promise<Answer> {
    const mark = target.indexOf("?");
    const route: Route = routes[matched.name];
    const search = new URLSearchParams(mark < 0 ? "" : target.slice(mark + 1));
    const body = await this.#handle(matched.name, {
      parameters: checked(route.parameters, matched.parameters),
      query: checked(route.query, queryOf(search)),
      caller,
    });
    return { body: route.answer.parse(body), contentType: "application/json" };
  }

  /** The route's schemas have validated the request for its handler. */
  #handle(name: RouteName, request: object): unknown {
    const handler = this.#options.handlers[name] as Handler<RouteName>;
    return handler(request as ApiRequest<RouteName>);
  }

  #openApi(): Answer {
    this.#document ??= { body: openApiDocument(), contentType: "application/json" };
    return this.#document;
  }
}
