/** Errors with their remedy, and the exit status of each. */
import { isForbidden, isNotFound, isUnanswered, KubeError } from "../kube/errors.ts";

export const exitCodes = {
  /** Also the answer "no" of `can`. */
  failed: 1,
  usage: 2,
  unreachable: 3,
  notPermitted: 4,
  notFound: 5,
} as const;

export class CliError extends Error {
  readonly exitCode: number;

  constructor(message: string, exitCode: number = exitCodes.failed, options?: ErrorOptions) {
    super(message, options);
    this.name = "CliError";
    this.exitCode = exitCode;
  }
}

/** Errors of calls to the cluster's API server. */
function ofKube(error: KubeError, server: string): CliError {
  const options = { cause: error };
  if (isUnanswered(error)) {
    const text = `the cluster at ${server} does not answer: ${error.explanation}\ncheck --context, --kubeconfig and the network`;
    return new CliError(text, exitCodes.unreachable, options);
  }
  if (error.status === 401) {
    const text = `the cluster at ${server} rejects your credentials: log in again (check with kubectl auth whoami)`;
    return new CliError(text, exitCodes.notPermitted, options);
  }
  if (isForbidden(error)) {
    const text = `${error.explanation}\nask an admin of the cluster to add you to the members of the project`;
    return new CliError(text, exitCodes.notPermitted, options);
  }
  if (isNotFound(error) && error.objectName.includes("/")) {
    return new CliError(
      `no ${error.resource.replace(/s$/, "")} ${error.objectName}`,
      exitCodes.notFound,
      options,
    );
  }
  if (isNotFound(error)) {
    const text = `the cluster at ${server} does not serve ${error.resource}.rota.dev: install Rota there, or name another cluster with --context`;
    return new CliError(text, exitCodes.notFound, options);
  }
  return new CliError(error.message, exitCodes.failed, options);
}

/** The error to print, with its exit status; `server` appears in messages about the cluster. */
export function cliErrorOf(error: unknown, server: string): CliError {
  if (error instanceof CliError) return error;
  if (error instanceof KubeError) return ofKube(error, server);
  const text = error instanceof Error ? error.message : String(error);
  return new CliError(text, exitCodes.failed, { cause: error });
}
