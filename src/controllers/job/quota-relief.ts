/**
 * Jobs whose pods a ResourceQuota refused pause longer and longer. When the quota gets room, some of them start at once; each
 * that then starts lets the next one try, so that a quota with much room is used within seconds, and one without causes
 * few refused starts, however many jobs pause.
 */
import { endQuotaPauses } from "../../db/jobs/attempts.ts";
import type { NamespaceQuota } from "../../resources/types.ts";
import type { Reconcile } from "../../runtime/controller.ts";
import type { Change } from "../../runtime/informer.ts";
import { done } from "../../runtime/result.ts";
import type { Context } from "../context.ts";

/** Starts that are tried at once. */
const jobsAtOnce = 3;

/** Pure: whether the quota has more room than before, for anything; a deleted one limits nothing. */
export function hasMoreRoom({ before, after }: Change<NamespaceQuota>): boolean {
  if (before === undefined || after === undefined) return after === undefined;
  const limits = Object.entries(before.hard);
  return limits.some(([name, limit]) => {
    const { [name]: limitNow } = after.hard;
    if (limitNow === undefined) return true;
    const used = before.used[name] ?? 0n;
    return limitNow - (after.used[name] ?? 0n) > limit - used;
  });
}

/** Registers the handler; call it once. */
export function watchQuotas({ informers, queues }: Pick<Context, "informers" | "queues">): void {
  informers.resourceQuotas.onChange((change) => {
    const namespace = (change.after ?? change.before)?.namespace;
    if (namespace !== undefined && hasMoreRoom(change)) queues.resourceQuotas.add(namespace);
  });
}

/** Lets jobs of a namespace try again. */
export const relieveQuotaPauses =
  ({ db, scheduler }: Context): Reconcile =>
  async (namespace) => {
    const pools = await endQuotaPauses(db, namespace, jobsAtOnce);
    for (const pool of new Set(pools)) scheduler.wake(pool);
    return done();
  };
