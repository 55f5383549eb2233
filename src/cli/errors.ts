/** What goes wrong, in words that name the cure, and the status the command ends with. */
import { isForbidden, isNotFound, isUnanswered, KubeError } from "../kube/errors.ts";

export const exitCodes = {
  /** Also what `can` answers for "no". */
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

/** Errors of calls to the API server as a user meets them. */
function ofKube(error: KubeError, server: string): CliError {
  const options = { cause: error };
  if (isUnanswered(error)) {
    const text = `the cluster at ${server} does not answer: ${error.explanation}\ncheck --context and --kubeconfig, and that the network leads there`;
    return new CliError(text, exitCodes.unreachable, options);
  }
  if (error.status === 401) {
    const text = `the cluster at ${server} does not know you: log in again (kubectl auth whoami says who you are)`;
    return new CliError(text, exitCodes.notPermitted, options);
  }
  if (isForbidden(error)) {
    const text = `${error.explanation}\nask an admin of the project to add you to its members`;
    return new CliError(text, exitCodes.notPermitted, options);
  }
  if (isNotFound(error) && error.objectName.includes("/")) {
    return new CliError(
      `there is no ${error.resource.replace(/s$/, "")} ${error.objectName}`,
      exitCodes.notFound,
      options,
    );
  }
  if (isNotFound(error)) {
    const text = `the cluster at ${server} does not serve ${error.resource} of rota.dev: is Rota installed there, and is this the right --context?`;
    return new CliError(text, exitCodes.notFound, options);
  }
  return new CliError(error.message, exitCodes.failed, options);
}

export function cliErrorOf(error: unknown, server: string): CliError {
  if (error instanceof CliError) return error;
  if (error instanceof KubeError) return ofKube(error, server);
  const text = error instanceof Error ? error.message : String(error);
  return new CliError(text, exitCodes.failed, { cause: error });
}
