/** Mirrors nodes into the database, with the usage of pods that are not Rota's. */
import { deleteNode, upsertNode } from "../../db/mirrors/nodes.ts";
import { saturate } from "../../domain/quantity.ts";
import { hasEnded } from "../../resources/types.ts";
import type { NodeCapacity, Pod } from "../../resources/types.ts";
import { done } from "../../runtime/result.ts";
import type { Reconcile } from "../../runtime/controller.ts";
import { indices } from "../context.ts";
import type { Context } from "../context.ts";

/** Total requests of pods that are not Rota's; Rota's count by their allocations. Sums saturate (`maxAmount`). */
export function otherUsageOf(pods: readonly Pod[]): NodeCapacity {
  const otherUsage = pods.filter((pod) => pod.jobKey === "" && !hasEnded(pod));
  const sum = (amount: (pod: Pod) => number) =>
    saturate(otherUsage.reduce((total, pod) => total + amount(pod), 0));
  return {
    gpus: sum((pod) => pod.demand.gpus),
    cpuMillis: sum((pod) => pod.demand.cpuMillis),
    memoryBytes: sum((pod) => pod.demand.memoryBytes),
    pods: otherUsage.length,
  };
}

/** Mirrors one node by name and wakes its pool, and its former pool if it changed. */
export function reconcileNode({ db, informers, scheduler }: Context): Reconcile {
  return async (name) => {
    const node = informers.nodes.store.get(name);
    if (node === undefined) {
      await deleteNode(db, name);
      scheduler.wake(undefined);
      return done();
    }
    const { uid, pool, schedulable, labels, taints, allocatable, unhealthyGpus } = node;
    const otherUsage = otherUsageOf(informers.pods.store.byIndex(indices.podsByNode, name));
    const change = await upsertNode(db, {
      name,
      uid,
      pool,
      schedulable,
      labels,
      taints,
      allocatable,
      unhealthyGpus,
      otherUsage,
    });
    if (change === undefined) return done();
    scheduler.wake(pool);
    // Jobs of the former pool may need a new explanation.
    if (change.formerPool !== undefined && change.formerPool !== pool)
      scheduler.wake(change.formerPool);
    return done();
  };
}
