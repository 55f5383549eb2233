/** Which changes enqueue plans. */
import { prunePlans } from "../../db/history/prune.ts";
import type { ClusterNode } from "../../resources/types.ts";
import type { Context } from "../context.ts";
import { totalsSeconds } from "../project/tenants.ts";

const hasSameCapacity = (before?: ClusterNode, after?: ClusterNode): boolean =>
  before?.allocatable.gpus === after?.allocatable.gpus &&
  before?.allocatable.cpuMillis === after?.allocatable.cpuMillis;

/** Registers the handlers; call it once. */
export function watchPlans({ informers, queues }: Context): void {
  informers.plans.onChange(({ key, before, after }) => {
    const isNews = before?.uid !== after?.uid || before?.generation !== after?.generation;
    if (isNews) queues.plans.add(key);
  });
  // A plan's status compares it with the capacity of its pool.
  informers.nodes.onChange(({ before, after }) => {
    if (before?.pool === after?.pool && hasSameCapacity(before, after)) return;
    for (const name of informers.plans.store.keys()) queues.plans.addAfter(name, totalsSeconds);
  });
}

/** Enqueues every plan; withdraws those deleted while no operator watched. */
export async function enqueuePlans({ informers, queues, db }: Context): Promise<void> {
  const { store } = informers.plans;
  await prunePlans(
    db,
    [...store.values()].map(({ uid }) => uid),
  );
  for (const name of store.keys()) queues.plans.add(name);
}
