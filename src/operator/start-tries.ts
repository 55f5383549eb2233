/** How a new operator waits for what it needs. */
import { RotaError } from "../errors.ts";
import { backoffSeconds } from "../runtime/backoff.ts";
import { sleepUnlessAborted } from "../runtime/clock.ts";
import type { Clock } from "../runtime/clock.ts";
import { errorText } from "../runtime/logger.ts";
import type { Logger } from "../runtime/logger.ts";

const backoff = { baseSeconds: 1, maxSeconds: 10 };

/** Errors that waiting does not fix: schema, extension, password. */
const isFinal = (error: unknown): boolean =>
  error instanceof RotaError && error.code !== "DatabaseUnavailable" && error.code !== "TimedOut";

export interface StartTries {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Ends the tries. */
  readonly stopping: AbortSignal;
}

/**
 * Repeats the action until it succeeds, however long that takes: the kubelet would start a process that ends again only
 * after a pause of up to five minutes. Throws an Error that begins with `what` for a final error, or when it is to stop.
 */
export async function retryUntilReady<T>(
  what: string,
  { clock, logger, stopping }: StartTries,
  action: () => Promise<T>,
): Promise<T> {
  for (let turn = 1; ; turn += 1) {
    try {
      return await action();
    } catch (error) {
      const failed = new Error(`${what}: ${errorText(error)}`, { cause: error });
      if (isFinal(error)) throw failed;
      logger.warn(`${what}; trying again`, { error: errorText(error), turn });
      if (!(await sleepUnlessAborted(clock, backoffSeconds(turn, backoff), stopping))) throw failed;
    }
  }
}
