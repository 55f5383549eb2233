/** The HTTP API of an operator. It needs PostgreSQL and the API server only, so every replica serves it. */
import { createPool } from "../db/client/connection-pool.ts";
import { projectNamespaces } from "../db/reports/project-page.ts";
import type { KubeClient } from "../kube/client.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Component } from "../runtime/lifecycle.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Metrics } from "../runtime/metrics.ts";
import type { NamespaceQuotaSource } from "../scheduler/namespace-quotas.ts";
import type { Settings } from "../settings/read.ts";
import { Authorizer } from "./authorization.ts";
import { audience } from "../api/http/identity.ts";
import { Authenticator } from "./authentication.ts";
import { authoritiesOf, createCertificateVerifier } from "./client-certificate.ts";
import { createHandlers } from "./endpoints/index.ts";
import { Router } from "./router.ts";
import { startApiServer, type ApiServer } from "./server.ts";
import {
  followKeyPair,
  makeKeyPair,
  readKeyPair,
  type KeyPair,
  type KeyPairFiles,
} from "./serving-certificate.ts";
import { TokenBuckets } from "../runtime/token-buckets.ts";

export interface ApiOptions {
  readonly settings: Settings;
  readonly kube: KubeClient;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly namespaceQuotas: NamespaceQuotaSource;
}

const maxConnections = 4;
const statementTimeoutSeconds = 5;
const rememberedCallers = 10_000;

function filesOf({ apiCertFile, apiKeyFile }: Settings): KeyPairFiles | undefined {
  if (apiCertFile === undefined || apiKeyFile === undefined) return undefined;
  return { certFile: apiCertFile, keyFile: apiKeyFile };
}

/** Burst of a caller, as seconds of its rate. */
const burstSeconds = 3;

export function createApi(options: ApiOptions): Component {
  const { settings, kube, clock, logger, metrics, namespaceQuotas } = options;
  const db = createPool(settings.databaseUrl, {
    applicationName: "rota-api",
    maxConnections: maxConnections,
    statementTimeoutSeconds,
    lockTimeoutSeconds: 1,
    onError: (error) =>
      logger.warn("a database connection of the HTTP API was lost", { error: error.message }),
  });
  const access = new Authorizer({
    kube,
    clock,
    namespaces: (limit) => projectNamespaces(db, limit),
  });
  const certificates = createCertificateVerifier({
    clock,
    audience,
    authorities: authoritiesOf(kube),
  });
  const rates = () =>
    new TokenBuckets({
      clock,
      perSecond: settings.apiRatePerSecond,
      burst: settings.apiRatePerSecond * burstSeconds,
      capacity: rememberedCallers,
    });
  const router = new Router({
    handlers: createHandlers({ db, access, clock, settings, namespaceQuotas }),
    callers: new Authenticator({ kube, clock, certificates, rates: rates() }),
    rates: rates(),
  });
  let server: ApiServer | undefined;
  let following: Promise<void> | undefined;
  return {
    name: "api",
    start: async (stopping) => {
      await db.learnTypes();
      const files = filesOf(settings);
      const keyPair = files ? await readKeyPair(files) : await makeKeyPair(clock.now());
      const { apiAddress: address, apiPort: port } = settings;
      const started = await startApiServer({
        address,
        port,
        keyPair,
        router,
        clock,
        logger,
        metrics,
      });
      server = started;
      if (files) {
        const use = (renewed: KeyPair): void => started.use(renewed);
        following = followKeyPair({ files, first: keyPair, use, clock, logger }, stopping);
      }
      logger.info("serving the HTTP API", { url: `https://${address}:${server.port}` });
    },
    stop: async (graceSeconds) => {
      await server?.close(graceSeconds / 2);
      await following;
      await db.end();
    },
  };
}
