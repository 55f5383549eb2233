/** Checks the invariants of every instant repeatedly while something else happens. */
import type { ClusterView } from "../../dev/quickstart/cluster-view.ts";
import type { DatabasePool } from "../../src/db/client/connection-pool.ts";
import { checkAttempts, checkDatabase } from "./invariants.ts";

export interface Sampler {
  /** Ends the checks; throws the first failure, otherwise returns the number of checks. */
  stop(): Promise<number>;
}

export function watchInvariants(view: ClusterView, database: Pick<DatabasePool, "query">): Sampler {
  const stopping = new AbortController();
  const run = async (): Promise<number> => {
    let looks = 0;
    while (!stopping.signal.aborted) {
      await checkDatabase(database);
      checkAttempts(await view.pods());
      looks += 1;
    }
    return looks;
  };
  const running = run();
  // stop() reports the error; until then it must not be an unhandled rejection.
  running.catch(() => undefined);
  return {
    stop: () => {
      stopping.abort();
      return running;
    },
  };
}
