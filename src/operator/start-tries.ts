/** How a new operator waits for what it needs. */
import { RotaError } from "../errors.ts";
import { systemClock } from "../runtime/clock.ts";
import { errorText } from "../runtime/logger.ts";
import type { Logger } from "../runtime/logger.ts";

/** How often a new operator tries to reach the database and the cluster before it fails with a message. */
const maxTries = 5;
const maxPauseSeconds = 10;

/** Errors that waiting does not fix: schema, extension, password. */
const isFinal = (error: unknown): boolean =>
  error instanceof RotaError && error.code !== "DatabaseUnavailable" && error.code !== "TimedOut";

/** Another session is in the way: its end is waited for, however long it takes. */
const isBlocked = (error: unknown): boolean =>
  error instanceof RotaError && error.code === "TimedOut";

/** Repeats the action until it succeeds. Throws an Error that begins with `what` for a final error, or after several tries. */
export async function retryUntilReady<T>(
  what: string,
  logger: Logger,
  action: () => Promise<T>,
): Promise<T> {
  for (let turn = 1; ; turn += 1) {
    try {
      return await action();
    } catch (error) {
      if ((turn >= maxTries && !isBlocked(error)) || isFinal(error))
        throw new Error(`${what}: ${errorText(error)}`, { cause: error });
      logger.warn(`${what} failed; trying again`, { error: errorText(error), turn });
      await systemClock.sleep(Math.min(turn, maxPauseSeconds));
    }
  }
}
