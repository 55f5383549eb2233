/** Exits after standard error is flushed: process.exit would truncate the last log lines of a slow pipe. */
import type { ProcessEvents } from "../runtime/lifecycle.ts";

/** Limit for a reader that has stopped reading. */
const maxWaitMilliseconds = 2_000;

/** Exits the process with the code once its log lines are written, after 2 s at the latest. */
export function exitWhenLogged(code: number): void {
  const exit = (): void => process.exit(code);
  if (process.stderr.writableLength === 0) {
    exit();
    return;
  }
  setTimeout(exit, maxWaitMilliseconds);
  process.stderr.write("", exit);
}

/** The process, for a lifecycle that logs to standard error. */
export const loggedProcess: ProcessEvents = {
  on: (event, listener) => process.on(event, listener),
  off: (event, listener) => process.off(event, listener),
  exit: exitWhenLogged,
};
