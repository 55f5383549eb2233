/** Checks what must hold at every instant, again and again while something else happens. */
import type { ClusterView } from "../../dev/quickstart/cluster-view.ts";
import type { DatabasePool } from "../../src/db/client/connection-pool.ts";
import { checkAttempts, checkDatabase } from "./invariants.ts";

export interface Sampler {
  /** Ends the checks; throws the first failure, and returns how often was looked. */
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
  // Told by stop(); until then it is nobody's unhandled rejection.
  running.catch(() => undefined);
  return {
    stop: () => {
      stopping.abort();
      return running;
    },
  };
}
