/** The cluster that kubectl would use: the kubeconfig's context. */
import { KubeConfig } from "@kubernetes/client-node";
import { KubeClient } from "../kube/client.ts";
import { credentialsFrom, type CredentialSource } from "../kube/credentials.ts";
import { systemClock } from "../runtime/clock.ts";
import { CliError, exitCodes } from "./errors.ts";

export interface ConnectionOptions {
  readonly kubeconfig?: string | undefined;
  readonly context?: string | undefined;
}

export interface Connection {
  readonly client: KubeClient;
  readonly credentials: CredentialSource;
  /** URL of the API server, for messages. */
  readonly server: string;
  /** Namespace of the context, or default. */
  readonly namespace: string;
}

function load({ kubeconfig, context }: ConnectionOptions): KubeConfig {
  const config = new KubeConfig();
  if (kubeconfig === undefined) config.loadFromDefault();
  else config.loadFromFile(kubeconfig);
  if (context !== undefined) {
    if (config.getContextObject(context) === null) {
      const known = config.getContexts().map(({ name }) => name);
      throw new CliError(
        `the kubeconfig has no context ${context}; contexts: ${known.join(", ") || "none"}`,
        exitCodes.usage,
      );
    }
    config.setCurrentContext(context);
  }
  return config;
}

function loaded(options: ConnectionOptions): KubeConfig {
  try {
    return load(options);
  } catch (error) {
    if (error instanceof CliError) throw error;
    const text = error instanceof Error ? error.message : String(error);
    throw new CliError(`cannot read the kubeconfig: ${text}`, exitCodes.usage, { cause: error });
  }
}

const timeoutSeconds = 20;

/** Sends nothing yet. Throws CliError if the kubeconfig is unusable. */
export function connect(options: ConnectionOptions): Connection {
  const config = loaded(options);
  const credentials = credentialsFrom(() => loaded(options));
  const client = new KubeClient({
    credentials,
    clock: systemClock,
    name: "kubectl-rota",
    timeoutSeconds,
  });
  return {
    client,
    credentials,
    server: credentials.server.href,
    namespace: config.getContextObject(config.getCurrentContext())?.namespace ?? "default",
  };
}
