/** What every handler of the HTTP API is given. */
import type { AnswerOf, ParametersOf, QueryOf, RouteName } from "../../api/http/routes.ts";
import type { DatabasePool } from "../../db/client/connection-pool.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { Settings } from "../../settings/read.ts";
import type { Authorizer } from "../authorization.ts";
import type { Caller } from "../identity.ts";

export type AccessPort = Pick<
  Authorizer,
  "may" | "require" | "visibleNamespaces" | "namespacesFor" | "visibleAround"
>;

export interface ApiContext {
  /** A pool of its own: questions must not keep the scheduler waiting. */
  readonly db: DatabasePool;
  readonly access: AccessPort;
  readonly clock: Clock;
  readonly settings: Pick<Settings, "timeZone" | "meteredTypes" | "claimLimit">;
}

export interface ApiRequest<Name extends RouteName> {
  readonly parameters: ParametersOf<Name>;
  readonly query: QueryOf<Name>;
  readonly caller: Caller;
}

export type Handler<Name extends RouteName> = (
  question: ApiRequest<Name>,
) => Promise<AnswerOf<Name>> | AnswerOf<Name>;

export type Handlers = { readonly [Name in RouteName]: Handler<Name> };
