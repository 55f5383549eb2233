/** When to run a pool's next cycle if nothing changes. */
import type { Queryable } from "../db/client/types.ts";
import { secondsToNextWakeUp } from "../db/scheduling/wakeups.ts";
import type { Snapshot } from "../domain/scheduling/snapshot.ts";
import { rejectedForSeconds } from "./eviction-probe.ts";
import type { EvictionProbe } from "./eviction-probe.ts";
import type { WindowsReport } from "./windows/enforce.ts";

/** Maximum time between cycles, in case a change was missed. */
const maxIdleSeconds = 60;

function secondsToExpiry({ reserved, nowSeconds }: Snapshot): number {
  const expiries = reserved.map((job) => job.expiresAtSeconds - nowSeconds);
  return Math.max(1, Math.min(maxIdleSeconds, ...expiries));
}

/** A budget that allows disruptions again sends no event. */
const secondsToProbe = (probe: EvictionProbe): number =>
  probe.rejections().size > 0 ? rejectedForSeconds : maxIdleSeconds;

/** Seconds until the next instant at which a cycle may decide differently, at most 60. */
export async function secondsToNextCycle(
  db: Queryable,
  snapshot: Snapshot,
  secondOfWeek: number,
  windows: WindowsReport,
  probe: EvictionProbe,
): Promise<number> {
  return Math.min(
    maxIdleSeconds,
    (await secondsToNextWakeUp(db, snapshot.pool, secondOfWeek)) ?? maxIdleSeconds,
    windows.nextInstantSeconds ?? maxIdleSeconds,
    secondsToExpiry(snapshot),
    secondsToProbe(probe),
  );
}
