/** Mirrors nodes into the database, with the usage of pods that have no allocations. */
import type { Queryable } from "../../db/client/types.ts";
import { liveJobsOf } from "../../db/jobs/read.ts";
import { deleteNode, upsertNode } from "../../db/mirrors/nodes.ts";
import { saturate } from "../../domain/quantity.ts";
import { hasEnded } from "../../resources/types.ts";
import type { NodeCapacity, Pod } from "../../resources/types.ts";
import { done, requeueAfter } from "../../runtime/result.ts";
import type { Settled } from "../../runtime/result.ts";
import type { Reconcile } from "../../runtime/controller.ts";
import { indices } from "../context.ts";
import type { Context } from "../context.ts";

/** What these pods ask for, those that have ended left out. Sums saturate (`maxAmount`). */
export function usageOf(pods: readonly Pod[]): NodeCapacity {
  const using = pods.filter((pod) => !hasEnded(pod));
  const sum = (amount: (pod: Pod) => number) =>
    saturate(using.reduce((total, pod) => total + amount(pod), 0));
  // One pass: each pod may have names of its own.
  const named = new Map<string, number>();
  for (const { demand } of using)
    for (const [name, amount] of Object.entries(demand.byName ?? {}))
      named.set(name, saturate((named.get(name) ?? 0) + amount));
  return {
    gpus: sum((pod) => pod.demand.gpus),
    cpuMillis: sum((pod) => pod.demand.cpuMillis),
    memoryBytes: sum((pod) => pod.demand.memoryBytes),
    pods: using.length,
    ...(named.size > 0 && { byName: Object.fromEntries(named) }),
  };
}

const uidPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Until a pod that no row knows is adopted, or leaves. */
const straySeconds = 2;

/** Pods of Rota whose job has no allocations: the database lost it, or it cannot be adopted. They use their node all the same. */
async function straysOf(db: Queryable, pods: readonly Pod[]): Promise<Pod[]> {
  const ours = pods.filter((pod) => pod.jobKey !== "" && !hasEnded(pod));
  // Anybody can write an owner reference: what is no uid is nobody's.
  const uids = new Set(ours.map(({ jobUid }) => jobUid).filter((uid) => uidPattern.test(uid)));
  const live = await liveJobsOf(db, [...uids]);
  return ours.filter(({ jobUid }) => !live.has(jobUid));
}

/** The earlier of two times to look again; undefined: none. */
function nextLook(one: number | undefined, other: number | undefined): Settled {
  const seconds = Math.min(one ?? Number.POSITIVE_INFINITY, other ?? Number.POSITIVE_INFINITY);
  return Number.isFinite(seconds) ? requeueAfter(seconds) : done();
}

/** Mirrors one node by name and wakes its pool, and its former pool if it changed. */
export function reconcileNode({ db, informers, nodePools, scheduler }: Context): Reconcile {
  return async (name) => {
    const node = informers.nodes.store.get(name);
    if (node === undefined) {
      await deleteNode(db, name);
      scheduler.wake(undefined);
      return done();
    }
    const { uid, schedulable, labels, taints, allocatable } = node;
    const { unhealthyGpus, unhealthyByName } = node;
    const { pool, secondsLeft } = nodePools.of(node);
    const pods = informers.pods.store.byIndex(indices.podsByNode, name);
    const strays = await straysOf(db, pods);
    const otherUsage = usageOf([...pods.filter(({ jobKey }) => jobKey === ""), ...strays]);
    const next = nextLook(strays.length > 0 ? straySeconds : undefined, secondsLeft);
    const change = await upsertNode(db, {
      name,
      uid,
      pool,
      schedulable,
      labels,
      taints,
      allocatable,
      unhealthyGpus,
      unhealthyByName,
      otherUsage,
    });
    if (change === undefined) return next;
    scheduler.wake(pool);
    // Jobs of the former pool may need a new explanation.
    if (change.formerPool !== undefined && change.formerPool !== pool)
      scheduler.wake(change.formerPool);
    return next;
  };
}
