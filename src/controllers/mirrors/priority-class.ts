/** Mirrors scheduling.k8s.io PriorityClasses into priority_classes, and into the jobs that wait with them. */
import {
  deletePriorityClass,
  followPriorityClass,
  upsertPriorityClass,
} from "../../db/mirrors/priority-classes.ts";
import { done } from "../../runtime/result.ts";
import type { Reconcile } from "../../runtime/controller.ts";
import type { Context } from "../context.ts";

/**
 * A class that is deleted leaves its jobs the priority they were queued with; made anew, it is followed at once. Jobs whose
 * priority changed are reconciled, so that their status says so.
 */
export function reconcilePriorityClass({ db, informers, queues, scheduler }: Context): Reconcile {
  return async (name, signal) => {
    const found = informers.priorityClasses.store.get(name);
    if (found === undefined) {
      await deletePriorityClass(db, name);
      return done();
    }
    const { value, preemptionPolicy } = found;
    const priorityClass = { name, value, preemptionPolicy };
    await upsertPriorityClass(db, priorityClass);
    for (;;) {
      signal.throwIfAborted();
      const changed = await followPriorityClass(db, priorityClass);
      if (changed.length === 0) return done();
      for (const key of changed) queues.jobs.add(key);
      scheduler.wake(undefined);
    }
  };
}
