/** The context and request types of the HTTP API's handlers. */
import type { AnswerOf, ParametersOf, QueryOf, RouteName } from "../../api/http/routes.ts";
import type { DatabasePool } from "../../db/client/connection-pool.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { NamespaceQuotaSource } from "../../scheduler/namespace-quotas.ts";
import type { Settings } from "../../settings/read.ts";
import type { Authorizer } from "../authorization.ts";
import type { Caller } from "../identity.ts";

export type AccessPort = Pick<
  Authorizer,
  "may" | "require" | "visibleNamespaces" | "namespacesFor" | "visibleAround"
>;

export interface ApiContext {
  /** Separate from the scheduler's connections, which requests must not delay. */
  readonly db: DatabasePool;
  readonly access: AccessPort;
  readonly clock: Clock;
  readonly namespaceQuotas: NamespaceQuotaSource;
  readonly settings: Pick<Settings, "timeZone" | "unmeteredResources" | "claimLimit">;
}

export interface ApiRequest<Name extends RouteName> {
  readonly parameters: ParametersOf<Name>;
  readonly query: QueryOf<Name>;
  readonly caller: Caller;
}

export type Handler<Name extends RouteName> = (
  request: ApiRequest<Name>,
) => Promise<AnswerOf<Name>> | AnswerOf<Name>;

export type Handlers = { readonly [Name in RouteName]: Handler<Name> };
