/** The end of the process, when what it logged is out: a pipe's reader may be slow, and process.exit would cut off why. */
import type { ProcessEvents } from "../runtime/lifecycle.ts";

/** For a reader that does not read any more. */
const maxWaitMilliseconds = 2_000;

export function exitWhenLogged(code: number): void {
  const exit = (): void => process.exit(code);
  if (process.stderr.writableLength === 0) {
    exit();
    return;
  }
  setTimeout(exit, maxWaitMilliseconds);
  process.stderr.write("", exit);
}

/** The process, for a lifecycle whose logs are written to standard error. */
export const loggedProcess: ProcessEvents = {
  on: (event, listener) => process.on(event, listener),
  off: (event, listener) => process.off(event, listener),
  exit: exitWhenLogged,
};
