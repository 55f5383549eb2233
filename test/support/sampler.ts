/** Checks the invariants of every instant repeatedly while something else happens. */
import type { ClusterView } from "../../dev/quickstart/cluster-view.ts";
import type { DatabasePool } from "../../src/db/client/connection-pool.ts";
import { checkAttempts, checkDatabase, podsOfTwoAttempts } from "./invariants.ts";

export interface Sampler {
  /** Ends the checks; throws the first failure, otherwise returns the number of checks. */
  stop(): Promise<number>;
}

export interface SamplerOptions {
  /**
   * Operators without a common lease: one may still ask for a pod of an attempt that the other has just ended. Such pods
   * must leave at once.
   */
  readonly strayPods?: boolean;
}

export function watchInvariants(
  view: ClusterView,
  database: Pick<DatabasePool, "query">,
  { strayPods = false }: SamplerOptions = {},
): Sampler {
  const stopping = new AbortController();
  const checkPods = async (): Promise<void> => {
    if (!strayPods) return checkAttempts(await view.pods());
    await view.until("pods of former attempts to leave", async () => {
      const staying = (await view.pods()).filter(({ deleting }) => !deleting);
      return podsOfTwoAttempts(staying).length === 0;
    });
  };
  const run = async (): Promise<number> => {
    let looks = 0;
    while (!stopping.signal.aborted) {
      await checkDatabase(database);
      await checkPods();
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
